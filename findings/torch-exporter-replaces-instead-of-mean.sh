#!/usr/bin/env bash
# scatter_reduce by mean is exported as no reduction at all: what is written last replaces what was there.
#
# Library: torch 2.13.0 (torch.onnx.export, dynamo) with onnxscript 0.7.2; run by onnxruntime 1.31.1.
# Guess: ScatterElements has no mean, so the exporter writes a sum and a count, or refuses, as the older one (TorchScript) does
# and as it does itself for index_reduce.
# Seen: sum, amax, amin and prod are right, and mean becomes reduction "none", with include_self or without. Nothing is said.
# The mean of a graph's messages by node, or of tokens by word, is the last one.
# Output:
#     sum  include_self=True  PyTorch [19.0, 20.0], ONNX [19.0, 20.0]
#     amax include_self=True  PyTorch [10.0, 20.0], ONNX [10.0, 20.0]
#     mean include_self=True  PyTorch [4.75, 20.0], ONNX [6.0, 20.0]
#     mean include_self=False PyTorch [3.0, 20.0], ONNX [6.0, 20.0]

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


class Scatter(torch.nn.Module):
    def __init__(self, reduce, include_self):
        super().__init__()
        self.reduce, self.include_self = reduce, include_self

    def forward(self, into, index, source):
        return into.scatter_reduce(0, index, source, self.reduce, include_self=self.include_self)


def show(reduce, include_self=True):
    module = Scatter(reduce, include_self).eval()
    inputs = torch.tensor([10.0, 20.0]), torch.tensor([0, 0, 0]), torch.tensor([1.0, 2.0, 6.0])
    file = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(module, inputs, file, dynamo=True)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    given = {one.name: tensor.numpy() for one, tensor in zip(session.get_inputs(), inputs, strict=True)}
    answer = session.run(None, given)[0].tolist()
    print(f"{reduce:<5}include_self={include_self!s:<6}PyTorch {module(*inputs).tolist()}, ONNX {answer}")


for reduce in "sum", "amax", "mean":
    show(reduce)
show("mean", include_self=False)
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
