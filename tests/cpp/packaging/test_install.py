"""The installed library, found by a user's own project: from C and C++, by CMake and pkg-config, out of a folder that was moved.

What is built is what docs/cpp/runtime.md and the head of runtime.h show.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.graphs.make_graphs import brightness_classifier

ROOT = Path(__file__).parents[3]
HEADER = ROOT / "runtime" / "cpp" / "include" / "attn" / "runtime.h"
DOCS = ROOT / "docs" / "cpp" / "runtime.md"
PAGES = (ROOT / "README.md", DOCS, ROOT / "docs" / "cpp" / "generation.md")

pytestmark = pytest.mark.timeout(900)


def run(*command: str | Path, env: dict[str, str] | None = None, status: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == status, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def block(language: str) -> str:
    """The first block of that language in docs/cpp/runtime.md."""
    found = re.search(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def prefix(cpp_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", cpp_build, "--prefix", folder / "first")
    return (folder / "first").rename(folder / "moved")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightness_classifier(tmp_path_factory.mktemp("bundle") / "brightness.attn")


def configured(prefix: Path, project: Path) -> Path:
    run("cmake", "-G", "Ninja", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", project / "build")
    return project / "build"


def test_the_program_of_the_docs(prefix: Path, bundle: Path, cpp_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "classify.cpp").write_text(block("cpp"))
    (tmp_path / "CMakeLists.txt").write_text(block("cmake"))
    program = configured(prefix, tmp_path) / "classify"
    said = run(program, bundle, env=cpp_environment)
    assert [float(line) for line in said.split()] == pytest.approx([-0.5, 0.5])
    assert "error: bundle none.attn" in run(program, tmp_path / "none.attn", env=cpp_environment, status=8)


def test_the_program_of_the_header_in_pure_c(prefix: Path, cpp_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(user LANGUAGES C)\nfind_package(attn_runtime 0.1 REQUIRED)\n"
        "add_executable(user user.c)\ntarget_link_libraries(user PRIVATE attn_runtime::attn_runtime)\n"
        "target_compile_options(user PRIVATE -std=c99 -Wall -Wextra -pedantic -Werror)\n"
    )
    (tmp_path / "user.c").write_text(header_example())
    program = configured(prefix, tmp_path) / "user"
    assert "error: bundle attentionnet.attn" in run(program, env=cpp_environment, status=8)


@pytest.mark.parametrize("standard", ["c++17", pytest.param("c++20", marks=pytest.mark.full)])
def test_every_program_that_is_shown_compiles_without_a_warning(prefix: Path, tmp_path: Path, standard: str) -> None:
    shown = [re.findall(r"^```cpp\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL) for page in PAGES]
    programs = [each for page in shown for each in page] + [header_example(HEADER.with_suffix(".hpp"))]
    assert len(programs) >= len(PAGES) + 1
    for number, program in enumerate(programs):
        (tmp_path / f"{number}.cpp").write_text(program)
    flags = ("-fsyntax-only", "-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{prefix / 'include'}")
    run("g++", f"-std={standard}", *flags, *tmp_path.glob("*.cpp"))


def header_example(header: Path = HEADER) -> str:
    lines = [line[7:] for line in header.read_text().splitlines() if line.startswith(" *     ")]
    code = "\n".join(lines[: lines.index("}") + 1]) + "\n"
    assert code.startswith(f"#include <attn/{header.name}>")
    return code


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="no pkg-config here; apt-get install pkg-config")
@pytest.mark.parametrize("compiler", ["g++", "gcc"])
def test_pkg_config(prefix: Path, bundle: Path, cpp_environment: dict[str, str], tmp_path: Path, compiler: str) -> None:
    folder = next(prefix.rglob("attn_runtime.pc")).parent
    flags = run(
        "pkg-config", "--cflags", "--libs", "attn_runtime", env={**os.environ, "PKG_CONFIG_PATH": str(folder)}
    ).split()
    library = next(prefix.rglob("libattn_runtime.so")).parent
    source, standard = (tmp_path / "a.cpp", "c++17") if compiler == "g++" else (tmp_path / "a.c", "c99")
    source.write_text(block("cpp") if compiler == "g++" else header_example())
    run(compiler, f"-std={standard}", source, *flags, f"-Wl,-rpath,{library}", "-o", tmp_path / "user")
    run(tmp_path / "user", bundle, env=cpp_environment, status=0 if compiler == "g++" else 8)


def static_only(prefix: Path, folder: Path) -> Path:
    """A copy without the shared library, as of a user who wants one file."""
    copied = shutil.copytree(prefix, folder, symlinks=True)
    for shared in copied.rglob("libattn_runtime.so*"):
        shared.unlink()
    return copied


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="no pkg-config here; apt-get install pkg-config")
def test_pkg_config_static_from_c(prefix: Path, cpp_environment: dict[str, str], tmp_path: Path) -> None:
    folder = next(static_only(prefix, tmp_path / "prefix").rglob("attn_runtime.pc")).parent
    environment = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
    flags = run("pkg-config", "--static", "--cflags", "--libs", "attn_runtime", env=environment).split()
    (tmp_path / "a.c").write_text(header_example())
    run("gcc", "-std=c99", tmp_path / "a.c", *flags, "-o", tmp_path / "user")
    assert "libattn" not in run("readelf", "-d", tmp_path / "user")
    run(tmp_path / "user", env=cpp_environment, status=8)


def test_the_static_library_by_cmake(
    prefix: Path, bundle: Path, cpp_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "classify.cpp").write_text(block("cpp"))
    (tmp_path / "CMakeLists.txt").write_text(
        block("cmake").replace("attn_runtime::attn_runtime", "attn_runtime::attn_runtime_static")
    )
    program = configured(prefix, tmp_path) / "classify"
    assert "libattn" not in run("readelf", "-d", program)
    run(program, bundle, env=cpp_environment)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here: this is no Debian")
def test_debian_packages(cpp_build: Path, bundle: Path, cpp_environment: dict[str, str], tmp_path: Path) -> None:
    """What cpack makes, unpacked, is linked and runs."""
    run("cpack", "--config", cpp_build / "CPackConfig.cmake", "-B", tmp_path / "packages")
    found = {path.name.partition("_")[0]: path for path in (tmp_path / "packages").glob("*.deb")}
    assert set(found) == {"libattn-runtime1", "libattn-runtime-dev"}
    for package in found.values():
        run("dpkg-deb", "-x", package, tmp_path / "root")
    assert "libattn-runtime1 (= " in run("dpkg-deb", "-f", found["libattn-runtime-dev"], "Depends")
    assert "libstdc++6" in run("dpkg-deb", "-f", found["libattn-runtime1"], "Depends")
    (tmp_path / "classify.cpp").write_text(block("cpp"))
    (tmp_path / "CMakeLists.txt").write_text(block("cmake"))
    program = configured(tmp_path / "root" / "usr", tmp_path) / "classify"
    run(program, bundle, env=cpp_environment)


def symbols(library: Path, *options: str) -> Sequence[str]:
    return [line.split()[-1] for line in run("nm", "-D", *options, library).splitlines()]


def test_only_the_interface_is_exported(prefix: Path) -> None:
    library = next(prefix.rglob("libattn_runtime.so"))
    declared = re.findall(r"^ATTN_API [^;(]*?(attn_\w+)\(", HEADER.read_text(), re.MULTILINE)
    assert sorted(symbols(library, "--defined-only")) == sorted(declared)


def test_it_loads_beside_any_other_library(prefix: Path) -> None:
    """It needs libstdc++ and libc, and neither ONNX Runtime nor anything that only this machine has."""
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", next(prefix.rglob("libattn_runtime.so"))))
    assert {name.partition(".")[0] for name in needed} <= {
        "libstdc++",
        "libm",
        "libgcc_s",
        "libc",
        "ld-linux-x86-64",
        "ld-linux-aarch64",
    }


def test_another_minor_version_is_refused(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(user LANGUAGES C)\nfind_package(attn_runtime 0.99 REQUIRED)\n"
    )
    command = ["cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={prefix}"]
    assert "version" in run(*command, status=1)
