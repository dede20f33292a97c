#!/usr/bin/env bash
# Three products (queries, keys, values) read one activation that is quantised to int8: written once, all three are float32.
#
# Library: onnxruntime 1.31.1, CPU provider, x86-64 Linux (models built with onnx 1.23.2).
# Guess: a DequantizeLinear that several nodes read is copied for each of them, so that how often it is written does not matter.
# Seen: it does. With one pair of int8 QuantizeLinear and DequantizeLinear, no product is in integers, and the answer is as good
# as the time is bad; a pair for each makes three, unless the pairs have a scale of one name and are found equal. Of uint8 with
# zero point 128, which holds the same numbers, one pair serves. What was fused is read from the optimized graph.
# Output:
#     int8, one pair                         0 products in integers, 3 in float
#     int8, a pair each, one scale           0 products in integers, 3 in float
#     int8, a pair each, a scale each        3 products in integers, 0 in float
#     uint8, one pair                        3 products in integers, 0 in float

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - "$folder" <<'PYTHON' | tee "$folder/seen"
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper


def products(kind, pairs, scales):
    """How many products of the optimized graph are in integers, and how many in float."""
    zero = np.array(128 if kind == "uint8" else 0, kind)
    rng, nodes, weights = np.random.default_rng(0), [], []
    for number in range(3):
        pair, scale = min(number, pairs - 1), min(number, scales - 1)
        if pair == number:
            names = [f"scale{scale}", f"zero{scale}"]
            if scale == number:
                weights += [numpy_helper.from_array(np.array(0.03, "float32"), names[0]), numpy_helper.from_array(zero, names[1])]
            nodes.append(helper.make_node("QuantizeLinear", ["x", *names], [f"q{pair}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{pair}", *names], [f"d{pair}"]))
        weights.append(numpy_helper.from_array(rng.integers(-127, 128, (64, 64), "int8"), f"w{number}"))
        weights.append(numpy_helper.from_array(rng.uniform(0.001, 0.002, 64).astype("float32"), f"s{number}"))
        nodes.append(helper.make_node("DequantizeLinear", [f"w{number}", f"s{number}"], [f"wide{number}"], axis=1))
        nodes.append(helper.make_node("MatMul", [f"d{pair}", f"wide{number}"], [f"y{number}"]))
    sides = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 64]) for name in names]
        for names in (["x"], ["y0", "y1", "y2"])
    ]
    graph = helper.make_graph(nodes, "g", *sides, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = f"{sys.argv[1]}/optimized.onnx"
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = [node.op_type for node in onnx.load(f"{sys.argv[1]}/optimized.onnx").graph.node]
    return made.count("MatMulIntegerToFloat"), made.count("MatMul")


for title, *how in (
    ("int8, one pair", "int8", 1, 1), ("int8, a pair each, one scale", "int8", 3, 1),
    ("int8, a pair each, a scale each", "int8", 3, 3), ("uint8, one pair", "uint8", 1, 1),
):
    integers, floats = products(*how)
    print(f"{title:<38} {integers} products in integers, {floats} in float")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
