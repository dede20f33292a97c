#!/usr/bin/env bash
# A NaN does not get through OpenVINO: Relu and Max make it 0, HardSigmoid 1, and a Softmax keeps it in one place of a row.
#
# Libraries: openvino 2026.4.1 and onnxruntime 1.31.1, CPU, x86-64 Linux (models built with onnx 1.23.2).
# Guess: what is computed from a NaN is NaN, as in ONNX Runtime, in PyTorch and in onnx's own evaluator, at least with
# precision f32 and mode ACCURACY.
# Seen: a network with a Relu answers usual numbers where NaN went in, so that a check of its answers finds none. A row of
# Softmax with one NaN is 0 at all other places, and so is one with an infinity.
# Output:
#     Relu(x)         nan 1 2     OpenVINO 0.00 1.00 2.00   ONNX Runtime nan 1.00 2.00
#     Max(x, zero)    nan 1 2     OpenVINO 0.00 1.00 2.00   ONNX Runtime nan 1.00 2.00
#     HardSigmoid(x)  nan 1 2     OpenVINO 1.00 0.70 0.90   ONNX Runtime nan 0.70 0.90
#     Sigmoid(x)      nan 1 2     OpenVINO nan 0.73 0.88    ONNX Runtime nan 0.73 0.88
#     Softmax(x)      nan 1 2     OpenVINO nan 0.00 0.00    ONNX Runtime nan nan nan
#     Softmax(x)      1 2 inf     OpenVINO 0.00 0.00 nan    ONNX Runtime nan nan nan

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

core = openvino.Core()
exact = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}


def show(node, *row):
    zero = "zero = Constant<value = float[1] {0}>() " if "zero" in node else ""
    text = f'<ir_version: 10, opset_import: ["": 18]> g (float[1,{len(row)}] x) => (float[1,m] y) {{ {zero}{node} }}'
    made = parser.parse_model(text)
    checker.check_model(made)
    raw, feeds = made.SerializeToString(), {"x": np.array([row], np.float32)}
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(raw), "CPU", exact)
    answers = [[f"{one:.2f}" for one in answer.ravel()] for answer in (compiled(feeds)[0], session.run(None, feeds)[0])]
    told = [" ".join(one) for one in answers]
    print("{:<16}{:<12}OpenVINO {:<16} ONNX Runtime {}".format(node[4:], " ".join(f"{one:g}" for one in row), *told))


nan, inf = np.nan, np.inf
for node in "Relu(x)", "Max(x, zero)", "HardSigmoid(x)", "Sigmoid(x)", "Softmax(x)":
    show("y = " + node, nan, 1.0, 2.0)
show("y = Softmax(x)", 1.0, 2.0, inf)
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
