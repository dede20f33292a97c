#!/usr/bin/env bash
# A Cast to float16 and back changes nothing in OpenVINO: numbers are not rounded, and what is too large stays finite.
#
# Libraries: openvino 2026.4.1 and onnxruntime 1.31.1, CPU, x86-64 Linux (models built with onnx 1.23.2).
# Guess: a pair of casts rounds, as it does to bfloat16 and to whole numbers; it is there to measure or to imitate lower precision.
# Seen: the type float16 is replaced by float32 throughout, whatever precision is asked for, and the two casts are left out. An answer
# that is itself of type float16 is rounded.
# Output:
#     float16 and back
#         OpenVINO f32 2049 0.333333 1e-09 70000
#         OpenVINO f16 2049 0.333333 1e-09 70000
#         ONNX Runtime 2048 0.333252 0 inf
#     float16
#         OpenVINO f32 2048 0.333252 0 inf
#         OpenVINO f16 2048 0.333252 0 inf
#         ONNX Runtime 2048 0.333252 0 inf
#     bfloat16 and back
#         OpenVINO f32 2048 0.333984 9.96806e-10 70144
#         OpenVINO f16 2048 0.333984 9.96806e-10 70144
#         ONNX Runtime 2048 0.333984 9.96806e-10 70144

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 \
    openvino==2026.4.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
import openvino
from onnx import checker, parser

core = openvino.Core()
x = np.array([2049, 1 / 3, 1e-9, 70000], np.float32)


def show(name, node, dtype="float"):
    made = parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> g (float[4] x) => ({dtype}[4] y) {{ {node} }}')
    checker.check_model(made)
    raw = made.SerializeToString()
    told = []
    for hint in "f32", "f16":
        compiled = core.compile_model(core.read_model(raw), "CPU", {"INFERENCE_PRECISION_HINT": hint})
        told.append(compiled({"x": x})[0])
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    told.append(session.run(None, {"x": x})[0])
    print(name)
    for library, answer in zip(("OpenVINO f32", "OpenVINO f16", "ONNX Runtime"), told, strict=True):
        print(f"    {library}", " ".join(f"{one:.6g}" for one in answer))


show("float16 and back", "half = Cast<to = 10>(x) y = Cast<to = 1>(half)")
show("float16", "y = Cast<to = 10>(x)", "float16")
show("bfloat16 and back", "half = Cast<to = 16>(x) y = Cast<to = 1>(half)")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
