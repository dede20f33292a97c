#!/usr/bin/env bash
# ReduceMax and ReduceMin of numbers with a NaN: sometimes NaN, sometimes the answer of the rest, sometimes neither.
#
# Library: onnxruntime 1.31.1, CPU provider, x86-64 Linux (models built with onnx 1.23.2).
# Guess: one NaN makes the answer NaN, as in NumPy and PyTorch and as Max of several tensors does; or it is skipped.
# Seen: the answer is NaN where the NaN comes first, and a number anywhere else; along the last axis the NaN can take
# the largest with it, so that of [0, NaN, 2, 3] the maximum is 2. Looking for a NaN by ReduceMax finds it in one place.
# Output:
#     where the NaN stands            0     1     2     3
#     ReduceMax(last axis, float)     nan   2.0   3.0   2.0
#     ReduceMin(last axis, float)     nan   0.0   0.0   0.0
#     ReduceMax(first axis, float)    nan   3.0   3.0   2.0
#     ReduceMax(last axis, double)    nan   2.0   3.0   2.0
#     evaluator, ReduceMax            nan   nan   nan   nan
#     Max(x[0], x[1], x[2], x[3])     nan   nan   nan   nan

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


def row(title, body, kind="float", first=False, engine="ort"):
    text = '<ir_version: 10, opset_import: ["" : 18]> g (%s[4, 1, 4] x) => (%s[4] y) { %s }' % (kind, kind, body)
    model = parser.parse_model(text)
    checker.check_model(model)
    x = np.tile(np.arange(4, dtype=np.float64 if kind == "double" else np.float32), (4, 1, 1)).transpose(1, 0, 2)
    x[0][np.diag_indices(4)] = np.nan  # in row i the NaN stands at i
    x = x.transpose(2, 0, 1) if first else x.transpose(1, 0, 2)
    if engine == "ort":
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    else:
        session = ReferenceEvaluator(model)
    show(title, session.run(None, {"x": np.ascontiguousarray(x)})[0])


def show(title, numbers):
    print(f"{title:<32}" + "".join(f"{number!s:<6}" for number in numbers).rstrip())


def reduce(operator, *axes):
    listed = ", ".join(map(str, axes))
    return f"axes = Constant<value = int64[{len(axes)}] {{{listed}}}>() y = {operator}<keepdims = 0>(x, axes)"


show("where the NaN stands", range(4))
row("ReduceMax(last axis, float)", reduce("ReduceMax", 1, 2))
row("ReduceMin(last axis, float)", reduce("ReduceMin", 1, 2))
row("ReduceMax(first axis, float)", reduce("ReduceMax", 0, 1), first=True)
row("ReduceMax(last axis, double)", reduce("ReduceMax", 1, 2), kind="double")
row("evaluator, ReduceMax", reduce("ReduceMax", 1, 2), engine="evaluator")
split = "a, b, c, d = Split<axis = 2, num_outputs = 4>(x) wide = Max(a, b, c, d) "
row("Max(x[0], x[1], x[2], x[3])", split + "shape = Constant<value = int64[1] {4}>() y = Reshape(wide, shape)")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
