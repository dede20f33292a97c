#!/usr/bin/env bash
# Four normalizations of onnx's own evaluator, which others are tested against, are not what ONNX says.
#
# Library: onnx 1.23.2, its ReferenceEvaluator (compared with onnxruntime 1.31.1, x86-64 Linux).
# Guess: the reference is slow and right.
# Seen: LRN normalizes as many channels as the batch has rows, and hands the others on. LpNormalization with p = 1 divides by
# the sum, not the sum of the absolute values. LayerNormalization and RMSNormalization of float16 compute in float16, though
# stash_type says float32 (and is the default): squares above 65504 are infinite, and the answer is 0. No error, no NaN.
# Output:
#     LRN of 1, 2, 3, 4, one channel each
#         evaluator     [0.408, 2.0, 3.0, 4.0]
#         ONNX Runtime  [0.408, 0.516, 0.548, 0.784]
#     LpNormalization of 1, -2, 3, p = 1
#         evaluator     [0.5, -1.0, 1.5]
#         ONNX Runtime  [0.167, -0.333, 0.5]
#     LayerNormalization of 200, 400, 600, float16
#         evaluator     [0.0, 0.0, 0.0]
#         ONNX Runtime  [-1.225, 0.0, 1.225]
#     RMSNormalization of 200, 400, 600, float16
#         evaluator     [0.0, 0.0, 0.0]
#         ONNX Runtime  [0.463, 0.926, 1.389]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import warnings

import numpy as np
import onnxruntime
from onnx import checker, parser
from onnx.reference import ReferenceEvaluator

warnings.simplefilter("ignore")


def show(node, shape, numbers, dtype="float"):
    text = f'<ir_version: 11, opset_import: ["": 23]> g ({dtype}[{shape}] x) => ({dtype}[{shape}] y) {{ {node} }}'
    made = parser.parse_model(text)
    checker.check_model(made)
    size = [int(one) for one in shape.split(",")]
    feeds = {"x": np.array(numbers, np.float16 if dtype == "float16" else np.float32).reshape(size)}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, runner in ("evaluator", ReferenceEvaluator(made)), ("ONNX Runtime", session):
        answer = runner.run(None, feeds)[0].ravel()
        print(f"    {name:<13}", [float(f"{abs(one) if one == 0 else one:.3f}") for one in answer])


print("LRN of 1, 2, 3, 4, one channel each")
show("y = LRN<size = 3, alpha = 3.0, bias = 1.0, beta = 0.5>(x)", "1,4,1,1", [1, 2, 3, 4])
print("LpNormalization of 1, -2, 3, p = 1")
show("y = LpNormalization<p = 1>(x)", "1,3", [1, -2, 3])
for kind in "LayerNormalization", "RMSNormalization":
    print(f"{kind} of 200, 400, 600, float16")
    ones = "one = Constant<value = float[3] {1, 1, 1}>() half = Cast<to = 10>(one)"
    show(f"{ones} y = {kind}(x, half)", "1,3", [200, 400, 600], "float16")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
