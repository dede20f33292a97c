#!/usr/bin/env bash
# Calibration by entropy gives the range of min-max: its search has one candidate.
#
# Library: onnxruntime 1.31.1, onnxruntime.quantization (models built with onnx 1.23.2), CPU.
# Guess: of a hundred thousand normal values and one of 100, Entropy keeps some 5 and clips the outlier, as it is there for.
# Seen: it keeps 100, as MinMax does. By default it counts in 128 bins and looks for a threshold that leaves at least as many
# as there are quantised levels, 128 too: all of them is the only one. `num_bins`, an option of `create_calibrator` that
# `quantize_static` does not pass on, makes it a search, whose answer ends where it has some thousand bins to choose from.
# Output:
#     min-max              [-4.46, 100.0]
#     entropy              [-4.46, 100.0]
#     entropy, symmetric   [-4.46, 100.0]
#     entropy, 256 bins    [-4.46, 53.91]
#     entropy, 512 bins    [-4.46, 46.09]
#     entropy, 2048 bins   [-4.46, 8.5]
#     entropy, 8192 bins   [-4.46, 4.98]
#     percentile           [-4.44, 4.44]

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
values = np.random.default_rng(0).standard_normal(100_000, dtype=np.float32)
values[5] = 100.0


class Reader(CalibrationDataReader):
    def __init__(self):
        self.samples = iter([{"x": values}])

    def get_next(self):
        return next(self.samples, None)


def ends(method, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        calibrator = create_calibrator(**files, calibrate_method=method, extra_options=options)
        calibrator.collect_data(Reader())
        low, high = calibrator.compute_data()["x"].range_value
    return [round(end.item(), 2) for end in (low, high)]


print("min-max             ", ends(CalibrationMethod.MinMax))
print("entropy             ", ends(CalibrationMethod.Entropy))
print("entropy, symmetric  ", ends(CalibrationMethod.Entropy, symmetric=True))
for bins in (256, 512, 2048, 8192):
    print(f"entropy, {bins} bins".ljust(20), ends(CalibrationMethod.Entropy, num_bins=bins))
print("percentile          ", ends(CalibrationMethod.Percentile))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
