#!/bin/sh
# The C++ library, its tests and examples, and the Python runtime's tests on 64-bit Arm: cross-built here, run under qemu.
#
#   test_aarch64.sh          all of it
#   test_aarch64.sh cpp      the C++ side
#   test_aarch64.sh python   the Python side
#   test_aarch64.sh deploy   a folder for a board, with the C++ library in it, and a program out of that folder
#
# What it needs comes from Debian and PyPI, once, into build/aarch64 (ignored by git): no root folder or foreign architecture of
# this machine's dpkg is touched. Compiler and qemu are installed where that is allowed, else what to install is said.
#   root/    Debian's arm64 libc, libstdc++, Python 3.11 and GoogleTest, and a made-up /proc/cpuinfo: ONNX Runtime reads that at
#            its start, and crashes on the host's
#   site/    aarch64 wheels for that Python
# qemu can start no further program from inside, so tests that start processes are left out.
set -eu
cd "$(dirname "$0")/../../.."
here="$PWD/build/aarch64"
root="$here/root"
site="$here/site"
what="${1:-all}"
python="${PYTHON:-.venv/bin/python}"
export OMP_NUM_THREADS=1

# Debian's arm64 packages, unpacked.
make_root() {
    [ -f "$root/.done" ] && return
    runtime/cpp/scripts/debian_root.sh arm64 "$root" python3.11 libpython3.11-stdlib libstdc++6 libgtest-dev
    touch "$root/.done"
}

# Wheels for that Python.
make_site() {
    wanted=$(grep -E '^(onnxruntime|numpy|onnx|safetensors|click|hypothesis|pytest|pillow)==' constraints.txt | tr '\n' ' ')
    if [ "$(cat "$site/.done" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$site"
        echo "fetching aarch64 wheels"
        "$python" -m pip install -q --disable-pip-version-check --no-compile --target "$site" --only-binary=:all: \
            --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
            --platform manylinux2014_aarch64 --python-version 3.11 --implementation cp -c constraints.txt \
            onnxruntime numpy onnx safetensors click pytest pytest-timeout hypothesis jsonschema pillow tokenizers
        echo "$wanted" >"$site/.done"
    fi
}

arm_python() {
    PYTHONPATH="$site:$PWD/runtime:$PWD/tests" PYTHONDONTWRITEBYTECODE=1 \
        qemu-aarch64-static -L "$root" "$root/usr/bin/python3.11" "$@"
}

run_cpp() {
    PYTHON="$python" runtime/cpp/scripts/fetch_onnxruntime.sh --arch aarch64
    bundles="$here/bundles"
    rm -rf "$bundles"
    # By the Python over there: on one kind of processor both languages answer the same to the last bit, on two they don't.
    arm_python -m support.graphs.cpp_bundles "$bundles"
    export ATTN_AARCH64_ROOT="$root" ATTN_TEST_BUNDLES="$bundles"
    export ATTN_ONNXRUNTIME="$PWD/build/onnxruntime/lib-aarch64/libonnxruntime.so.1"
    (
        cd runtime/cpp
        cmake --preset aarch64 -DGTest_DIR="$root/usr/lib/aarch64-linux-gnu/cmake/GTest" >"$here/configure.log" || {
            cat "$here/configure.log" >&2
            exit 1
        }
        cmake --build --preset aarch64 -j 2
        ctest --preset aarch64
    )
    # What this machine's Python answers, within 1e-5.
    rm -rf "$here/bundles-across"
    PYTHONPATH=tests "$python" -m support.graphs.cpp_bundles "$here/bundles-across"
    ATTN_TEST_BUNDLES="$here/bundles-across" ATTN_TEST_ACROSS=1 qemu-aarch64-static -L "$root" \
        build/cpp/aarch64/tests/attn_test_session --gtest_brief=1 --gtest_filter='*AnswerExactlyWhatPythonAnswers:*Verif*'
    library=$(find build/cpp/aarch64 -name 'libattn_runtime.so.*.*' | head -n 1)
    echo "C++ passed; $(basename "$library") needs $(aarch64-linux-gnu-objdump -T "$library" | grep -o 'GLIBC_[0-9.]*' | sort -V | tail -n 1)," \
        "$(aarch64-linux-gnu-objdump -T "$library" | grep -o 'GLIBCXX_[0-9.]*' | sort -V | tail -n 1)"
}

run_python() {
    # Bundles, sessions, parity, generation, images, sound, engines' keys and profiles, boards; without tests that start
    # a process or draw with matplotlib.
    tests=
    for name in test_spec test_compare test_random_inputs bundle/test_manifest bundle/test_hostile backends/test_ort \
        backends/test_replay tasks/test_verification tasks/test_benchmark tasks/test_classification preprocess/test_image \
        preprocess/test_audio onnx_file/test_graph generate/test_beam generate/graphs/test_kv_cache generate/test_greedy \
        generate/test_options generate/test_sampling generate/test_text_generation generate/test_verify \
        generate/test_hostile_generators device/test_jetpack doctor/test_install_hints ort/test_session_options \
        trt/test_precision_audit trt/builder/test_fp32_guard trt/test_engine_key trt/test_profiles \
        trt/run/test_profile_choice trt/builder/test_progress; do
        tests="$tests tests/runtime/$name.py"
    done
    # shellcheck disable=SC2086  (words on purpose)
    arm_python -m pytest -q --tb=short -c /dev/null --rootdir . --confcutdir tests/runtime \
        --import-mode=importlib -p no:cacheprovider -o markers="full: resembles another" -m "not full" --timeout 600 \
        -k "not exhaust_memory and not one_core and not freed and not plot and not program_itself and not transpose_before" $tests
}

run_deploy() {
    [ -e "$here/bundles/complete" ] || arm_python -m support.graphs.cpp_bundles "$here/bundles"
    PYTHON="$python" runtime/cpp/scripts/fetch_onnxruntime.sh --arch aarch64
    folder="$here/deployed"
    "$python" -m attn_export.cli.app deploy jetson "$here/bundles/speaker.attn" --board orin-nx --cpp yes -o "$folder"
    if grep -rl "$PWD" "$folder/cpp" "$folder/wheels"; then
        echo "a path of this machine is in the files above" >&2
        exit 1
    fi
    said=$(ATTN_ONNXRUNTIME="$PWD/build/onnxruntime/lib-aarch64/libonnxruntime.so.1" \
        qemu-aarch64-static -L "$root" "$folder/cpp/bin/translate" "$folder/speaker.attn" "The cat sat on a mat")
    echo "translate, out of the deployed folder: $said"
    [ "$said" = "ran a. the a on cat" ]
}

runtime/cpp/scripts/install_tools.sh aarch64
mkdir -p "$here"
make_root
make_site
case "$what" in
cpp) run_cpp ;;
python) run_python ;;
deploy) run_deploy ;;
all)
    run_cpp
    run_deploy
    run_python
    ;;
*)
    echo "unknown part \"$what\"; available: cpp, python, deploy" >&2
    exit 2
    ;;
esac
