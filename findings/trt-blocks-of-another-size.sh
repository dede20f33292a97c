#!/usr/bin/env bash
# DequantizeLinear's block_size is not read: where the last block is shorter, all blocks have another size.
#
# Library: tensorrt_rtx_cu13 1.7.1.116, its ONNX parser, Linux without a GPU (models built with onnx 1.23.2).
# Guess: blocks of 128 over 192 rows are one of 128 and one of 64, as ONNX says and onnx's reference and ONNX Runtime
# compute; or an error, as there is one for 200 rows in 3 blocks.
# Seen: the number of scales alone decides: two scales are two blocks of 96. block_size 128, 100 and 96 give engines
# that are the same byte for byte, and three different answers in ONNX. No warning.
# Output:
#     blocks of 128  engine as of 96: True   ONNX's y[0]: -11.2
#     blocks of 100  engine as of 96: True   ONNX's y[0]: -14.6
#     blocks of 96   engine as of 96: True   ONNX's y[0]: -13.7
#     other scales   engine as of 96: False  ONNX's y[0]: -22.3
#     warnings: 0

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    tensorrt_rtx_cu13==1.7.1.116 tensorrt_rtx_cu13_bindings==1.7.1.116 tensorrt_rtx_cu13_libs==1.7.1.116

"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
import tensorrt_rtx as trt
from onnx import TensorProto, checker, helper

warnings = []


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()

    def log(self, severity, message):
        words = message.lower().split()
        if severity == trt.ILogger.WARNING and any(word in ("w", "dequantize") or "block" in word for word in words):
            warnings.append(message)


def model(block, second=0.2):
    values = np.random.default_rng(0).integers(-8, 8, (192, 32))
    weights = [
        helper.make_tensor("w", TensorProto.INT4, values.shape, values.flatten().tolist()),
        helper.make_tensor("s", TensorProto.FLOAT, (2, 32), [0.1] * 32 + [second] * 32),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], name="dequantize", axis=0, block_size=block),
        helper.make_node("MatMul", ["x", "d"], ["y"], name="product"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 192])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 32])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    checker.check_model(made)
    return made.SerializeToString()


log = Log()


def engine(data):
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    assert parser.parse(data)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    return bytes(memoryview(builder.build_serialized_network(network, config)))


def answer(data):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return float(session.run(None, {"x": np.ones((4, 192), np.float32)})[0][0, 0])


cases = [(f"blocks of {block}", model(block)) for block in (128, 100, 96)] + [("other scales", model(96, 0.3))]
same = engine(model(96))
for name, data in cases:
    print(f"{name:14} engine as of 96: {str(engine(data) == same):6} ONNX's y[0]: {answer(data):.1f}")
print("warnings:", len(warnings))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
