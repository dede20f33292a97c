#!/usr/bin/env bash
# ONNX Runtime fuses a Pad of zeros into the MaxPool behind it, whose own padding is minus infinity: at the border zeros are
# no longer counted, and windows of negative numbers answer something else.
#
# Library: onnxruntime 1.31.1 (CPU), onnx 1.23.2, numpy 2.4.6, x86-64 Linux. BiT of transformers and timm pads so.
# Guess: Pad_Fusion, a basic optimization that is on by default, takes a Pad of -inf alone into a MaxPool.
# Seen: it takes the zeros, as it rightly does for an AveragePool, and leaves what is no zero, -inf too: just the wrong way round.
# Output:
#     Pad of 0.0 before MaxPool: fused, other answers
#     Pad of -1.0 before MaxPool: not fused
#     Pad of -inf before MaxPool: not fused
#     Pad of 0.0 before AveragePool: fused
#     Pad of 0.0 before MaxPool without Pad_Fusion: not fused

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - "$folder" <<'PYTHON' | tee "$folder/seen"
import sys

import numpy as np
import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(4)
x = -1 - np.abs(np.random.default_rng(0).standard_normal((1, 2, 6, 6))).astype(np.float32)


def told(value: float, pool: str, disabled: list[str]) -> str:
    graph = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 20]>
        g (float[b, 2, 6, 6] x) => (float[b, 2, h, w] y)
        <int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}, float value> {{
            padded = Pad <mode = "constant"> (x, pads, value)
            y = {pool} <kernel_shape = [3, 3], strides = [2, 2]> (padded)
        }}""")
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), "value"))
    serialized = graph.SerializeToString()
    plain, usual = onnxruntime.SessionOptions(), onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    usual.optimized_model_filepath = f"{sys.argv[1]}/optimized.onnx"
    cpu = ["CPUExecutionProvider"]
    (expected,) = onnxruntime.InferenceSession(serialized, plain, providers=cpu).run(None, {"x": x})
    session = onnxruntime.InferenceSession(serialized, usual, providers=cpu, disabled_optimizers=disabled)
    (found,) = session.run(None, {"x": x})
    fused = not any(n.op_type == "Pad" for n in onnx.load(f"{sys.argv[1]}/optimized.onnx").graph.node)
    answers = "" if np.allclose(found, expected) else ", other answers"
    return ("fused" if fused else "not fused") + answers


for value, pool in ((0.0, "MaxPool"), (-1.0, "MaxPool"), (-np.inf, "MaxPool"), (0.0, "AveragePool")):
    print(f"Pad of {value} before {pool}: {told(value, pool, [])}")
print(f"Pad of 0.0 before MaxPool without Pad_Fusion: {told(0.0, 'MaxPool', ['Pad_Fusion'])}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
