#!/bin/sh
# ONNX Runtime for the C++ runtime, into build/onnxruntime/{include,lib} (ignored by git), where the machine has none of its own:
# the C headers out of Debian's package libonnxruntime-dev, the library out of the wheel of PyPI. Nothing is installed.
#
#   fetch_onnxruntime.sh                what is missing
#   fetch_onnxruntime.sh --arch aarch64 the library of another architecture, into build/onnxruntime/lib-aarch64
#   fetch_onnxruntime.sh --version V    the library of version V alone, into build/onnxruntime/versions/V: tests/cpp runs on all there
#
# PYTHON (default .venv/bin/python, else python3): whose pip fetches the wheel; an onnxruntime installed there is taken first.
# ORT_VERSION: of the wheel. SUITE: of Debian, trixie (API 21: CPU, CUDA, TensorRT) or sid (newer: plugin providers too).
set -eu
cd "$(dirname "$0")/../../.."
target="$PWD/build/onnxruntime"
suite="${SUITE:-sid}"
arch=$(uname -m)
wanted=
case "${1:-}" in
--arch) arch="$2" ;;
--version) wanted="$2" ;;
esac
python="${PYTHON:-}"
[ -n "$python" ] || { [ -x .venv/bin/python ] && python=.venv/bin/python; } || python=python3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$target"

# A user's own: the places where cmake looks too.
own_headers() {
    for root in "${ONNXRUNTIME_ROOT:-}" /usr /usr/local; do
        for folder in include include/onnxruntime include/onnxruntime/core/session; do
            [ -n "$root" ] && [ -f "$root/$folder/onnxruntime_c_api.h" ] && return 0
        done
    done
    return 1
}

fetch_headers() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
        echo "no apt-get here to fetch the headers with: unpack ONNX Runtime (github.com/microsoft/onnxruntime/releases) and" \
            "set ONNXRUNTIME_ROOT to its folder" >&2
        exit 1
    }
    mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '/^URIs:/ {print $2; exit}')
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} $1 main" >"$work/sources.list"
    # Lists of its own: what the machine's apt knows stays as it is.
    set -- -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$work/lists" \
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root
    (cd "$work" && apt-get "$@" update && apt-get "$@" download libonnxruntime-dev) >"$work/log" 2>&1 || return 1
    dpkg -x "$work"/libonnxruntime-dev_*.deb "$work/deb"
    found=$(find "$work/deb" -name onnxruntime_c_api.h | head -n 1)
    rm -rf "$target/include.new" "$target/include"
    cp -r "$(dirname "$found")" "$target/include.new"
    mv "$target/include.new" "$target/include"
}

fetch_library() { # fetch_library VERSION FOLDER
    "$python" -m pip download -q --no-deps --only-binary=:all: --platform "manylinux_2_28_$arch" --platform "manylinux_2_27_$arch" \
        --python-version 3.11 "onnxruntime==$1" -d "$work/wheel"
    "$python" -m zipfile -e "$work"/wheel/*.whl "$work/wheel"
    there=$(find "$work/wheel" -name 'libonnxruntime.so.*' | head -n 1)
    [ -n "$there" ] || { echo "the wheel of onnxruntime $1 holds no libonnxruntime.so" >&2; exit 1; }
    keep_library "$2"
}

keep_library() {
    mkdir -p "$1"
    cp "$there" "$1/"
    ln -sf "$(basename "$there")" "$1/libonnxruntime.so.1"
    echo "library: $1/$(basename "$there")"
}

if [ -n "$wanted" ]; then
    [ -e "$target/versions/$wanted/libonnxruntime.so.1" ] || fetch_library "$wanted" "$target/versions/$wanted"
    exit 0
fi
if own_headers; then
    echo "headers: of this machine"
elif [ -f "$target/include/onnxruntime_c_api.h" ]; then
    echo "headers: $target/include"
else
    # trixie is stable and always there; its headers lack the plugin providers alone.
    fetch_headers "$suite" || fetch_headers trixie || { cat "$work/log" >&2; exit 1; }
    echo "headers: $target/include, of Debian $suite"
fi

if [ "$arch" = "$(uname -m)" ]; then
    lib="$target/lib"
    there=$("$python" -c 'import glob, importlib.util, os
spec = importlib.util.find_spec("onnxruntime")
found = glob.glob(os.path.join(os.path.dirname(spec.origin), "capi", "libonnxruntime.so*")) if spec else []
print(found[0] if found else "")' 2>/dev/null || true)
else
    lib="$target/lib-$arch"
    there=
fi
if [ -e "$lib/libonnxruntime.so.1" ]; then
    echo "library: $lib"
    exit 0
fi
if [ -n "$there" ]; then
    keep_library "$lib"
else
    fetch_library "${ORT_VERSION:-$(sed -n 's/^onnxruntime==//p' constraints.txt)}" "$lib"
fi
