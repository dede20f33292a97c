#!/usr/bin/env bash
# torch.onnx.export drops `divisor_override` of an average pool: the graph divides by the size of the window, and nobody says so.
#
# Library: torch 2.13.0, onnxscript 0.7.2, onnxruntime 1.31.1 (CPU), x86-64 Linux.
# Guess: it refuses an argument that AveragePool has no attribute for, or multiplies what the pool answers.
# Seen: two and three axes are exported without it, by the older exporter (TorchScript), too.
# Output:
#     avg_pool2d, dynamo=True: exported, answers 2.00 instead of 8.00
#     avg_pool3d, dynamo=True: exported, answers 2.00 instead of 16.00
#     avg_pool2d, dynamo=False: exported, answers 2.00 instead of 8.00

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>"$folder/log" | tee "$folder/seen"
import sys

import onnxruntime
import torch
import torch.nn.functional as F

onnxruntime.set_default_logger_severity(4)


class Pool(torch.nn.Module):
    def __init__(self, axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (F.avg_pool2d if self.axes == 2 else F.avg_pool3d)(x, 2, divisor_override=1)


def told(axes: int, dynamo: bool) -> str:
    x, path = torch.full((1, 1, *[4] * axes), 2.0), f"{sys.argv[1]}/{axes}.onnx"
    try:
        torch.onnx.export(Pool(axes).eval(), (x,), path, dynamo=dynamo, verbose=False)
    except Exception as problem:
        return type(problem).__name__
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return f"exported, answers {found.max():.2f} instead of {float(Pool(axes)(x).max()):.2f}"


for axes, dynamo in ((2, True), (3, True), (2, False)):
    print(f"avg_pool{axes}d, dynamo={dynamo}: {told(axes, dynamo)}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    cat "$folder/log" >&2
    echo "no longer as stated" >&2
    exit 1
fi
