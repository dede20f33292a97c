#!/usr/bin/env bash
# Attention takes a mask's smallest finite number for minus infinity: a row of it gives 0, not the mean of the values.
#
# Library: onnxruntime 1.31.1, CPU provider, x86-64 Linux (models built with onnx 1.23.2).
# Guess: the mask is added, as ONNX says; all keys at the same large negative number are all alike, so the answer is the mean.
# Seen: a row that is -3.4028235e+38 throughout, which is what torch.finfo(torch.float32).min is and what masks of transformers
# hold for padding, is taken for one without any key, whose answer is 0. Half of that number, or Add and Softmax in place of
# Attention, give the mean, as onnx's own evaluator and PyTorch do. With one -inf in it the row is 0 too.
# Output:
#     Attention   lowest 0.00, half of it 3.00, -inf 0.00, both 0.00
#     its parts   lowest 3.00, half of it 3.00, -inf nan, both 1.50
#     evaluator   lowest 3.00, half of it 3.00, -inf 0.00, both 1.50

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
from onnx import checker, parser
from onnx.reference import ReferenceEvaluator

ONE = "y = Attention(q, k, v, m)"
PARTS = """
    t = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(q, t) half = Constant<value = float {0.5}>()
    scaled = Mul(s, half) masked = Add(scaled, m) p = Softmax<axis = -1>(masked) y = MatMul(p, v)
"""
LOWEST = float(np.finfo(np.float32).min)
random = np.random.default_rng(0)
feeds = {name: random.standard_normal((1, 1, 3, 4)).astype(np.float32) for name in "qk"}
feeds["v"] = np.array([1, 2, 6], np.float32).reshape(1, 1, 3, 1)


def model(body):
    inputs = "float[1,1,3,4] q, float[1,1,3,4] k, float[1,1,3,1] v, float[3,3] m"
    made = parser.parse_model(f'<ir_version: 11, opset_import: ["": 23]> g ({inputs}) => (float[1,1,3,1] y) {{ {body} }}')
    checker.check_model(made)
    return made


def ort(body):
    session = onnxruntime.InferenceSession(model(body).SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)[0]


def evaluator(body):
    return lambda given: ReferenceEvaluator(model(body)).run(None, given)[0]


rows = {"lowest": [LOWEST] * 3, "half of it": [LOWEST / 2] * 3, "-inf": [-np.inf] * 3, "both": [LOWEST, LOWEST, -np.inf]}
for name, run in {"Attention": ort(ONE), "its parts": ort(PARTS), "evaluator": evaluator(ONE)}.items():
    told = []
    for row, numbers in rows.items():
        mask = np.zeros((3, 3), np.float32)
        mask[1] = numbers
        told.append(f"{row} {run({**feeds, 'm': mask})[0, 0, 1, 0]:.2f}")
    print(f"{name}  ", ", ".join(told))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
