#!/usr/bin/env bash
# OpenVINO's CPU compares and divides whole numbers as float32, and keeps 64 bits in 32: without an error or a warning.
#
# Libraries: openvino 2026.4.1 and onnxruntime 1.31.1 (models built with onnx 1.23.2), on x86-64 Linux.
# Guess: int64 may be computed in int32, whose range an identity at least would not touch; within 32 bits all is exact.
# Seen: 16777216 equals 16777217, for int32 as for int64; half of such a number is rounded as float32 is; an Identity of
# 2^33 + 1 gives 1; and in 8 bits 200 + 200 is 255. Told to compute exactly (precision f32, mode ACCURACY) as well.
# Output:
#     int32 16777217 == 16777216    OpenVINO True         ONNX Runtime False
#     int64 16777217 == 16777216    OpenVINO True         ONNX Runtime False
#     int32 2147483647 / 2          OpenVINO 1073741824   ONNX Runtime 1073741823
#     int32 16777217 mod 2          OpenVINO 0            ONNX Runtime 1
#     int64 8589934593, unchanged   OpenVINO 1            ONNX Runtime 8589934593
#     uint8 200 + 200               OpenVINO 255          ONNX Runtime 144

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps openvino==2026.4.1

cat > "$folder/compare.py" <<'PYTHON'
import numpy as np
import onnxruntime
import openvino
from onnx import parser

core = openvino.Core()


def both(told, dtype, node, *values, out=None):
    sides = ", ".join(f"{dtype}[1] {name}" for name, _ in zip("ab", values))
    text = f'<ir_version: 10, opset_import: ["" : 20]> g ({sides}) => ({out or dtype}[1] y) {{ y = {node} }}'
    model = parser.parse_model(text).SerializeToString()
    feed = {name: np.array([value], dtype) for name, value in zip("ab", values)}
    exactly = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    ours = core.compile_model(core.read_model(model), "CPU", exactly)(feed)[0][0]
    theirs = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feed)[0][0]
    print(f"{dtype} {told:24}OpenVINO {ours!s:12} ONNX Runtime {theirs}")


both("16777217 == 16777216", "int32", "Equal(a, b)", 2**24 + 1, 2**24, out="bool")
both("16777217 == 16777216", "int64", "Equal(a, b)", 2**24 + 1, 2**24, out="bool")
both("2147483647 / 2", "int32", "Div(a, b)", 2**31 - 1, 2)
both("16777217 mod 2", "int32", "Mod(a, b)", 2**24 + 1, 2)
both("8589934593, unchanged", "int64", "Identity(a)", 2**33 + 1)
both("200 + 200", "uint8", "Add(a, b)", 200, 200)
PYTHON
ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" "$folder/compare.py" | tee "$folder/seen"
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
