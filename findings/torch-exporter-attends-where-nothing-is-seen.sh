#!/usr/bin/env bash
# A query that may see no key gets 0 in PyTorch, and in the exported graph the mean of all values, padding too.
#
# Library: torch 2.13.0 (torch.onnx.export, dynamo) with onnxscript 0.7.2; run by onnxruntime 1.31.1.
# Guess: both give 0. The exporter knows of such rows: it writes IsNaN and Where behind the Softmax.
# Seen: False becomes the smallest finite number, so that the row is alike everywhere: the Softmax gives 1/3 each and that guard
# never acts. A float mask of -inf gives NaN, without a guard. As one Attention node, which opset 23 asks for, both give 0.
# Output:
#     bool    opset 18 IsNaN     PyTorch [1.5, 0.0], ONNX [1.5, 3.0]
#     float32 opset 18 no guard  PyTorch [1.5, 0.0], ONNX [1.5, nan]
#     bool    opset 23 Attention PyTorch [1.5, 0.0], ONNX [1.5, 0.0]
#     float32 opset 23 Attention PyTorch [1.5, 0.0], ONNX [1.5, 0.0]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnx-ir==1.1.0 \
    onnxscript==0.7.2 onnxruntime==1.31.1 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import contextlib
import io
import logging
import warnings

import onnxruntime
import torch

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")


class Attend(torch.nn.Module):
    def forward(self, query, key, value, mask):
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def show(mask, opset):
    inputs = torch.ones(1, 1, 2, 4), torch.ones(1, 1, 3, 4), torch.tensor([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1), mask
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        program = torch.onnx.export(Attend(), inputs, dynamo=True, opset_version=opset)
    proto = program.model_proto
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {one.name: tensor.numpy() for one, tensor in zip(session.get_inputs(), inputs, strict=True)}
    answer = session.run(None, given)[0].ravel().tolist()
    kind = {"Attention", "IsNaN"} & {node.op_type for node in proto.graph.node}
    name = f"{str(mask.dtype)[6:]:<8}opset {opset} {' '.join(kind) or 'no guard'}"
    print(f"{name:<27}PyTorch {Attend()(*inputs).ravel().tolist()}, ONNX {answer}")


seen = torch.tensor([[True, True, False], [False, False, False]])
for opset in 18, 23:
    show(seen, opset)
    show(torch.zeros(2, 3).masked_fill(~seen, -torch.inf), opset)
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
