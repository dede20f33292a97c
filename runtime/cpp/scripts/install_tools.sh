#!/bin/sh
# What the C++ runtime is built and tested with, from Debian or Ubuntu, where that is allowed; otherwise says what to install.
#
#   install_tools.sh            to build and test it
#   install_tools.sh fuzz       what fuzz.sh needs as well
#   install_tools.sh aarch64    what test_aarch64.sh needs as well
#   install_tools.sh browser    alone: what the tests of pages are shown by
set -eu
packages=
need() { # need COMMAND-OR-HEADER PACKAGE...
    case "$1" in
    *.h | *.hpp) [ -f "/usr/include/$1" ] && return ;;
    *) command -v "$1" >/dev/null && return ;;
    esac
    shift
    packages="$packages $*"
}
if [ "${1:-}" != browser ]; then
    need cmake cmake
    need ninja ninja-build
    need g++ g++
    need pkg-config pkg-config
    need nlohmann/json.hpp nlohmann-json3-dev
    need gtest/gtest.h libgtest-dev
    need png.h libpng-dev
fi
case "${1:-}" in
"") ;;
fuzz) ls /usr/bin/clang++* >/dev/null 2>&1 || need clang++ clang libclang-rt-dev ;;
aarch64)
    need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
    need qemu-aarch64-static qemu-user-static
    ;;
browser) command -v google-chrome >/dev/null || need chromium chromium ;;
*)
    echo "unknown tools \"$1\"; available: fuzz, aarch64, browser" >&2
    exit 2
    ;;
esac
[ -z "$packages" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # One at a time: make installs the browser beside the tools.
    exec 9<"$0"
    flock 9
    # shellcheck disable=SC2086  (words on purpose)
    apt-get install -q -y --no-install-recommends $packages >/dev/null 2>&1 || {
        apt-get update -q >/dev/null
        apt-get install -q -y --no-install-recommends $packages >/dev/null
    }
else
    echo "not there: install$packages (apt-get install$packages)" >&2
    exit 1
fi
