#!/usr/bin/env bash
# The C++ tests under ASan and UBSan, under TSan (16 threads on one session are among them), and under valgrind, which alone sees what ONNX
# Runtime writes beside our buffers: it is built without sanitizers.
#
#   sanitize.sh [asan] [tsan] [valgrind]      all three where none is named; some minutes
set -euo pipefail
cd "$(dirname "$0")/../../.."
python=${PYTHON:-.venv/bin/python}
bundles=$(mktemp -d)
trap 'rm -rf "$bundles"' EXIT
PYTHONPATH=tests "$python" -m support.graphs.cpp_bundles "$bundles"
export ATTN_TEST_BUNDLES=$bundles ATTN_ONNXRUNTIME=${ATTN_ONNXRUNTIME:-$PWD/build/onnxruntime/lib/libonnxruntime.so.1}

build() { # build PRESET TARGET...
  (cd runtime/cpp && cmake --preset "$1" >/dev/null)
  cmake --build "build/cpp/$1" --parallel 2 --target "${@:2}"
}

asan() {
  build asan attn_test_bundle attn_test_session attn_test_generate attn_test_header attn_test_trt
  for name in bundle session generate header trt; do
    # detect_leaks: what ONNX Runtime keeps until the end of the process is reachable, and no leak.
    ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:check_initialization_order=1 UBSAN_OPTIONS=print_stacktrace=1 \
      "build/cpp/asan/tests/attn_test_$name" --gtest_brief=1
  done
}

tsan() {
  build tsan attn_test_session
  # Nothing is suppressed: told to overlook what ONNX Runtime locks, TSan reports its unlocking.
  TSAN_OPTIONS=halt_on_error=1 build/cpp/tsan/tests/attn_test_session --gtest_brief=1
}

valgrind() {
  build tests attn_test_session
  # A child of a fork leaves on purpose what it must not destroy, which valgrind tells as lost.
  command valgrind --quiet --error-exitcode=1 --suppressions=runtime/cpp/tests/support/valgrind.supp --leak-check=full \
    --errors-for-leak-kinds=definite build/cpp/tests/tests/attn_test_session --gtest_brief=1 \
    --gtest_filter='CSessions.*:Sessions.ABinding*:Sessions.Outputs*:Sessions.Answer*-CSessions.BelongToTheProcessThatOpenedThem'
}

[ $# -gt 0 ] || set -- asan tsan valgrind
for each; do
  echo "== $each"
  "$each"
done
