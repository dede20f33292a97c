#!/usr/bin/env bash
# Fuzz the C++ readers of manifests, tensor files, ONNX files' references, recordings, patterns and tokenizers with libFuzzer, under ASan and UBSan.
#
#   fuzz.sh [SECONDS [FOLDER]]     SECONDS in all, 60 by default; the build and the growing corpus go to FOLDER, build/fuzz
#
# Seeds are runtime/cpp/fuzz/corpus/, which holds what a run has found worth keeping, and never grows by itself. Needs clang.
set -euo pipefail
cd "$(dirname "$0")/../../.."
seconds=${1:-60}
folder=${2:-build/fuzz}
compiler=$(command -v clang++ || ls /usr/bin/clang++-* 2>/dev/null | sort -V | tail -1 || true)
[ -n "$compiler" ] || { echo "no clang++ here; apt-get install clang libclang-rt-dev" >&2; exit 3; }

cmake -S runtime/cpp/fuzz -B "$folder" -DCMAKE_CXX_COMPILER="$compiler" >/dev/null
cmake --build "$folder" --parallel 2
mapfile -t targets < <(ls runtime/cpp/fuzz/corpus)

fuzz() { # fuzz TARGET
  mkdir -p "$folder/corpus/$1"
  if ! "$folder/fuzz_$1" -max_total_time=$((seconds / ${#targets[@]})) -max_len=16384 -timeout=5 -rss_limit_mb=1024 \
    -dict=runtime/cpp/fuzz/words.dict -artifact_prefix="$folder/" -print_final_stats=1 \
    "$folder/corpus/$1" "runtime/cpp/fuzz/corpus/$1" >"$folder/$1.log" 2>&1; then
    tail -40 "$folder/$1.log" >&2
    echo "$1: a finding; the input is $folder/crash-*, timeout-* or oom-*" >&2
    return 1
  fi
  echo "== $1"$'\n'"$(grep -E "INITED|DONE|stat::(number_of_executed_units|peak_rss_mb)" "$folder/$1.log")"
}

# Two at a time: each has one thread.
status=0
for ((n = 0; n < ${#targets[@]}; n += 2)); do
  running=()
  for target in "${targets[@]:n:2}"; do
    fuzz "$target" &
    running+=($!)
  done
  for each in "${running[@]}"; do wait "$each" || status=1; done
done
exit $status
