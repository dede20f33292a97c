#!/usr/bin/env bash
# The optimizer takes a small number that is added for 0, and one near 1 that is multiplied by for 1.
#
# Library: onnxscript 0.7.2 with onnx-ir 1.1.0 (run by onnx 1.23.2 and its reference evaluator).
# Guess: Add of 0 and Mul by 1 are removed where the constant is exactly that.
# Seen: constants are matched with a tolerance of their own, so an epsilon of 1e-8 that keeps a division from 0, as modules
# have it, is gone, and 0 / (0 + 1e-8) is nan. 1e-7 stays. optimize() is what torch.onnx.export(dynamo=True) calls by default.
# Output:
#     x / (x + 1e-8)   Div          at 0: nan
#     x / (x + 1e-7)   Add Div      at 0: 0.0000
#     x * 0.999999     Identity     at 1: 1.0000
#     x * 0.9999       Mul          at 1: 0.9999

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnx-ir==1.1.0 onnxscript==0.7.2

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnx
import onnx.reference
import onnxscript.optimizer

for told, number, body, at in (
    ("x / (x + 1e-8)", "1e-8", "s = Add(x, c) y = Div(x, s)", 0.0),
    ("x / (x + 1e-7)", "1e-7", "s = Add(x, c) y = Div(x, s)", 0.0),
    ("x * 0.999999", "0.999999", "y = Mul(x, c)", 1.0),
    ("x * 0.9999", "0.9999", "y = Mul(x, c)", 1.0),
):
    text = f'<ir_version: 10, opset_import: ["" : 18]> g (float[n] x) => (float[n] y) <float c = {{{number}}}> {{ {body} }}'
    made = onnxscript.optimizer.optimize(onnx.parser.parse_model(text))
    kinds = " ".join(node.op_type for node in made.graph.node)
    with np.errstate(all="ignore"):
        (found,) = onnx.reference.ReferenceEvaluator(made).run(None, {"x": np.array([at], np.float32)})
    print(f"{told:16} {kinds:12} at {at:g}: {found[0]:.4f}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
