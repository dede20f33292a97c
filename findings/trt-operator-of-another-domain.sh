#!/usr/bin/env bash
# An operator of a domain of one's own is read as ONNX's operator of that name, past the function that defines it.
#
# Library: tensorrt_rtx_cu13 1.7.1.116, its ONNX parser, Linux without a GPU (models built with onnx 1.23.2).
# Guess: a node is found by its domain and its name: my.Relu is the function that the file defines, and without one an
# error, as of my.Negative.
# Seen: my.Relu, defined as -x, becomes a RELU; so does ai.onnx.ml.Relu, which does not exist. No warning is logged. A
# function by a name that ONNX has not is read as it is defined.
# Output:
#     my.Negative, defined as -x  UNARY NEG
#     my.Relu, defined as -x      ACTIVATION RELU
#     my.Relu, defined nowhere    ACTIVATION RELU
#     my.Negative, nowhere        refused
#     ai.onnx.ml.Relu             ACTIVATION RELU
#     warnings []
#     onnx's evaluator, of -1 and 2 by my.Relu: [1.0, -2.0]

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


def model(operator, function=""):
    domain = operator.rpartition(".")[0]
    imports = f'<ir_version: 10, opset_import: ["" : 21, "{domain}" : 1]>'
    text = f"{imports} g (float[2] x) => (float[2] y) {{ [outer] y = {operator} (x) }}"
    if function:
        text += f' <opset_import: ["" : 21], domain: "{domain}"> {function} (x) => (y) {{ [inner] y = Neg (x) }}'
    return parser.parse_model(text)


log = Log()
builder = trt.Builder(log)
defined = model("my.Relu", "Relu")
checker.check_model(defined)
for name, made in (
    ("my.Negative, defined as -x", model("my.Negative", "Negative")), ("my.Relu, defined as -x", defined),
    ("my.Relu, defined nowhere", model("my.Relu")), ("my.Negative, nowhere", model("my.Negative")),
    ("ai.onnx.ml.Relu", model("ai.onnx.ml.Relu")),
):
    network = builder.create_network(0)
    reader = trt.OnnxParser(network, log)
    if not reader.parse(made.SerializeToString()):
        print(f"{name:27} refused")
        continue
    layer = network.get_layer(0)
    kind = layer.type.name
    layer.__class__ = {"UNARY": trt.IUnaryLayer, "ACTIVATION": trt.IActivationLayer}[kind]
    print(f"{name:27} {kind} {(layer.op if kind == 'UNARY' else layer.type).name}")
print("warnings", warnings)
answer = ReferenceEvaluator(defined).run(None, {"x": np.float32([-1, 2])})[0]
print("onnx's evaluator, of -1 and 2 by my.Relu:", [float(value) for value in answer])
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
