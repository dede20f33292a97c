#!/usr/bin/env bash
# session.x64quantprecision of ONNX Runtime: a model whose int8 weight two DequantizeLinear read does not load with it.
#
# Library: onnxruntime 1.31.1 (model built with onnx 1.23.2), on an x86 processor without VNNI.
# Guess: the option, which makes products of uint8 and int8 exact on such processors by making weights unsigned, changes
#        answers alone: a weight that is read twice is made unsigned once, or twice.
# Seen: the second of the two readers ends the session's creation: the unsigned weight is already there. One reader is fine,
#       and so are two without the option, but for sums of two products that 16 bits do not hold. Where the processor has
#       VNNI, the option does nothing, and all load.
# Output, without VNNI:
#     one reader,  option off: loads, off by 62.4 % of the largest
#     one reader,  option on:  loads, off by 0.0 % of the largest
#     two readers, option off: loads, off by 31.2 % of the largest
#     two readers, option on:  does not load: AddInitializerWithOrtValue

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1

cat > "$folder/run.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import numpy_helper, parser

HEAD = '<ir_version: 10, opset_import: ["" : 21]> g (float[4, 64] x) => (float[4, 32] y) {'
ONE = """q = QuantizeLinear (x, xs, xz)
    d = DequantizeLinear (q, xs, xz)
    first = DequantizeLinear <axis = 1> (w, ws, wz)
    a = MatMul (d, first)"""
TWO = """second = DequantizeLinear <axis = 1> (w, ws, wz)
    b = MatMul (d, second)
    y = Add (a, b)"""

draw = np.random.default_rng(0)
weight, x = draw.integers(64, 128, (64, 32)).astype(np.int8), draw.uniform(3, 6, (4, 64)).astype(np.float32)
values = {"w": weight, "ws": np.full(32, 0.01, np.float32), "wz": np.zeros(32, np.int8), "xs": np.float32(0.05), "xz": np.uint8(128)}
whole = np.clip(np.rint(x / np.float32(0.05)) + 128, 0, 255) - 128
exact = whole * 0.05 @ (weight * 0.01)
vnni = "vnni" in Path("/proc/cpuinfo").read_text()
seen = {}
for readers, body, times in (("one reader, ", f"{ONE}\n y = Identity (a)", 1), ("two readers,", f"{ONE}\n{TWO}", 2)):
    model = parser.parse_model(f"{HEAD}\n{body} }}")
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in values.items())
    for told, value in (("off", "0"), ("on", "1")):
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.x64quantprecision", value)
        try:
            (y,) = ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
            off = float(np.abs(y - times * exact).max() / np.abs(times * exact).max())
            seen[times, told] = "exact" if off < 1e-5 else "off"
            said = f"loads, off by {off:.1%} of the largest".replace("%", " %")
        except Exception as error:
            seen[times, told] = "refused" if "AddInitializerWithOrtValue" in str(error) else "another error"
            said = f"does not load: {'AddInitializerWithOrtValue' if seen[times, told] == 'refused' else error}"
        print(f"{readers} option {told}:{' ' * (told == 'on')} {said}")
expected = {(1, "off"): "off", (1, "on"): "exact", (2, "off"): "off", (2, "on"): "refused"}
if vnni:
    expected = dict.fromkeys(expected, "exact")
sys.exit(f"that has changed: {seen}" if seen != expected else 0)
PYTHON
"$folder/venv/bin/python" "$folder/run.py"
