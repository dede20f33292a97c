#!/usr/bin/env bash
# Softmax of a file before opset 13 is over all axes from `axis` on: OpenVINO and onnx's own evaluator take one.
#
# Libraries: openvino 2026.4.1, onnxruntime 1.31.1 and onnx 1.23.2 with its ReferenceEvaluator, CPU, x86-64 Linux.
# Guess: each reads a file by the opset that it says.
# Seen: ONNX Runtime does. The evaluator takes one axis at any opset; OpenVINO does at 11 and 12, for Softmax alone, and reads
# 10 rightly. Where `axis` is the last axis both meanings are the same, which hides it.
# (Numbers are those of four equal values in 1 by 2 by 2 and axis 1: 0.25 over both axes, 0.5 over one.)
# Output:
#                 opset  ONNX Runtime  OpenVINO  evaluator
#     Softmax     10     0.25          0.25      0.50
#     Softmax     11     0.25          0.50      0.50
#     Softmax     12     0.25          0.50      0.50
#     Softmax     13     0.50          0.50      0.50
#     LogSoftmax  10     0.25          0.25      0.50
#     LogSoftmax  11     0.25          0.25      0.50
#     LogSoftmax  12     0.25          0.25      0.50
#     LogSoftmax  13     0.50          0.50      0.50

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
print("            opset  ONNX Runtime  OpenVINO  evaluator")
for op in "Softmax", "LogSoftmax":
    for opset in 10, 11, 12, 13:
        node = f"y = {op}<axis = 1>(x)"
        made = parser.parse_model(f'<ir_version: 6, opset_import: ["": {opset}]> g (float[1,2,2] x) => (float[1,2,2] y) {{ {node} }}')
        checker.check_model(made)
        raw, feeds = made.SerializeToString(), {"x": np.zeros((1, 2, 2), np.float32)}
        compiled = core.compile_model(core.read_model(raw), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
        answers = [session.run(None, feeds)[0], compiled(feeds)[0], ReferenceEvaluator(made).run(None, feeds)[0]]
        told = [f"{(np.exp(one) if op == 'LogSoftmax' else one).ravel()[0]:.2f}" for one in answers]
        print(f"{op:<12}{opset:<7}{told[0]:<14}{told[1]:<10}{told[2]}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
