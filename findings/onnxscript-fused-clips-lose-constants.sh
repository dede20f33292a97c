#!/usr/bin/env bash
# Two chains of Min and Max on one tensor are fused into a graph that lacks the constants of the first.
#
# Library: onnxscript 0.7.2 with onnx-ir 1.1.0 (read by onnx 1.23.2 and onnxruntime 1.31.1).
# Guess: the optimizer gives a graph that still loads and answers the same; new constants get names of their own.
# Seen: the constants of a fused pair are named after its input, x_min and x_max. A second pair on the same x takes over
# the names, and the first Clip reads x_min_1 and x_max_1, which are nowhere in the graph: the checker and ONNX Runtime
# refuse it. optimize() itself reports nothing. One pair alone on x is fine.
# Output:
#     before               Min(x, six) Max(a, one) Min(x, four) Max(b, two)
#     after                Clip(x, x_min_1, x_max_1) Clip(x, x_min, x_max)
#     constants after      x_max=4.0 x_min=2.0
#     onnx.checker         ValidationError
#     ONNX Runtime         InvalidArgument
#     the first pair alone Clip(x, x_min, x_max), loads, answers equal

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnx-ir==1.1.0 onnxscript==0.7.2 onnxruntime==1.31.1

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import numpy as np
import onnx
import onnxruntime
import onnxscript.optimizer

onnxruntime.set_default_logger_severity(4)
CONSTANTS = "float one = {1}, float two = {2}, float four = {4}, float six = {6}"


def model(outputs, body):
    text = '<ir_version: 10, opset_import: ["" : 18]> g (float[n] x) => (%s) <%s> { %s }'
    made = onnx.parser.parse_model(text % (outputs, CONSTANTS, body))
    onnx.checker.check_model(made)
    answers(made)
    return made


def answers(made):
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.arange(-2, 9, dtype=np.float32)})


def nodes(made):
    return [f"{node.op_type}({', '.join(node.input)})" for node in made.graph.node]


def verdict(call, made):
    try:
        call(made)
    except Exception as error:
        return type(error).__name__
    return "accepts it"


before = model("float[n] low, float[n] high", "a = Min(x, six) low = Max(a, one) b = Min(x, four) high = Max(b, two)")
after = onnxscript.optimizer.optimize(before)
constants = sorted(f"{one.name}={onnx.numpy_helper.to_array(one).item()}" for one in after.graph.initializer)
print("before              ", *nodes(before))
print("after               ", *nodes(after))
print("constants after     ", *constants)
print("onnx.checker        ", verdict(onnx.checker.check_model, after))
print("ONNX Runtime        ", verdict(answers, after))
single = model("float[n] low", "a = Min(x, six) low = Max(a, one)")
fused = onnxscript.optimizer.optimize(single)
equal = "equal" if np.array_equal(answers(single)[0], answers(fused)[0]) else "otherwise"
print(f"the first pair alone {' '.join(nodes(fused))}, loads, answers {equal}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
