#!/usr/bin/env bash
# What looks like a LayerNormalization becomes one, whatever its exponent and the order of its differences and quotients.
#
# Library: onnxruntime 1.31.1, CPU provider, x86-64 Linux (models built with onnx 1.23.2).
# Guess: ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul and Add are fused where they compute a LayerNormalization: Pow
# by 2, value minus mean, difference through root. A constant inside the pattern is read before it is dropped.
# Seen: of constants only the epsilon is. At the default optimizations Pow by 4 or by 1 answers as Pow by 2 does, mean minus value
# loses its sign, and root through difference is turned over. A pattern of RMSNormalization by other powers is left alone.
# Output:
#     LayerNormalization  not optimized  -0.93  -0.56  -0.19   1.67   by default  -0.93  -0.56  -0.19   1.67
#     Pow by 4            not optimized  -0.23  -0.14  -0.05   0.42   by default  -0.93  -0.56  -0.19   1.67
#     mean minus value    not optimized   0.93   0.56   0.19  -1.67   by default  -0.93  -0.56  -0.19   1.67
#     root / difference   not optimized  -1.08  -1.80  -5.39   0.60   by default  -0.93  -0.56  -0.19   1.67
#     RMS, Pow by 4       not optimized   0.03   0.06   0.09   0.25   by default   0.03   0.06   0.09   0.25

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
from onnx import checker, parser

TEXT = """<ir_version: 10, opset_import: ["": 18]> g (float[1,4] x) => (float[1,4] y) {{
    last = Constant<value = int64[1] {{-1}}>() power = Constant<value = float {{{power}}}>()
    small = Constant<value = float {{0.00001}}>()
    one = Constant<value = float[4] {{1, 1, 1, 1}}>() zero = Constant<value = float[4] {{0, 0, 0, 0}}>()
    mean = ReduceMean(x, last) apart = {apart} raised = Pow({raised}, power)
    spread = ReduceMean(raised, last) more = Add(spread, small) root = Sqrt(more) normal = {normal}
    scaled = Mul(normal, one) y = Add(scaled, zero)
}}"""
x = np.array([[1, 2, 3, 8]], np.float32)


def show(name, power=2, apart="Sub(x, mean)", raised="apart", normal="Div(apart, root)"):
    made = parser.parse_model(TEXT.format(power=f"{power}.0", apart=apart, raised=raised, normal=normal))
    checker.check_model(made)
    told = []
    for level in "ORT_DISABLE_ALL", "ORT_ENABLE_ALL":
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        told.append(" ".join(f"{one:6.2f}" for one in session.run(None, {"x": x})[0][0]))
    print(f"{name:<20}not optimized {told[0]}   by default {told[1]}")


show("LayerNormalization")
show("Pow by 4", power=4)
show("mean minus value", apart="Sub(mean, x)")
show("root / difference", normal="Div(root, apart)")
show("RMS, Pow by 4", power=4, apart="Identity(x)", raised="x", normal="Div(x, root)")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
