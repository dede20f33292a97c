#!/usr/bin/env bash
# adaptive_avg_pool1d, exported for every length, is right at the example's length and wrong in shape at others.
#
# Library: torch 2.13.0 (torch.onnx.export, dynamo) with onnxscript 0.7.2; run by onnxruntime 1.31.1.
# Guess: the exporter writes windows that follow the length, or refuses a length that is not fixed.
# Seen: it bakes the window of the example, here 8 / 4 = 2, into an AveragePool and says nothing. An input of 10 gives 5
# numbers and not 4, one of 4 gives 2; at 9 the shape is right and the numbers are not. The program of torch.export,
# from which the graph is made, is right at every one of these lengths.
# Output:
#     operators: Unsqueeze AveragePool Squeeze; input length: dynamic
#     length  PyTorch and torch.export     ONNX
#      8      [0.5, 2.5, 4.5, 6.5]         [0.5, 2.5, 4.5, 6.5]
#      9      [1.0, 3.0, 5.0, 7.0]         [0.5, 2.5, 4.5, 6.5]
#     10      [1.0, 3.0, 6.0, 8.0]         [0.5, 2.5, 4.5, 6.5, 8.5]
#      4      [0.0, 1.0, 2.0, 3.0]         [0.5, 2.5]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnx-ir==1.1.0 onnxscript==0.7.2 onnxruntime==1.31.1 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import logging

import onnxruntime
import torch

logging.disable(logging.WARNING)


class Pool(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool1d(x, 4)


def ramp(length):
    return torch.arange(length, dtype=torch.float32).reshape(1, 1, length)


program = torch.export.export(Pool(), (ramp(8),), dynamic_shapes=({2: torch.export.Dim("length", min=4, max=64)},))
model = torch.onnx.export(program, (), dynamo=True, verbose=False).model_proto
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
kind = "dynamic" if isinstance(session.get_inputs()[0].shape[2], str) else "fixed"
print("operators:", *[node.op_type for node in model.graph.node], end=f"; input length: {kind}\n")
print(f"{'length':<8}{'PyTorch and torch.export':<29}ONNX")
for length in 8, 9, 10, 4:
    x = ramp(length)
    torch_answer = Pool()(x)
    assert torch.equal(torch_answer, program.module()(x))
    onnx_answer = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    print(f"{length:>2}      {torch_answer.flatten().tolist()!s:<29}{onnx_answer.ravel().tolist()}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
