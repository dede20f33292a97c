#!/usr/bin/env bash
# scaled_dot_product_attention with a negative scale is exported to a graph that answers NaN.
#
# Library: torch 2.13.0 (torch.onnx.export, dynamo) with onnxscript 0.7.2; run by onnxruntime 1.31.1.
# Guess: the scores are multiplied by the scale, whatever its sign.
# Seen: queries and keys are each multiplied by its square root, which is computed when the graph is made: NaN, without a word.
# As one Attention node, which opset 23 asks for, ONNX Runtime refuses it. A query that is negated instead is right.
# Output:
#     scale 0.5            PyTorch 1.622, ONNX 1.622
#     scale -0.5           PyTorch 1.378, ONNX nan
#     scale -0.5, opset 23 PyTorch 1.378, ONNX refused: Fail
#     0.5, query negated   PyTorch 1.378, ONNX 1.378

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
onnxruntime.set_default_logger_severity(4)


class Attend(torch.nn.Module):
    def __init__(self, scale, sign=1.0):
        super().__init__()
        self.scale, self.sign = scale, sign

    def forward(self, query, key, value):
        return torch.nn.functional.scaled_dot_product_attention(query * self.sign, key, value, scale=self.scale)


def show(name, module, opset=18):
    key = torch.tensor([[1.0], [2.0]]).reshape(1, 1, 2, 1)
    inputs = torch.ones(1, 1, 1, 1), key, key.clone()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        program = torch.onnx.export(module, inputs, dynamo=True, opset_version=opset)
    try:
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        answer = f"refused: {type(error).__name__}"
    else:
        given = {one.name: tensor.numpy() for one, tensor in zip(session.get_inputs(), inputs, strict=True)}
        answer = f"{session.run(None, given)[0].item():.3f}"
    print(f"{name:<20} PyTorch {module(*inputs).item():.3f}, ONNX {answer}")


show("scale 0.5", Attend(0.5))
show("scale -0.5", Attend(-0.5))
show("scale -0.5, opset 23", Attend(-0.5), 23)
show("0.5, query negated", Attend(0.5, -1.0))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
