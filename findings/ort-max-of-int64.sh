#!/usr/bin/env bash
# Max, Min, Clip and Relu of int64 compare the lower halves of two numbers as if they had a sign.
#
# Library: onnxruntime 1.31.1, CPU provider, x86-64 Linux (models built with onnx 1.23.2).
# Guess: integers are compared exactly, whatever their size; Max(x, 0) of a positive x is x.
# Seen: where the upper 32 bits of both are equal, the lower 32 are compared as int32. Against 0 every number from 2**31
# to 2**32 - 1 counts as negative: Max, Clip and Relu make it 0, Min keeps it. It depends on the place too: a tensor of
# one number, or the last of an odd count, is right. Greater with Where is right, and so is onnx's own evaluator.
# Output:
#     Max(x, 0)     [2147483647, 0, 0, 4294967296]
#     Min(x, 10)    [10, 2147483648, 3000000000, 10]
#     Relu(x)       [2147483647, 0, 0, 4294967296]
#     Clip(x, 0, .) [2147483647, 0, 0, 4294967296]
#     Where(x > 0)  [2147483647, 2147483648, 3000000000, 4294967296]
#     evaluator Max [2147483647, 2147483648, 3000000000, 4294967296]
#     Max of 1      [3000000000]
#     Max of 3      [0, 0, 3000000000]
#     2**40 apart   [1099511627776, 1099511627776]

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


def model(body):
    text = '<ir_version: 10, opset_import: ["" : 18]> g (int64[n] x) => (int64[n] y) { %s }' % body
    made = parser.parse_model(text)
    checker.check_model(made)
    return made


def run(body, *numbers):
    session = onnxruntime.InferenceSession(model(body).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array(numbers, np.int64)})[0].tolist()


numbers = 2**31 - 1, 2**31, 3_000_000_000, 2**32
maximum = "zero = Constant<value = int64 {0}>() y = Max(x, zero)"
print("Max(x, 0)    ", run(maximum, *numbers))
print("Min(x, 10)   ", run("ten = Constant<value = int64 {10}>() y = Min(x, ten)", *numbers))
print("Relu(x)      ", run("y = Relu(x)", *numbers))
print("Clip(x, 0, .)", run("zero = Constant<value = int64 {0}>() y = Clip(x, zero)", *numbers))
where = "zero = Constant<value = int64 {0}>() above = Greater(x, zero) y = Where(above, x, zero)"
print("Where(x > 0) ", run(where, *numbers))
print("evaluator Max", ReferenceEvaluator(model(maximum)).run(None, {"x": np.array(numbers, np.int64)})[0].tolist())
print("Max of 1     ", run(maximum, 3_000_000_000))
print("Max of 3     ", run(maximum, *[3_000_000_000] * 3))
base = f"base = Constant<value = int64 {{{2**40}}}>() y = Max(x, base)"
print("2**40 apart  ", run(base, *[2**40 + 3_000_000_000] * 2))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
