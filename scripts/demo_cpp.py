"""A sentence translated by a C++ program, with the bundle of `make demo`; trained and exported here where it is not there yet.

`make demo-cpp` builds the C++ runtime and its examples first. The program is runtime/cpp/examples/translate.cpp, a plain
client of the public header.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from attn_runtime.native.capi import onnxruntime_library
from demo import DEMO, EXPECTED, FRENCH, SENTENCE, TRANSLATOR, run, train

PROGRAM = Path("build/cpp/release/examples/translate")


def main() -> None:
    if not FRENCH.exists():
        DEMO.mkdir(parents=True, exist_ok=True)
        train("translator", TRANSLATOR)
        run("attn-export", "to-onnx", "translator", "--checkpoint", TRANSLATOR / "model.safetensors", "-o", FRENCH)
    # A machine with an ONNX Runtime of its own needs no such variable; here it is the one inside the Python package.
    os.environ.setdefault("ATTN_ONNXRUNTIME", str(onnxruntime_library()))
    print(f'\n$ {PROGRAM} {FRENCH} "{SENTENCE}"', flush=True)
    said = subprocess.run([PROGRAM, FRENCH, SENTENCE], stdout=subprocess.PIPE, text=True)
    print(said.stdout, end="")
    if said.returncode:
        sys.exit(said.returncode)
    if said.stdout.strip() != EXPECTED:
        sys.exit(f'error: "{said.stdout.strip()}", expected "{EXPECTED}"')


if __name__ == "__main__":
    main()
