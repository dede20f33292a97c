#!/bin/sh
# The wheels of dist/ where nothing else is: a folder with Debian's Python 3.11, libstdc++, which numpy needs, and what pip fetched for it. x86-64 in a chroot, which
# takes root; 64-bit Arm under qemu. In each a bundle is verified, and `native` must be what runs it.
set -eu
cd "$(dirname "$0")/../.."
here="$PWD/build/bare-root"
python="${PYTHON:-.venv/bin/python}"
mkdir -p "$here"
rm -rf "$here/brightness.attn"
PYTHONPATH=tests "$python" - "$here/brightness.attn" <<'EOF'
import sys
from pathlib import Path
from support.graphs.make_graphs import brightness_classifier
brightness_classifier(Path(sys.argv[1]))
EOF

# try_wheel MACHINE ARCHITECTURE COMMAND...: COMMAND runs a program of the root.
try_wheel() {
    machine="$1" architecture="$2"
    shift 2
    root="$here/$architecture"
    [ -f "$root/usr/bin/python3.11" ] ||
        runtime/cpp/scripts/debian_root.sh "$architecture" "$root" python3.11 libpython3.11-stdlib libstdc++6
    rm -rf "$root/site" "$root/brightness.attn"
    "$python" -m pip install -q --disable-pip-version-check --no-compile --only-binary=:all: --target "$root/site" \
        --platform "manylinux_2_28_$machine" --platform "manylinux_2_27_$machine" --platform "manylinux_2_17_$machine" \
        --platform "manylinux2014_$machine" --python-version 3.11 --implementation cp -c constraints.txt \
        dist/attn_runtime-*-manylinux_2_28_"$machine".whl onnxruntime
    cp -r "$here/brightness.attn" "$root/"
    said=$("$@" -m attn_runtime verify "$bundle")
    echo "$said"
    echo "$said" | grep -q "^native on cpu" || { echo "error: $machine: native did not run it" >&2; exit 1; }
}

bundle=/brightness.attn
try_wheel x86_64 amd64 env PYTHONPATH=/site chroot "$here/amd64" /usr/bin/python3.11
if command -v qemu-aarch64-static >/dev/null; then
    bundle="$here/arm64/brightness.attn"
    try_wheel aarch64 arm64 env PYTHONPATH="$here/arm64/site" qemu-aarch64-static -L "$here/arm64" "$here/arm64/usr/bin/python3.11"
else
    echo "64-bit Arm was not tried: no qemu-aarch64-static; apt-get install qemu-user-static"
fi
