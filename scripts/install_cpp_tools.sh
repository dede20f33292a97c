#!/bin/sh
# What the C++ runtime is built and tested with, from Debian or Ubuntu, where that is allowed; otherwise says what to install.
set -eu
packages=
need() { # need COMMAND-OR-HEADER PACKAGE
    case "$1" in
    *.h | *.hpp) [ -f "/usr/include/$1" ] || packages="$packages $2" ;;
    *) command -v "$1" >/dev/null || packages="$packages $2" ;;
    esac
}
need cmake cmake
need ninja ninja-build
need g++ g++
need pkg-config pkg-config
need nlohmann/json.hpp nlohmann-json3-dev
need gtest/gtest.h libgtest-dev
[ -z "$packages" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  (words on purpose)
    apt-get install -q -y --no-install-recommends $packages >/dev/null 2>&1 || {
        apt-get update -q >/dev/null
        apt-get install -q -y --no-install-recommends $packages >/dev/null
    }
else
    echo "the C++ runtime is not built: install$packages (apt-get install$packages)" >&2
    exit 1
fi
