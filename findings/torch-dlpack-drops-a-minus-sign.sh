#!/usr/bin/env bash
# DLPack of a tensor that PyTorch negates when it is read: the memory below goes out, with the other sign.
#
# Library: torch 2.13.0, CPU, x86-64 Linux (read with numpy 2.4.6, and with torch itself).
# Guess: __dlpack__ refuses such a tensor, as it refuses one that is conjugated when it is read (.conj()) and as .numpy()
# refuses both; or it hands out a copy with the right values.
# Seen: x.conj().imag is [-2, -2] and goes out as [2, 2], without a word, to every library that takes DLPack, torch.from_dlpack
# among them. Whoever does arithmetic first, or calls .resolve_neg(), gets the right ones.
# Output:
#     x.conj().imag, is_neg                  [-2.0, -2.0] True
#     numpy.from_dlpack(it)                  [2.0, 2.0]
#     torch.from_dlpack(it)                  [2.0, 2.0]
#     numpy.from_dlpack(it.resolve_neg())    [-2.0, -2.0]
#     numpy.from_dlpack(it * 1)              [-2.0, -2.0]
#     it.numpy()                             RuntimeError
#     numpy.from_dlpack(x.conj())            BufferError

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy
import torch

x = torch.complex(torch.ones(2), 2 * torch.ones(2))
it = x.conj().imag


def show(title, read, *more):
    try:
        seen = [float(number) for number in read()]
    except Exception as error:
        seen = type(error).__name__
    print(f"{title:<39}{seen}", *more)


show("x.conj().imag, is_neg", lambda: it.tolist(), it.is_neg())
show("numpy.from_dlpack(it)", lambda: numpy.from_dlpack(it))
show("torch.from_dlpack(it)", lambda: torch.from_dlpack(it).tolist())
show("numpy.from_dlpack(it.resolve_neg())", lambda: numpy.from_dlpack(it.resolve_neg()))
show("numpy.from_dlpack(it * 1)", lambda: numpy.from_dlpack(it * 1))
show("it.numpy()", lambda: it.numpy())
show("numpy.from_dlpack(x.conj())", lambda: numpy.from_dlpack(x.conj()))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
