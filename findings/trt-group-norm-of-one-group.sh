#!/usr/bin/env bash
# GroupNormalization with one group becomes the layer of InstanceNormalization: another function.
#
# Library: tensorrt_rtx_cu13 1.7.1.116, its ONNX parser, Linux without a GPU (models built with onnx 1.23.2).
# Guess: num_groups 1 normalises all channels together, num_groups 4 each quarter of them: axes C, H and W for the first.
# Seen: axes H and W and num_groups 1, the very layer that InstanceNormalization gives: every channel by itself. The
# layer's documentation reads so too: the mean is taken over `axes`. Four groups are read rightly. No warning is logged.
# Output:
#     GroupNormalization, 1 group     axes [2, 3] num_groups 1
#     GroupNormalization, 4 groups    axes [2, 3] num_groups 4
#     InstanceNormalization           axes [2, 3] num_groups 1
#     warnings []
#     the two functions differ by up to 0.66

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    tensorrt_rtx_cu13==1.7.1.116 tensorrt_rtx_cu13_bindings==1.7.1.116 tensorrt_rtx_cu13_libs==1.7.1.116

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import tensorrt_rtx as trt
from onnx import checker, parser
from onnx.reference import ReferenceEvaluator

warnings = []


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()

    def log(self, severity, message):
        if severity <= trt.ILogger.WARNING:
            warnings.append(message)


def model(node):
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
        g (float[1, 8, 4, 4] x, float[8] s, float[8] b) => (float[1, 8, 4, 4] y) {{ y = {node} (x, s, b) }}"""
    made = parser.parse_model(text)
    checker.check_model(made)
    return made


log = Log()
builder = trt.Builder(log)
one, four = (f"GroupNormalization <num_groups = {groups}>" for groups in (1, 4))
for name, node in (
    ("GroupNormalization, 1 group", one), ("GroupNormalization, 4 groups", four),
    ("InstanceNormalization", "InstanceNormalization"),
):
    network = builder.create_network(0)
    reader = trt.OnnxParser(network, log)
    assert reader.parse(model(node).SerializeToString())
    layer = network.get_layer(network.num_layers - 1)
    layer.__class__ = trt.INormalizationLayer
    print(f"{name:31} axes {[a for a in range(4) if layer.axes >> a & 1]} num_groups {layer.num_groups}")
print("warnings", warnings)

random = np.random.default_rng(0)
feeds = {"x": random.standard_normal((1, 8, 4, 4)), "s": np.ones(8), "b": np.zeros(8)}
feeds = {key: value.astype(np.float32) for key, value in feeds.items()}
answers = [ReferenceEvaluator(model(node)).run(None, feeds)[0] for node in (one, "InstanceNormalization")]
print(f"the two functions differ by up to {np.abs(answers[0] - answers[1]).max():.2f}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
