#!/usr/bin/env bash
# AveragePool with ceil_mode that counts its padding: what lies past the padding is counted too.
#
# Libraries: openvino 2026.4.1 and onnxruntime 1.31.1, CPU, x86-64 Linux (models built with onnx 1.23.2).
# Guess: the last window of ceil_mode reaches past the padding, and what lies there counts for nothing, as in PyTorch
# (AvgPool with ceil_mode, whose count_include_pad is on by default), ONNX Runtime and onnx's own evaluator.
# Seen: OpenVINO divides by the whole window, here a sum of 1 by 3 in place of 2. Where padding is not counted it is right.
# Output:
#     AveragePool of ones, count_include_pad 1
#         OpenVINO      0.67 1.00 1.00 1.00 0.33
#         ONNX Runtime  0.67 1.00 1.00 1.00 0.50
#         evaluator     0.67 1.00 1.00 1.00 0.50
#     AveragePool of ones, count_include_pad 0
#         OpenVINO      1.00 1.00 1.00 1.00 1.00
#         ONNX Runtime  1.00 1.00 1.00 1.00 1.00
#         evaluator     1.00 1.00 1.00 1.00 1.00

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 \
    openvino==2026.4.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
import openvino
from onnx import checker, parser
from onnx.reference import ReferenceEvaluator

core = openvino.Core()


def show(node, feed):
    made = parser.parse_model(f'<ir_version: 10, opset_import: ["": 19]> g (float[1,1,8] x) => (float[1,1,5] y) {{ {node} }}')
    checker.check_model(made)
    raw, feeds = made.SerializeToString(), {"x": feed}
    compiled = core.compile_model(core.read_model(raw), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    answers = {
        "OpenVINO": compiled(feeds)[0],
        "ONNX Runtime": session.run(None, feeds)[0],
        "evaluator": ReferenceEvaluator(made).run(None, feeds)[0],
    }
    for name, answer in answers.items():
        print(f"    {name:<13}", " ".join(f"{one:.2f}" for one in answer.ravel()))


window = "kernel_shape = [3], strides = [2], pads = [1, 1], ceil_mode = 1"
ones = np.ones((1, 1, 8), np.float32)
for counted in 1, 0:
    print(f"AveragePool of ones, count_include_pad {counted}")
    node = f"y = AveragePool<{window}, count_include_pad = {counted}>(x)"
    show(node, ones)
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
