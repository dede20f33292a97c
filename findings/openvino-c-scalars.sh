#!/usr/bin/env bash
# OpenVINO's C interface has no tensors without axes: it refuses to tell their shape, and a reshape to one gives it an axis.
#
# Libraries: openvino 2026.4.1 (model built with onnx 1.23.2), on x86-64 Linux.
# Guess: a shape is a rank and that many sizes, so rank 0 is a scalar, as it is in Python; at worst a call refuses it.
# Seen: ov_tensor_get_shape answers -14 (INVALID_C_PARAM) for the answer of a scalar, and ov_get_last_err_msg keeps what an earlier call
# said. ov_model_reshape to rank 0, which the input has, returns 0, and the input has one axis of any size then.
# Output:
#     shape of a scalar answer: -14, message: not found
#     the input as read: ? of rank 0; reshape to rank 0: 0; now {?} of rank 1

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps openvino==2026.4.1
openvino=$(echo "$folder"/venv/lib/python3*/site-packages/openvino)

"$folder/venv/bin/python" - "$folder/scalar.onnx" <<'PYTHON'
import sys

from onnx import parser, save

save(parser.parse_model('<ir_version: 10, opset_import: ["" : 20]> g (float s) => (float y) { y = Abs(s) }'), sys.argv[1])
PYTHON

cat > "$folder/scalars.c" <<'C'
#include <openvino/c/openvino.h>
#include <stdio.h>
#include <string.h>

static void tell(const ov_model_t* model) {
  ov_output_const_port_t* port;
  ov_partial_shape_t shape;
  ov_model_const_input_by_name(model, "s", &port);
  ov_port_get_partial_shape(port, &shape);
  printf("%s of rank %d", ov_partial_shape_to_string(shape), (int)shape.rank.max);
}

int main(int count, char** arguments) {
  ov_core_t* core;
  ov_model_t* model;
  ov_compiled_model_t* compiled;
  ov_infer_request_t* request;
  ov_output_const_port_t* port;
  ov_tensor_t* tensor;
  ov_shape_t shape;
  ov_dimension_t nothing;
  ov_partial_shape_t scalar = {{0, 0}, &nothing};
  const char* name = "s";
  if (count < 2 || ov_core_create(&core) || ov_core_read_model(core, arguments[1], NULL, &model)) return 1;
  if (ov_core_compile_model_props(core, model, "CPU", 0, NULL, &compiled)) return 1;
  if (ov_compiled_model_create_infer_request(compiled, &request) || ov_infer_request_infer(request)) return 1;
  ov_compiled_model_input_by_name(compiled, "another", &port);  /* an error of before */
  ov_infer_request_get_output_tensor_by_index(request, 0, &tensor);
  printf("shape of a scalar answer: %d, ", ov_tensor_get_shape(tensor, &shape));
  printf("message: %s\n", strstr(ov_get_last_err_msg(), "'another' is not found") ? "not found" : "of its own");
  printf("the input as read: ");
  tell(model);
  printf("; reshape to rank 0: %d; now ", ov_model_reshape(model, &name, &scalar, 1));
  tell(model);
  printf("\n");
  return 0;
}
C
gcc -w -I"$openvino/include" -o "$folder/scalars" "$folder/scalars.c" "$openvino"/libs/libopenvino_c.so.* -Wl,-rpath,"$openvino/libs"
"$folder/scalars" "$folder/scalar.onnx" | tee "$folder/seen"
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
