#!/usr/bin/env bash
# onnxslim takes a Mul by columns behind a Conv into the weights of its channels, if there are as many of both.
#
# Library: onnxslim 0.1.98 (run by onnxruntime 1.31.1, models built with onnx 1.23.2), x86-64 Linux.
# Guess: a Mul is fused where it has one number for each channel: shape [C, 1, 1] or [1, C, 1, 1]. Shape [C] is the last axis.
# Seen: the shape is not looked at, only how many numbers there are. Behind a Conv whose answer has as many columns as channels,
# a gain of the columns becomes one of the channels. An Add, or the Mul with its inputs the other way round, stays right.
# slim() says nothing.
# Output:
#     Mul by [2]       before [[1.0, 10.0], [1.0, 10.0]]  after [[1.0, 1.0], [10.0, 10.0]]  (Conv)
#     Mul by [1, 2]    before [[1.0, 10.0], [1.0, 10.0]]  after [[1.0, 1.0], [10.0, 10.0]]  (Conv)
#     [2] by Mul       before [[1.0, 10.0], [1.0, 10.0]]  after [[1.0, 10.0], [1.0, 10.0]]  (Conv Mul)
#     Mul by [2, 1, 1] before [[1.0, 1.0], [10.0, 10.0]]  after [[1.0, 1.0], [10.0, 10.0]]  (Conv)
#     Add of [2]       before [[2.0, 11.0], [2.0, 11.0]]  after [[2.0, 11.0], [2.0, 11.0]]  (Conv Add)

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 \
    onnxslim==0.1.98

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import checker, numpy_helper, parser


def show(name, op, shape, turned=False):
    node = f"y = {op}({'k, z' if turned else 'z, k'})"
    body = f"z = Conv<kernel_shape = [1, 1]>(x, w) {node}"
    made = parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> g (float[1,1,1,2] x) => (float[1,2,1,2] y) {{ {body} }}')
    weights = {"w": np.ones((2, 1, 1, 1), np.float32), "k": np.array([1, 10], np.float32).reshape(shape)}
    made.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in weights.items())
    checker.check_model(made)
    slimmed = onnxslim.slim(onnx.ModelProto.FromString(made.SerializeToString()))
    told = []
    for one in made, slimmed:
        session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
        answer = session.run(None, {"x": np.ones((1, 1, 1, 2), np.float32)})[0]
        told.append(answer.reshape(2, 2).tolist())
    kinds = " ".join(node.op_type for node in slimmed.graph.node)
    print(f"{name:<16} before {told[0]}  after {told[1]}  ({kinds})")


show("Mul by [2]", "Mul", (2,))
show("Mul by [1, 2]", "Mul", (1, 2))
show("[2] by Mul", "Mul", (2,), turned=True)
show("Mul by [2, 1, 1]", "Mul", (2, 1, 1))
show("Add of [2]", "Add", (2,))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
