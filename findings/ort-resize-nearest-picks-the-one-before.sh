#!/usr/bin/env bash
# Resize to a given size, the plainest way there is, takes a neighbour of the right sample at some lengths.
#
# Library: onnxruntime 1.31.1, CPU provider, Linux (models built with onnx 1.23.2).
# Guess: mode nearest, asymmetric, floor, with `sizes`: y[i] = x[i * in // out]. Every seventh of 14 samples is 0 and 7.
# Seen: 0 and 6. The sizes become a float32 scale first (2/14 rounds upwards), and 1 divided by it is just below 7. 185
# of the 8192 pairs of lengths up to 64 and 128 have such a place, never one where `out` is a multiple of `in`; always
# the sample one before. onnx's own evaluator is right at 14 to 2.
# Output:
#     14 to 2   [0, 6]
#     evaluator [0, 7]
#     20 to 12  [0, 1, 3, 5, 6, 8, 10, 11, 13, 14, 16, 18]
#     exact     [0, 1, 3, 5, 6, 8, 10, 11, 13, 15, 16, 18]
#     185 of 8192 pairs differ, 0 where out is a multiple of in; off by [-1]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnxruntime
from onnx import checker, parser
from onnx.reference import ReferenceEvaluator

model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 18]>
    g (float[1, 1, n] x, int64[3] sizes) => (float[1, 1, m] y) {
        y = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(x, , , sizes)
    }""")
checker.check_model(model)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def resize(engine, before, after):
    x = np.arange(before, dtype=np.float32).reshape(1, 1, before)
    return engine.run(None, {"x": x, "sizes": np.array([1, 1, after])})[0].ravel().astype(int)


def exact(before, after):
    return np.arange(after) * before // after


print("14 to 2  ", resize(session, 14, 2).tolist())
print("evaluator", resize(ReferenceEvaluator(model), 14, 2).tolist())
print("20 to 12 ", resize(session, 20, 12).tolist())
print("exact    ", exact(20, 12).tolist())
pairs = [(before, after) for before in range(1, 65) for after in range(1, 129)]
errors = {pair: resize(session, *pair) - exact(*pair) for pair in pairs}
wrong = [pair for pair, error in errors.items() if error.any()]
multiples = sum(after % before == 0 for before, after in wrong)
off = sorted({int(one) for pair in wrong for one in errors[pair] if one})
print(f"{len(wrong)} of {len(pairs)} pairs differ, {multiples} where out is a multiple of in; off by {off}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
