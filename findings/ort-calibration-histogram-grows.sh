#!/usr/bin/env bash
# The histogram of a calibration grows with the ratio of two samples: 2048 bins become twenty million.
#
# Library: onnxruntime 1.31.1, onnxruntime.quantization (models built with onnx 1.23.2), CPU.
# Guess: a histogram of 2048 bins has 2048 bins, or a few times as many, whatever is counted in it.
# Seen: bins keep the width of the first sample's, and as many are appended as the largest value so far needs. A first sample
# that is nearly zero (a dark picture, padding) and one of usual size take gigabytes for each tensor. In the other order the
# same samples take 2048.
# Output:
#     samples up to 1 and 1:           percentile 2048 entropy 128
#     samples up to 1 and 10:          percentile 20499 entropy 1282
#     samples up to 0.01 and 1:        percentile 205004 entropy 12802
#     samples up to 0.01 and 100:      percentile 20500520 entropy 1280002
#     samples up to 100 and 0.01:      percentile 2048 entropy 128

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 \
    sympy==1.14.0

"$folder/venv/bin/python" - "$folder" <<'PYTHON' | tee "$folder/seen"
import contextlib
import io
import sys

import numpy as np
import onnx
from onnx import parser
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator

graph = parser.parse_model('<ir_version: 10, opset_import: ["" : 18]> g (float[n] x) => (float[n] y) { y = Neg(x) }')
onnx.save(graph, f"{sys.argv[1]}/g.onnx")
files = {"model": f"{sys.argv[1]}/g.onnx", "augmented_model_path": f"{sys.argv[1]}/augmented.onnx"}


class Reader(CalibrationDataReader):
    def __init__(self, scales):
        self.samples = iter([{"x": np.linspace(-scale, scale, 1000, dtype=np.float32)} for scale in scales])

    def get_next(self):
        return next(self.samples, None)


def bins(method, *scales):
    with contextlib.redirect_stdout(io.StringIO()):
        calibrator = create_calibrator(**files, calibrate_method=method)
        for scale in scales:  # as calibration in strides does
            calibrator.collect_data(Reader([scale]))
    return len(calibrator.collector.get_histogram_dict()["x"][0])


for scales in ((1, 1), (1, 10), (0.01, 1), (0.01, 100), (100, 0.01)):
    found = [bins(method, *scales) for method in (CalibrationMethod.Percentile, CalibrationMethod.Entropy)]
    print(f"samples up to {scales[0]} and {scales[1]}:".ljust(32), "percentile", found[0], "entropy", found[1])
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
