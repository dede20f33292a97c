"""The two texts of a deployed folder: setup.sh and README.txt."""

from __future__ import annotations

from collections.abc import Sequence

from attn_runtime.escape import printable
from attn_runtime.jetson import Board, Release

_SETUP = """\
#!/bin/sh
# Sets the model in this folder up on this board: checks it, builds the engines, holds them against PyTorch's answers, times
# them, writes report.json and report.html. Options are those of attn-run setup: ./setup.sh --help
#   PYTHON=python3.12 ./setup.sh    another Python than python3
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || {
    echo "error: $python is not on this board; PYTHON=... ./setup.sh names another" >&2
    exit 10
}
for wheel in "$here"/wheels/attn_runtime-*.whl; do
    [ -f "$wheel" ] || { echo "error: wheels/ holds no attn_runtime; copy the whole folder to the board again" >&2; exit 8; }
    # Not -m: that would take any zipfile.py of the current folder for Python's own.
    exec "$python" -c 'import sys; sys.path[0] = sys.argv.pop(1); from attn_runtime.jetson.bootstrap import main; main()' \\
        "$wheel" "$here" "$@"
done
"""


def setup_script() -> str:
    return _SETUP


def readme(model: str, board: Board, release: Release, notes: Sequence[str]) -> str:
    told = "\n".join(f"- {printable(note, None)}" for note in notes)
    model = printable(model)
    return f"""{model} for {board.title}, JetPack {release.version} (TensorRT {release.tensorrt}, Python {release.python})

Copy this folder to the board and run

    ./setup.sh

It needs no network, no torch and no onnx. It checks the board, builds the TensorRT engines there, holds what they answer
against what PyTorch answered when the model was exported, times them, and writes report.json and report.html. Run it again at
any time: what is built and fits stays (--rebuild builds anew). ./setup.sh --help tells the options; --device cpu goes without
the GPU.

From then on, with Python (the folders in python/ on PYTHONPATH):

    from attn_runtime import open_session
    with open_session("NAME.attn", "cuda", precision="fp16") as session: ...

and with C++, where cpp/ is here: the header is cpp/include/attn/runtime.h, and cpp/bin has examples. Where the loader finds
no ONNX Runtime, say where it is; with --wheels there is one after the first setup:

    ATTN_ONNXRUNTIME=$(ls python/onnxruntime-*/onnxruntime/capi/libonnxruntime.so.1*) cpp/bin/translate NAME.attn "a sentence"

{told}
"""
