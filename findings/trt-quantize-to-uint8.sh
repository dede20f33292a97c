#!/usr/bin/env bash
# QuantizeLinear to uint8 is read as int8, where no zero point is given without a word.
#
# Library: tensorrt_rtx_cu13 1.7.1.116, its ONNX parser, Linux without a GPU (models built with onnx 1.23.2).
# Guess: uint8, as a zero point of that type says, and as ONNX says where there is none; or an error.
# Seen: int8 in both. What is above 127 steps is cut off at 12.7, where ONNX goes on to 25.5: activations behind a ReLU
# are quantized this way. With the zero point a warning speaks of it; without one, nothing. A zero point of 128 is refused.
# Output:
#     no zero point    INT8, warnings 0
#     uint8 0          INT8, warnings 2
#     int8 0           INT8, warnings 0
#     uint8 128        refused
#     ONNX, of 0, 10, 20 and 300: [0.0, 10.0, 20.0, 25.5]
#     in int8:                    [0.0, 10.0, 12.7, 12.7]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    tensorrt_rtx_cu13==1.7.1.116 tensorrt_rtx_cu13_bindings==1.7.1.116 tensorrt_rtx_cu13_libs==1.7.1.116

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import tensorrt_rtx as trt
from onnx import checker, parser
from onnx.reference import ReferenceEvaluator

warnings = []


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()

    def log(self, severity, message):
        if severity == trt.ILogger.WARNING:
            warnings.append(message)


def model(zero):
    made = f"z = Constant <value = {zero}> ()" if zero else ""
    given = "x, s, z", "a, s, z"
    if not zero:
        given = "x, s", "a, s"
    text = f"""<ir_version: 10, opset_import: ["" : 21]> g (float[4] x) => (float[4] y) {{
        s = Constant <value = float {{0.1}}> () {made} a = QuantizeLinear ({given[0]}) y = DequantizeLinear ({given[1]}) }}"""
    parsed = parser.parse_model(text)
    checker.check_model(parsed)
    return parsed


log = Log()
builder = trt.Builder(log)
for name, zero in (("no zero point", ""), ("uint8 0", "uint8 {0}"), ("int8 0", "int8 {0}"), ("uint8 128", "uint8 {128}")):
    warnings.clear()
    network = builder.create_network(0)
    reader = trt.OnnxParser(network, log)
    if not reader.parse(model(zero).SerializeToString()):
        print(f"{name:16} refused")
        continue
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    made = next(layer for layer in layers if layer.type == trt.LayerType.QUANTIZE).get_output(0)
    print(f"{name:16} {made.dtype.name}, warnings {len(warnings)}")


def answer(zero):
    x = np.array([0, 10, 20, 300], np.float32)
    return [round(float(value), 3) for value in ReferenceEvaluator(model(zero)).run(None, {"x": x})[0]]


print("ONNX, of 0, 10, 20 and 300:", answer(""))
print("in int8:                   ", answer("int8 {0}"))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
