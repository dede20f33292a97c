#!/usr/bin/env bash
# Fuzz the C++ readers of manifests, tensor files, ONNX files' references and recordings with libFuzzer, under ASan and UBSan.
#
#   scripts/fuzz_cpp.sh [SECONDS [FOLDER]]     SECONDS in all, 60 by default; the build and the growing corpus go to FOLDER, build/fuzz
#
# Seeds are runtime/cpp/fuzz/corpus/, which holds what a run has found worth keeping, and never grows by itself. Needs clang.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
folder=${2:-build/fuzz}
compiler=$(command -v clang++ || ls /usr/bin/clang++-* 2>/dev/null | sort -V | tail -1 || true)
[ -n "$compiler" ] || { echo "no clang++ here; apt-get install clang libclang-rt-dev" >&2; exit 3; }

cmake -S runtime/cpp/fuzz -B "$folder" -DCMAKE_CXX_COMPILER="$compiler" >/dev/null
cmake --build "$folder" --parallel 2
targets=(manifest safetensors external_data wav)
for target in "${targets[@]}"; do
  mkdir -p "$folder/corpus/$target"
  echo "== $target"
  if ! "$folder/fuzz_$target" -max_total_time=$((seconds / ${#targets[@]})) -max_len=16384 -timeout=5 -rss_limit_mb=1024 \
    -dict=runtime/cpp/fuzz/words.dict -artifact_prefix="$folder/" -print_final_stats=1 \
    "$folder/corpus/$target" "runtime/cpp/fuzz/corpus/$target" >"$folder/$target.log" 2>&1; then
    tail -40 "$folder/$target.log" >&2
    echo "$target: a finding; the input is $folder/crash-*, timeout-* or oom-*" >&2
    exit 1
  fi
  grep -E "INITED|DONE|stat::(number_of_executed_units|peak_rss_mb)" "$folder/$target.log"
done
