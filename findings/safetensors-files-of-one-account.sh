#!/usr/bin/env bash
# What save_file writes is for its owner alone, and so is a file of everybody's that it writes over.
#
# Library: safetensors 0.8.0, Linux; beside it onnx 1.23.2 and numpy 2.4.6.
# Guess: a new file has the mode that the umask leaves, 0644 with 022, as of any open(); one that is written over keeps
# its own. onnx's external data is as readable as the graph that names it.
# Seen: save_file gives 0600 whatever the umask and whatever was there, which another account finds out when it opens
# the file; save with open() is as guessed. onnx.save gives the graph 0644 and its external data 0600.
# Output:
#     save_file, a new file    0o600
#     save_file, over 0664     0o600
#     save and open            0o644
#     numpy.savez              0o644
#     onnx.save, the graph     0o644
#     onnx.save, its data      0o600

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 safetensors==0.8.0
mkdir "$folder/files" && cd "$folder/files"

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import os
import stat
from pathlib import Path

import numpy as np
import onnx
from onnx import parser
from safetensors.numpy import save, save_file

os.umask(0o022)
numbers = {"x": np.ones(1000, np.float32)}


def show(label, file):
    print(f"{label:24}", oct(stat.S_IMODE(Path(file).stat().st_mode)))


save_file(numbers, "new.safetensors")
show("save_file, a new file", "new.safetensors")
Path("old.safetensors").touch()
Path("old.safetensors").chmod(0o664)
save_file(numbers, "old.safetensors")
show("save_file, over 0664", "old.safetensors")
Path("bytes.safetensors").write_bytes(save(numbers))
show("save and open", "bytes.safetensors")
np.savez("x.npz", **numbers)
show("numpy.savez", "x.npz")
text = '<ir_version: 10, opset_import: ["" : 18]> g (float[1000] x) => (float[1000] y) { y = Add(x, w) }'
model = parser.parse_model(text)
model.graph.initializer.append(onnx.numpy_helper.from_array(numbers["x"], "w"))
onnx.save(model, "model.onnx", save_as_external_data=True, location="model.onnx.data")
show("onnx.save, the graph", "model.onnx")
show("onnx.save, its data", "model.onnx.data")
PYTHON
cd "$OLDPWD"
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
