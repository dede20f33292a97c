#!/usr/bin/env bash
# TensorRT-RTX refuses LSTM, GRU and RNN with sequence_lens in half precision, and GRU in bfloat16 even without.
#
# Library: tensorrt_rtx_cu13 1.7.1.116 on Linux, without a GPU: a graph is parsed, no engine runs (onnx 1.23.2).
# Guess: an operator that is read in float32 is read in the two types of half precision that ONNX allows it too.
# Seen: the parser writes a loop, in which it brings constants of float32 beside values of the graph's type; a strongly
# typed network, the only kind there is, refuses those. Where lengths end a row it is the zero behind a Select, in GRU the
# one of 1 - z, which is right in float16 alone. The node in float32, with casts around it, is taken.
# Output:
#     float32   LSTM read, with lengths read
#     float32   GRU  read, with lengths read
#     float32   RNN  read, with lengths read
#     float16   LSTM read, with lengths thenInput and elseInput: Half and Float
#     float16   GRU  read, with lengths thenInput and elseInput: Half and Float
#     float16   RNN  read, with lengths thenInput and elseInput: Half and Float
#     bfloat16  LSTM read, with lengths thenInput and elseInput: BFloat16 and Float
#     bfloat16  GRU  SUB: Float and BFloat16, with lengths thenInput and elseInput: BFloat16 and Float
#     bfloat16  RNN  read, with lengths thenInput and elseInput: BFloat16 and Float

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 \
    tensorrt_rtx_cu13==1.7.1.116 tensorrt_rtx_cu13_bindings==1.7.1.116 tensorrt_rtx_cu13_libs==1.7.1.116

"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$folder/seen"
import math
import re

import tensorrt_rtx as trt
from onnx import TensorProto, checker, helper

LOGGER = trt.Logger(trt.Logger.INTERNAL_ERROR)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
WIDTH, HIDDEN = 6, 8


def model(operator, dtype, lengths):
    rows = GATES[operator] * HIDDEN
    shapes = {"W": (1, rows, WIDTH), "R": (1, rows, HIDDEN), "B": (1, 2 * rows)}
    weights = [helper.make_tensor(name, dtype, s, [0.1] * math.prod(s)) for name, s in shapes.items()]
    inputs = [helper.make_tensor_value_info("x", dtype, ["T", "N", WIDTH])]
    if lengths:
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ["N"]))
    given = ["x", *shapes, *(["lengths"] if lengths else [])]
    node = helper.make_node(operator, given, ["y"], hidden_size=HIDDEN)
    outputs = [helper.make_tensor_value_info("y", dtype, ["T", 1, "N", HIDDEN])]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    checker.check_model(made)
    return made


def read(*kind):
    network = trt.Builder(LOGGER).create_network()
    parser = trt.OnnxParser(network, LOGGER)
    if parser.parse(model(*kind).SerializeToString()):
        return "read"
    text = parser.get_error(0).desc()
    if found := re.search(r"`(\w+)` and `(\w+)` of same types but has (\w+ and \w+)", text):
        return f"{found[1]} and {found[2]}: {found[3]}"
    found = re.search(r"ElementWiseOperation (\w+) must have same input types.*of types (\w+ and \w+)", text)
    return f"{found[1]}: {found[2]}" if found else text


for name, dtype in (
    ("float32", TensorProto.FLOAT),
    ("float16", TensorProto.FLOAT16),
    ("bfloat16", TensorProto.BFLOAT16),
):
    for operator in GATES:
        print(f"{name:9} {operator:4} {read(operator, dtype, False)}, with lengths {read(operator, dtype, True)}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
