#!/usr/bin/env bash
# onnx's own evaluator runs LSTM, GRU and RNN without sequence_lens, clip, activations and input_forget, and says nothing.
#
# Library: onnx 1.23.2, its ReferenceEvaluator (compared with onnxruntime 1.31.1, x86-64 Linux).
# Guess: the reference knows every input and attribute of its standard, or refuses one.
# Seen: rows that end early go on, so that what lies behind their end counts, and the other three change nothing either. ONNX
# Runtime's answers change with each of them.
# (Printed is by how much the last state differs from that of the plain node.)
# Output:
#     LSTM sequence_lens         evaluator 0.00   ONNX Runtime 0.41
#     LSTM clip                  evaluator 0.00   ONNX Runtime 0.67
#     GRU  sequence_lens         evaluator 0.00   ONNX Runtime 0.52
#     GRU  clip                  evaluator 0.00   ONNX Runtime 0.80
#     RNN  sequence_lens         evaluator 0.00   ONNX Runtime 1.19
#     RNN  clip                  evaluator 0.00   ONNX Runtime 0.71
#     LSTM activations           evaluator 0.00   ONNX Runtime 0.30
#     LSTM input_forget          evaluator 0.00   ONNX Runtime 0.03

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def last_states(op, attributes, lengths):
    gates = 2 * GATES[op]
    feeds = {"x": (4, 2, 3), "w": (1, gates, 3), "r": (1, gates, 2)}
    feeds = {name: np.linspace(-2, 3, int(np.prod(shape)), dtype=np.float32).reshape(shape) for name, shape in feeds.items()}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()]
    if lengths:
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [2]))
        feeds["lengths"] = np.array([4, 2], np.int32)
    names = ["x", "w", "r", "", "lengths"] if lengths else ["x", "w", "r"]
    node = helper.make_node(op, names, ["", "last"], hidden_size=2, **attributes)
    output = helper.make_tensor_value_info("last", TensorProto.FLOAT, [1, 2, 2])
    graph = helper.make_graph([node], "g", inputs, [output])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    checker.check_model(made)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(made).run(None, feeds)[0], session.run(None, feeds)[0]


def show(op, name, lengths=False, **attributes):
    pairs = zip(last_states(op, {}, False), last_states(op, attributes, lengths), strict=True)
    evaluator, ort = (np.abs(plain - other).max() for plain, other in pairs)
    print(f"{op:<5}{name:<22}evaluator {evaluator:.2f}   ONNX Runtime {ort:.2f}")


for op in GATES:
    show(op, "sequence_lens", lengths=True)
    show(op, "clip", clip=0.3)
show("LSTM", "activations", activations=["Sigmoid", "Softsign", "Softsign"])
show("LSTM", "input_forget", input_forget=1)
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
