#!/usr/bin/env bash
# ConvTranspose to a given output_shape: the odd row that is cut off is the last one, where ONNX cuts off the first.
#
# Library: tensorrt_rtx_cu13 1.7.1.116, its ONNX parser, Linux without a GPU (models built with onnx 1.23.2).
# Guess: as ONNX has it, the larger part of the padding comes first unless auto_pad is SAME_UPPER.
# Seen: for auto_pad NOTSET the larger part comes last, so that the picture is shifted by one; SAME_LOWER is read rightly,
# which means the same. ONNX Runtime 1.31.1 does as ONNX says. No warning is logged.
# Output:
#     output_shape               TensorRT cuts off [0, 0] in front and [1, 0] behind
#     output_shape, SAME_LOWER   TensorRT pads by itself: SAME_LOWER
#     pads                       TensorRT cuts off [1, 0] in front and [0, 0] behind
#     ONNX Runtime, output_shape [10, 102, 20, 203, 30, 304, 40, 400]
#     ONNX Runtime, cut in front [10, 102, 20, 203, 30, 304, 40, 400]
#     ONNX Runtime, cut behind   [1, 10, 102, 20, 203, 30, 304, 40]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    tensorrt_rtx_cu13==1.7.1.116 tensorrt_rtx_cu13_bindings==1.7.1.116 tensorrt_rtx_cu13_libs==1.7.1.116

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
import tensorrt_rtx as trt
from onnx import checker, parser


def model(options):
    text = f"""<ir_version: 10, opset_import: ["" : 18]>
        g (float[1, 1, 4, 1] x, float[1, 1, 3, 1] w) => (float[1, 1, 8, 1] y) {{
            y = ConvTranspose <strides = [2, 1], {options}> (x, w) }}"""
    made = parser.parse_model(text)
    checker.check_model(made)
    return made.SerializeToString()


shape, lower, pads = "output_shape = [8, 1]", 'output_shape = [8, 1], auto_pad = "SAME_LOWER"', "pads = [1, 0, 0, 0]"
log = trt.Logger(trt.Logger.WARNING)
builder = trt.Builder(log)
for name, options in (("output_shape", shape), ("output_shape, SAME_LOWER", lower), ("pads", pads)):
    network = builder.create_network(0)
    reader = trt.OnnxParser(network, log)
    assert reader.parse(model(options))
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    layer = next(layer for layer in layers if layer.type == trt.LayerType.DECONVOLUTION)
    layer.__class__ = trt.IDeconvolutionLayer
    if layer.padding_mode.name.startswith("SAME"):
        print(f"{name:26} TensorRT pads by itself: {layer.padding_mode.name}")
    else:
        print(f"{name:26} TensorRT cuts off {list(layer.pre_padding)} in front and {list(layer.post_padding)} behind")

feeds = {"x": np.arange(1, 5, dtype=np.float32).reshape(1, 1, 4, 1), "w": np.float32([[[[1], [10], [100]]]])}
for name, options in (("output_shape", shape), ("cut in front", pads), ("cut behind", "pads = [0, 0, 1, 0]")):
    session = onnxruntime.InferenceSession(model(options), providers=["CPUExecutionProvider"])
    print(f"ONNX Runtime, {name:12}", session.run(None, feeds)[0].ravel().astype(int).tolist())
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
