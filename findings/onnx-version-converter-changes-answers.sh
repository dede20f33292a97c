#!/usr/bin/env bash
# A model that was converted to another opset answers otherwise: linear Upsample and Resize, Hardmax, and Softmax downwards.
#
# Library: onnx 1.23.2, its version_converter (models run by onnxruntime 1.31.1 without optimizations, x86-64 Linux).
# Guess: what changed its meaning is written in the new one, or refused, as Softmax upwards is written with Flatten or Reshape.
# Seen: convert_version reports nothing, and the checker takes the result. Up to opset 10 places were those of "asymmetric"; the
# Resize of 11 gets no attribute and takes its new default, half_pixel. Hardmax, and Softmax from 13 to 11, keep their node, whose
# axis then means one axis instead of all behind it, and the reverse.
# Output:
#     Upsample linear  9: 0.00 2.00 4.00 4.00  13: 0.00 1.00 3.00 4.00
#     Resize linear   10: 0.00 2.00 4.00 4.00  13: 0.00 1.00 3.00 4.00
#     Hardmax         11: 0.00 0.00 0.00 1.00  13: 0.00 0.00 1.00 1.00
#     Softmax         11: 0.25 0.25 0.25 0.25  13: 0.25 0.25 0.25 0.25
#     Softmax         13: 0.50 0.50 0.50 0.50  11: 0.25 0.25 0.25 0.25

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
from onnx import checker, numpy_helper, parser, version_converter


def run(made, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return " ".join(f"{one:.2f}" for one in session.run(None, {"x": x})[0].ravel())


def show(name, before, after, node, shape, to, numbers):
    text = f'<ir_version: 6, opset_import: ["": {before}]> g (float[{shape}] x) => (float[{to}] y) {{ y = {node} }}'
    made = parser.parse_model(text)
    if "scales" in node:
        made.graph.initializer.append(numpy_helper.from_array(np.array([1, 2], np.float32), "scales"))
    checker.check_model(made)
    converted = version_converter.convert_version(made, after)
    checker.check_model(converted)
    x = np.array(numbers, np.float32).reshape([int(one) for one in shape.split(",")])
    print(f"{name:<16}{before:>2}: {run(made, x):<21}{after:>2}: {run(converted, x)}")


show("Upsample linear", 9, 13, 'Upsample<mode = "linear">(x, scales)', "1,2", "1,4", [0, 4])
show("Resize linear", 10, 13, 'Resize<mode = "linear">(x, scales)', "1,2", "1,4", [0, 4])
show("Hardmax", 11, 13, "Hardmax<axis = 1>(x)", "1,2,2", "1,2,2", [0, 1, 2, 3])
show("Softmax", 11, 13, "Softmax<axis = 1>(x)", "1,2,2", "1,2,2", [0, 0, 0, 0])
show("Softmax", 13, 11, "Softmax<axis = 1>(x)", "1,2,2", "1,2,2", [0, 0, 0, 0])
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
