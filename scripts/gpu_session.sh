#!/usr/bin/env bash
# Ten minutes on a machine with a GPU: installs from WHEELS without a network, runs tests/gpu, then scripts/bench/gpu_bench.py.
#
#   scripts/gpu_session.sh WHEELS [OUT] [SECONDS]
#
# WHEELS   what scripts/gpu_wheels.sh filled, or an empty folder where all is installed. PyTorch with CUDA is the machine's own
# OUT      where rows.jsonl (each row as soon as it is known), gpu.md and log.txt go; runs/gpu-session when left out
# SECONDS  after which it stops with what it has; 600 when left out
#
# Exit code: that of gpu_bench.py: 0 also where a test or a row was skipped with its reason, 1 where a test failed, 4 where an
# answer of ours is not PyTorch's. PYTHON names another python3.
set -euo pipefail
started=$SECONDS
cd "$(dirname "$0")/.."
if [ $# -lt 1 ] || [ $# -gt 3 ]; then sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; fi
wheels=$1 out=${2:-runs/gpu-session} limit=${3:-600} python=${PYTHON:-python3}
[ -d "$wheels" ] || { echo "gpu_session: $wheels is no folder; scripts/gpu_wheels.sh makes one" >&2; exit 2; }
mkdir -p "$out"
site=$(mktemp -d); trap 'rm -rf "$site"' EXIT

while IFS= read -r first; do
  name=$(basename "${first%.00}")
  for piece in $(find "$wheels" -name "$name.[0-9][0-9]" -printf '%f %p\n' | sort | cut -d' ' -f2); do cat "$piece"; done > "$site/$name"
done < <(find "$wheels" -name '*.whl.00')
find "$(realpath "$wheels")" -name "*.whl" -exec ln -s -t "$site" {} +
if compgen -G "$site/*.whl" > /dev/null; then
  # Beside what the machine has, before it on the path: nothing of the machine's is changed.
  "$python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --target "$site/packages" "$site"/*.whl
  export PYTHONPATH="$site/packages${PYTHONPATH:+:$PYTHONPATH}" PATH="$site/packages/bin:$PATH"
  rm -f "$site"/*.whl
fi
left=$((limit - (SECONDS - started) - 15))
[ $left -gt 0 ] || { echo "gpu_session: $limit seconds were over when all was installed" >&2; exit 2; }
set +e
# Should a library not come back, the process is killed, and the rows that are known lie in the file.
timeout -k 10 $((left + 5)) "$python" scripts/bench/gpu_bench.py --tests --seconds $left --rows "$out/rows.jsonl" 2> >(tee "$out/log.txt" >&2)
code=$?
set -e
[ $code = 124 ] || [ $code = 137 ] && echo "gpu_session: ended after $limit seconds; $out/rows.jsonl has what was measured" >&2
[ ! -e docs/measured/gpu.md ] || cp docs/measured/gpu.md "$out/gpu.md"
exit $code
