#!/usr/bin/env bash
# onnxscript's optimizer holds the model that it saw last, with all of its weights, until it sees another.
#
# Library: onnxscript 0.7.2 with onnx-ir 1.1.0 (model read by onnx 1.23.2).
# Guess: once the caller lets go of a model that was optimized, its memory is free.
# Seen: the rules that optimize() applies by default live as long as the process, and each keeps the graph and the node that it
#       looked at last. The weights of the last model stay, whoever lets go of it; those of the one before it are free. That is the
#       second copy of a model of gigabytes in a process that exports one and then goes on, as torch.onnx.export calls optimize().
# Output:
#     let go of a model as it was read   its weights are free
#     let go of one that was optimized   its weights are held
#     and once another was optimized     its weights are free

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnx-ir==1.1.0 onnxscript==0.7.2

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import gc
import weakref

import numpy as np
import onnx
import onnx_ir as ir
import onnxscript.optimizer

TEXT = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 512] x, float[512, 512] w) => (float[n, 512] y) { a = MatMul (x, w) y = Relu (a) }'


class Weights(np.ndarray):
    """An array that can be watched."""


def made():
    """A model, and what tells whether its weights are there."""
    model = ir.from_proto(onnx.parser.parse_model(TEXT))
    array = np.ones((512, 512), np.float32).view(Weights)
    held = model.graph.inputs.pop()
    held.const_value = ir.Tensor(array, name="w")
    model.graph.register_initializer(held)
    return model, weakref.ref(array)


def told(weights):
    gc.collect()
    return "its weights are free" if weights() is None else "its weights are held"


model, weights = made()
del model
print("let go of a model as it was read  ", told(weights))
model, weights = made()
onnxscript.optimizer.optimize(model)
del model
print("let go of one that was optimized  ", told(weights))
model, _ = made()
onnxscript.optimizer.optimize(model)
print("and once another was optimized    ", told(weights))
PYTHON

diff <(sed -n 's/^#     \(let go\|and once\)/\1/p' "$0") "$folder/seen"
