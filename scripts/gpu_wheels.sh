#!/usr/bin/env bash
# Fills FOLDER with the wheels that scripts/gpu_session.sh installs on a machine with a GPU and no network.
#
#   make install; scripts/gpu_wheels.sh FOLDER [PYTHON_VERSION]     that machine's, as in 3.12; this machine's when left out
#
# They are the versions that are installed here, with ONNX Runtime in its build for GPUs. PyTorch is not among them, nor what it
# brings: such a machine has it, built for its CUDA. Wheels lie in FOLDER/1, FOLDER/2 and so on, each of at most 64 MiB, since ways
# onto such a machine often take no more at a time; one that is larger lies in pieces, NAME.whl.00, NAME.whl.01 and so on, which
# gpu_session.sh puts together.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 1 ] || [ $# -gt 2 ]; then sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; fi
folder=$1 here=.venv/bin/python limit=$((64 << 20))
[ ! -e "$folder" ] || { echo "gpu_wheels: $folder is there already; name a new folder" >&2; exit 2; }
[ -x $here ] || here=python3
version=${2:-$($here -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
all=$(mktemp -d); trap 'rm -rf "$all"' EXIT

# What attn-export needs, and what needs that, by what is installed.
mapfile -t wanted < <($here - <<'PYTHON'
from importlib.metadata import distribution, version
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

todo = ["attn-export[half,huggingface,train]", "attn-runtime[image,text,rtx,ort-rtx]", "pytest", "pytest-timeout", "hypothesis"]
seen, found = set(), {}
while todo:
    wish = Requirement(todo.pop())
    name = canonicalize_name(wish.name)
    for extra in ["", *wish.extras]:
        if (name, extra) in seen or name in ("torch", "triton") or name.startswith(("nvidia-cu", "nvidia-nccl", "nvidia-nv")):
            continue
        seen.add((name, extra))
        found[name] = version(name)
        for text in distribution(name).requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                todo.append(str(need).partition(";")[0])
found["onnxruntime-gpu"] = found.pop("onnxruntime")
print(*(f"{n}=={v}" for n, v in found.items() if not n.startswith("attn-")), sep="\n")
PYTHON
)
pip=("$here" -m pip --disable-pip-version-check -q)
# TensorRT-RTX's own package holds nothing but what it needs, and is no wheel on the index.
mapfile -t built < <(printf '%s\n' "${wanted[@]}" | grep -E '^tensorrt-rtx-cu13==')
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | grep -vE '^tensorrt-rtx-cu13==')
"${pip[@]}" wheel --no-deps -w "$all" ./runtime . "${built[@]}"
platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
for glibc in 5 12 17 24 26 27 28 31 34 35 39; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
"${pip[@]}" download --no-deps -d "$all" --only-binary=:all: --python-version "$version" --implementation cp \
  "${platforms[@]}" "${wanted[@]}"

number=1 held=0
mkdir -p "$folder/1"
while IFS= read -r wheel; do
  pieces=("$wheel")
  if [ "$(stat -c %s "$wheel")" -gt $limit ]; then
    split -b $limit -d "$wheel" "$wheel."
    pieces=("$wheel".[0-9][0-9])
  fi
  for piece in "${pieces[@]}"; do
    size=$(stat -c %s "$piece")
    if [ $((held + size)) -gt $limit ] && [ $held -gt 0 ]; then
      number=$((number + 1)) held=0
      mkdir "$folder/$number"
    fi
    mv "$piece" "$folder/$number/"
    held=$((held + size))
  done
done < <(ls -S "$all"/*.whl)
echo "$folder: $(find "$folder" -type f | wc -l) files in $number folders of at most 64 MiB, $(du -sm "$folder" | cut -f1) MiB"
