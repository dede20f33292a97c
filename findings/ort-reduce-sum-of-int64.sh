#!/usr/bin/env bash
# ReduceSum of int64 goes through float64: even a "sum" of one number can be another number.
#
# Library: onnxruntime 1.31.1, CPU provider, Linux (models built with onnx 1.23.2).
# Guess: a sum of integers is exact while it fits; Add, Sum, CumSum and MatMul of int64 are, and so should ReduceSum be.
# Seen: beyond 2**53 the answer of ReduceSum is rounded to what a float64 holds, on all axes and on one. Selecting a
# timestamp in nanoseconds by a mask and a sum is off by some tens of nanoseconds. ReduceMax, a reduction too, is exact.
# Output:
#     x                 [1700000000123456789, 0]
#     ReduceSum         1700000000123456768
#     ReduceSum, axis   1700000000123456768
#     ReduceSum of one  9007199254740992
#     CumSum, last      1700000000123456789
#     MatMul with ones  1700000000123456789
#     ReduceMax         1700000000123456789
#     evaluator         1700000000123456789

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


def run(body, *numbers, engine=None):
    text = '<ir_version: 10, opset_import: ["" : 18]> g (int64[n] x) => (int64 y) { %s }' % body
    model = parser.parse_model(text)
    checker.check_model(model)
    if engine is None:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    else:
        session = engine(model)
    return int(session.run(None, {"x": np.array(numbers, np.int64)})[0])


numbers = 1_700_000_000_123_456_789, 0
whole = "y = ReduceSum<keepdims = 0>(x)"
axis = "axes = Constant<value = int64[1] {0}>() y = ReduceSum<keepdims = 0>(x, axes)"
cumulative = "zero = Constant<value = int64 {0}>() last = Constant<value = int64 {-1}>() sums = CumSum(x, zero) "
print("x                ", list(numbers))
print("ReduceSum        ", run(whole, *numbers))
print("ReduceSum, axis  ", run(axis, *numbers))
print("ReduceSum of one ", run(whole, 2**53 + 1))
print("CumSum, last     ", run(cumulative + "y = Gather(sums, last)", *numbers))
print("MatMul with ones ", run("ones = Constant<value = int64[2] {1, 1}>() y = MatMul(x, ones)", *numbers))
print("ReduceMax        ", run("y = ReduceMax<keepdims = 0>(x)", *numbers))
print("evaluator        ", run(whole, *numbers, engine=ReferenceEvaluator))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
