#!/usr/bin/env bash
# Attention with is_causal and past keys: where new keys outnumber queries, two libraries let a query see those behind it.
#
# Libraries: onnxruntime 1.31.1 and openvino 2026.4.1, CPU, x86-64 Linux (models built with onnx 1.23.2).
# Guess: query i sees the keys up to past + i, as ONNX says and onnx's own evaluator does, however many keys there are.
# Seen: OpenVINO counts from the end of the keys: the last query sees all. ONNX Runtime does as ONNX says for two queries, but
# one query sees all keys, mask or not. Without a past, and with as many queries as new keys, all agree. No warning.
# (The numbers say how many keys each query attends to; all keys are zero, so that it attends to them alike.)
# Output:
#     queries  new keys  past    evaluator  ONNX Runtime  OpenVINO
#     2        2         3       [4, 5]     [4, 5]        [4, 5]
#     1        3         0       [1]        [1]           [1]
#     2        4         0       [1, 2]     [1, 2]        [1, 2]
#     2        4         3       [4, 5]     [4, 5]        [6, 7]
#     1        4         3       [4]        [7]           [7]

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
from onnx.reference import ReferenceEvaluator

core = openvino.Core()


def model(queries, new, past):
    inputs = [f"float[1,1,{queries},4] q", f"float[1,1,{new},4] k", f"float[1,1,{new},1] v"]
    node, outputs = "y = Attention<is_causal = 1>(q, k, v)", [f"float[1,1,{queries},1] y"]
    if past:
        inputs += [f"float[1,1,{past},4] pk", f"float[1,1,{past},1] pv"]
        outputs += [f"float[1,1,{past + new},4] ck", f"float[1,1,{past + new},1] cv"]
        node = 'y, ck, cv = Attention<is_causal = 1>(q, k, v, "", pk, pv)'
    text = f'<ir_version: 11, opset_import: ["": 23]> g ({", ".join(inputs)}) => ({", ".join(outputs)}) {{ {node} }}'
    made = parser.parse_model(text)
    checker.check_model(made)
    return made


def seen(queries, new, past):
    made = model(queries, new, past)
    feeds = {one.name: np.zeros([d.dim_value for d in one.type.tensor_type.shape.dim], np.float32) for one in made.graph.input}
    feeds["pv" if past else "v"][0, 0, 0] = 1  # the first key's value is 1, the others' 0: the mean is 1 / how many
    raw = made.SerializeToString()
    compiled = core.compile_model(core.read_model(raw), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    answers = ReferenceEvaluator(made).run(None, feeds)[0], session.run(None, feeds)[0], compiled(feeds)[0]
    return [np.rint(1 / answer.ravel()).astype(int).tolist() for answer in answers]


print("queries  new keys  past    evaluator  ONNX Runtime  OpenVINO")
for sizes in (2, 2, 3), (1, 3, 0), (2, 4, 0), (2, 4, 3), (1, 4, 3):
    first, second, third = seen(*sizes)
    print("{:<9}{:<10}{:<8}".format(*sizes) + f"{first!s:<11}{second!s:<14}{third}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
