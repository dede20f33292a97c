#!/usr/bin/env bash
# Attention with a window, of opset 25: two of three libraries take the node and leave the window out.
#
# Libraries: openvino 2026.4.1 and tensorrt_rtx_cu13 1.7.1.116, on Linux without a GPU, and onnxruntime 1.32.0 and 1.31.1
# (models built with onnx 1.23.2).
# Guess: left_window_size of 1, each query attends to its own position, the one before, and all behind it; or an error.
# Seen: OpenVINO answers as without the window, and TensorRT builds an engine that is the same byte for byte. ONNX
# Runtime 1.31.1 refuses the attribute, 1.32.0 does as onnx's own evaluator.
# Output:
#     evaluator           the window changes answers by 3.31, and is_causal by 3.52
#     OpenVINO            the window changes answers by 0.00, and is_causal by 3.52
#     TensorRT-RTX        the window gives the same engine: True, and is_causal: False
#     ONNX Runtime 1.32.0 the window changes answers by 3.31, and is_causal by 3.52
#     ONNX Runtime 1.31.1 refuses it: Unrecognized attribute: left_window_size

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 openvino==2026.4.1 \
    onnxruntime==1.32.0
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    tensorrt_rtx_cu13==1.7.1.116 tensorrt_rtx_cu13_bindings==1.7.1.116 tensorrt_rtx_cu13_libs==1.7.1.116

cat > "$folder/models.py" <<'PYTHON'
import numpy as np
from onnx import parser


def model(options, dtype="float"):
    sides = ", ".join(f"{dtype}[1, 4, 16, 64] {name}" for name in "qkv")
    text = f"""<ir_version: 10, opset_import: ["" : 25]> g ({sides}) => ({dtype}[1, 4, 16, 64] y) {{
        y = Attention {options} (q, k, v) }}"""
    return parser.parse_model(text)


random = np.random.default_rng(0)
feeds = {name: random.standard_normal((1, 4, 16, 64)).astype(np.float32) for name in "qkv"}
plain, window, causal = "", "<left_window_size = 1>", "<is_causal = 1>"
PYTHON
cat > "$folder/ort.py" <<'PYTHON'
import numpy as np
import onnxruntime
from models import causal, feeds, model, plain, window


def answer(options):
    session = onnxruntime.InferenceSession(model(options).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


name = f"ONNX Runtime {onnxruntime.__version__}"
try:
    changes = [np.abs(answer(options) - answer(plain)).max() for options in (window, causal)]
    print(f"{name} the window changes answers by {changes[0]:.2f}, and is_causal by {changes[1]:.2f}")
except Exception as error:
    said = str(error)
    print(f"{name} refuses it: {said[said.index('Unrecognized'):].split(' for operator')[0]}")
PYTHON

(
    cd "$folder"
    venv/bin/python - <<'PYTHON'
import numpy as np
import openvino
import tensorrt_rtx as trt
from models import causal, feeds, model, plain, window
from onnx.reference import ReferenceEvaluator


def of_openvino(options):
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model(options).SerializeToString()), "CPU")
    return compiled(feeds)[0]


for name, answer in (
    ("evaluator", lambda options: ReferenceEvaluator(model(options)).run(None, feeds)[0]), ("OpenVINO", of_openvino),
):
    changes = [np.abs(answer(options) - answer(plain)).max() for options in (window, causal)]
    print(f"{name:19} the window changes answers by {changes[0]:.2f}, and is_causal by {changes[1]:.2f}")


def of_tensorrt(options):
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    reader = trt.OnnxParser(network, log)
    assert reader.parse(model(options, "float16").SerializeToString())
    return bytes(memoryview(builder.build_serialized_network(network, builder.create_builder_config())))


engines = [of_tensorrt(options) for options in (plain, window, causal)]
same = [engines[0] == engine for engine in engines[1:]]
print(f"TensorRT-RTX        the window gives the same engine: {same[0]}, and is_causal: {same[1]}")
PYTHON
    venv/bin/python ort.py
    venv/bin/pip install --quiet --disable-pip-version-check --no-deps onnxruntime==1.31.1
    venv/bin/python ort.py
) | tee "$folder/seen"
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
