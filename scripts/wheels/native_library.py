"""libattn_runtime.so for Linux with an older C library, or on another processor, compiled by Zig on this machine."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Found in a folder of its own: beside /usr/include's other headers, those of this machine's C library would be taken.
_JSON_CONFIG = """
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
set_target_properties(nlohmann_json::nlohmann_json PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_LIST_DIR}/include")
"""
_JSON_VERSION = "set(PACKAGE_VERSION 3.9)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n"


def compiled(machine: str, glibc: str) -> Path:
    """The stripped library for `machine` (x86_64, aarch64) and any C library from version `glibc` on; built anew where a
    source changed. Ends the program where it can't be built."""
    folder = ROOT / "build" / "wheels" / machine
    json = _json_headers(folder)
    programs = _zig(folder, f"{machine}-linux-gnu.{glibc}")
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        # With -Os, tokenizers take 1.2 to 1.3 times as long as with GCC's; with -O2 1.04 to 1.08, in 13 % more bytes.
        "ATTN_OPTIMIZATION": "-O2",
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": machine,
        "CMAKE_C_COMPILER": programs / "cc",
        "CMAKE_CXX_COMPILER": programs / "c++",
        "CMAKE_AR": programs / "ar",
        "CMAKE_RANLIB": programs / "ranlib",
        "CMAKE_SHARED_LINKER_FLAGS": "-s",
        "CMAKE_UNITY_BUILD": "ON",
        "nlohmann_json_DIR": json,
        "ATTN_TRT": "OFF",
        **dict.fromkeys(("ATTN_TESTS", "ATTN_EXAMPLES", "ATTN_BENCH"), "OFF"),
    }
    build = folder / "build"
    given = [f"-D{name}={value}" for name, value in settings.items()]
    _run(["cmake", "-G", "Ninja", "-S", str(ROOT / "runtime" / "cpp"), "-B", str(build), *given])
    _run(["cmake", "--build", str(build), "--target", "attn_runtime"])
    return (build / "libattn_runtime.so").resolve()


def _json_headers(folder: Path) -> Path:
    made = folder / "nlohmann_json"
    (made / "include").mkdir(parents=True, exist_ok=True)
    headers = next(
        (p / "nlohmann" for p in map(Path, ("/usr/include", "/usr/local/include")) if (p / "nlohmann").is_dir()), None
    )
    if headers is None:
        sys.exit("error: nlohmann/json is missing; runtime/cpp/scripts/install_tools.sh installs it")
    link = made / "include" / "nlohmann"
    if not link.is_symlink():
        link.symlink_to(headers)
    (made / "nlohmann_jsonConfig.cmake").write_text(_JSON_CONFIG)
    (made / "nlohmann_jsonConfigVersion.cmake").write_text(_JSON_VERSION)
    return made


def _zig(folder: Path, target: str) -> Path:
    """A folder of programs that CMake takes for a compiler's."""
    programs = folder / "zig"
    programs.mkdir(parents=True, exist_ok=True)
    zig = shlex.join([sys.executable, "-m", "ziglang"])
    for name in ("cc", "c++", "ar", "ranlib"):
        aimed = f" -target {target}" if name in ("cc", "c++") else ""
        (programs / name).write_text(f'#!/bin/sh\nexec {zig} {name}{aimed} "$@"\n')
        (programs / name).chmod(0o755)
    return programs


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {shlex.join(command)[:200]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
