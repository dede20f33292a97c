"""OpenVINO's library from C++: how it is found and chosen, what it does not take, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.errors import BackendError
from attn_runtime.session import open_session
from attn_runtime.session.measured import remember
from onnx import helper
from support.graphs.cpp_bundles import bundle
from support.graphs.make_graphs import floats, save
from support.machines.cpp_session import Opened

SOURCE = Path(__file__).parents[3] / "runtime" / "cpp" / "src"


def refused(path: Path, **given: Any) -> str:
    with pytest.raises(BackendError) as caught:
        Opened(path, **given)
    assert caught.value.exit_code == 10 and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_graph_that_openvino_does_not_take(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def make(file: Path) -> None:
        save(file, [helper.make_node("NoSuchOp", ["x"], ["y"])], [floats("x", 1)], [floats("y", 1)])

    path = tmp_path / "odd.attn"
    bundle(path, make, {"x": np.ones(1, np.float32)}, lambda x: {"y": x}, "", "")
    told = refused(path)
    assert "OpenVINO does not take model.onnx: " in told and "NoSuchOp" in told and "Exception from" not in told
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_not_its_record_s(cpp_bundles: Path) -> None:
    with pytest.raises(Exception, match="its record says") as caught:
        Opened(cpp_bundles / "other_graph.attn")
    assert getattr(caught.value, "exit_code", None) == 8


def test_it_is_taken_when_it_is_named_alone(products: tuple[Path, Any]) -> None:
    path = products[0]
    assert Opened(path).told("choice") == "openvino on cpu, fp32"
    assert "it runs on the CPU alone" in refused(path, device=b"cuda")
    remember(Bundle.open(path), None, "fp32", None, {"openvino": 0.001, "ort": 1.0})
    with open_session(path, "cpu") as session:
        assert session.backend == "openvino", "the measurement counts"
    for device in (b"cpu", b"auto"):
        session = Opened(path, device=device, backend=None)
        assert session.told("backend") == "ort" and "openvino" in session.told("passed_over")


LOOKED_FOR = """
import ctypes, sys
from attn_runtime.errors import AttnError
from attn_runtime.native import capi

options = capi.OpenOptions(device=b"cpu", backend=b"openvino")
options.size = ctypes.sizeof(options)
try:
    capi.open_session(capi.open_bundle(sys.argv[1]), options)
except AttnError as error:
    print(error.exit_code, error)
"""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "libopenvino_c.so: cannot open shared object file"),
        ("/nowhere/libopenvino_c.so", "/nowhere/libopenvino_c.so: cannot open shared object file"),
        ("libc.so.6", "libc.so.6 is not its C library, or an old one: it has no ov_get_openvino_version"),
    ],
)
def test_where_the_library_is_not_found_the_error_says_what_to_name(
    value: str, said: str, products: tuple[Path, Any]
) -> None:
    """In a process of its own: a library that is loaded is found by its name wherever it lies."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_FOR, products[0]], env={**os.environ, "ATTN_OPENVINO": value}, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10 ") and done.stdout.count("\n") == 1
    assert said in done.stdout and "name its C library in ATTN_OPENVINO" in done.stdout


def test_it_is_found_beside_the_runtime(
    cpp_build: Path, openvino_library: Path, products: tuple[Path, Any], tmp_path: Path
) -> None:
    shutil.copy(cpp_build / "libattn_runtime.so", tmp_path)
    (tmp_path / "libopenvino_c.so").symlink_to(openvino_library)
    told = {**os.environ, "ATTN_OPENVINO": "", "ATTN_RUNTIME_LIBRARY": str(tmp_path / "libattn_runtime.so")}
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_FOR, products[0]], env=told, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_library_that_is_too_old(products: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = (SOURCE / "openvino" / "library.h").read_text()
    names = [line.split(",")[1].strip() for line in calls.splitlines() if line.strip().startswith("call(")]
    assert len(names) > 20
    code = "struct version { const char *build, *description; };\n" + "".join(
        f"void ov_{name}(void) {{}}\n" for name in names if name != "get_openvino_version"
    )
    code += 'int ov_get_openvino_version(struct version* v) { v->build = "2025.4.1-1"; return 0; }\n'
    (tmp_path / "old.c").write_text(code)
    old = tmp_path / "libopenvino_c.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", old, tmp_path / "old.c"], check=True, timeout=60)
    monkeypatch.setenv("ATTN_OPENVINO", str(old))
    assert "is of version 2025.4.1-1, expected 2026.4 or newer" in refused(products[0])


DECLARED = """
#include <openvino/c/openvino.h>
#include <type_traits>
#include "openvino/library.h"

// Their types as ours: enumerations as the integers that they are passed as, structs by their layout.
template <typename T> struct Ours { using type = T; };
template <> struct Ours<ov_status_e> { using type = int; };
template <> struct Ours<ov_element_type_e> { using type = std::underlying_type_t<ov_element_type_e>; };
template <> struct Ours<ov_version_t> { using type = attn::OvVersion; };
template <> struct Ours<ov_property_t> { using type = attn::OvProperty; };
template <> struct Ours<ov_shape_t> { using type = attn::OvShape; };
template <> struct Ours<ov_partial_shape_t> { using type = attn::OvPartialShape; };
template <typename T> struct Ours<const T> { using type = const typename Ours<T>::type; };
template <typename T> struct Ours<T*> { using type = typename Ours<T>::type*; };
template <typename R, typename... A> struct Ours<R(A...)> { using type = typename Ours<R>::type(typename Ours<A>::type...); };

#define HELD(result, name, arguments) \\
  static_assert(std::is_same_v<decltype(attn::OvApi::name), Ours<decltype(ov_##name)*>::type>, #name);
ATTN_OV_CALLS(HELD)

#define LAID(ours, ours_member, theirs, theirs_member) \\
  static_assert(sizeof(ours) == sizeof(theirs) && offsetof(ours, ours_member) == offsetof(theirs, theirs_member), #theirs);
LAID(attn::OvVersion, build, ov_version_t, buildNumber)
LAID(attn::OvVersion, description, ov_version_t, description)
LAID(attn::OvProperty, value, ov_property_t, value)
LAID(attn::OvShape, dims, ov_shape_t, dims)
LAID(attn::OvDim, max, ov_dimension_t, max)
LAID(attn::OvPartialShape, dims, ov_partial_shape_t, dims)
static_assert(attn::kOvRefused == INVALID_C_PARAM);
static_assert(F16 == 3 && F32 == 4 && F64 == 5 && I8 == 7 && I16 == 8 && I32 == 9 && I64 == 10);
static_assert(U8 == 16 && U16 == 17 && U32 == 18 && U64 == 19 && BOOLEAN == 1);
"""


def test_what_is_declared_of_it_is_what_its_headers_declare(openvino_folder: Path, tmp_path: Path) -> None:
    include = openvino_folder / "include"
    if not (include / "openvino" / "c").is_dir():
        pytest.skip("this build of openvino comes without its headers")
    (tmp_path / "declared.cpp").write_text(DECLARED)
    folders = [f"-I{folder}" for folder in (include, SOURCE, SOURCE.parent / "include")]
    done = subprocess.run(
        ["g++", "-std=c++17", "-fsyntax-only", "-w", *folders, tmp_path / "declared.cpp"], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]


@pytest.fixture
def apart(cpp_bundles: Path, tmp_path: Path) -> Path:
    """A bundle whose precision ext has its weights beside the graph."""
    return Path(shutil.copytree(cpp_bundles / "gemm.attn", tmp_path / "gemm.attn"))


def answer(session: Opened) -> Any:
    y = np.zeros((2, 10), np.float32)
    session.run({"x": np.ones((2, 16), np.float32)}, {"y": y})
    return y


def weights_apart(file: Path) -> None:
    np.arange(4096, dtype=np.float32).tofile(file.parent / "model.onnx.data")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4096], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="model.onnx.data")
    save(file, [helper.make_node("Add", ["x", "w"], ["y"])], [floats("x", 4096)], [floats("y", 4096)], [tensor])


def test_a_file_that_is_written_over_does_not_change_an_open_session(tmp_path: Path) -> None:
    x, weights, path = np.ones(4096, np.float32), np.arange(4096, dtype=np.float32), tmp_path / "apart.attn"
    bundle(path, weights_apart, {"x": x}, lambda x: {"y": x + weights}, "", "", data=["model.onnx.data"])
    session, y = Opened(path), np.zeros(4096, np.float32)
    with (path / "model.onnx.data").open("r+b") as opened:
        opened.write(bytes(weights.nbytes))
    session.run({"x": x}, {"y": y})
    np.testing.assert_array_equal(y, x + weights)


@pytest.mark.parametrize("folder", ["ü ß".encode(), b"bad\xff\xfe"])
@pytest.mark.parametrize("low_memory", [0, 1])
def test_weights_beside_a_file_in_an_odd_folder(folder: bytes, low_memory: int, apart: Path) -> None:
    expected = answer(Opened(apart, precision=b"fp32"))
    try:
        (place := apart.parent / os.fsdecode(folder)).mkdir()
    except OSError as error:
        pytest.skip(f"no such names on this system: {error}")
    session = Opened(apart.rename(place / apart.name), precision=b"ext", low_memory=low_memory)
    np.testing.assert_array_equal(answer(session), expected)


FORKED = """
import ctypes, os, sys
from attn_runtime.errors import AttnError
from attn_runtime.native import capi

bundle = capi.open_bundle(sys.argv[1])
options = capi.OpenOptions(device=b"cpu", backend=b"openvino")
options.size = ctypes.sizeof(options)
session = capi.open_session(bundle, options)
if os.fork():
    os.wait()
else:
    try:
        capi.open_session(bundle, options)
    except AttnError as error:
        print(error.exit_code, error, flush=True)
    os._exit(0)
"""


def test_a_child_of_a_fork_is_refused_and_does_not_hang_and_nothing_is_written(
    products: tuple[Path, Any], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FORKED, products[0]], env={**os.environ, "HOME": str(home)}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("10 ") and "before this process was forked" in done.stdout
    assert not list(home.iterdir())


COUNTED = """
import ctypes, os, sys
from attn_runtime.native import capi
import numpy as np

options = capi.OpenOptions(device=b"cpu", backend=b"openvino", threads=int(sys.argv[2]))
options.size = ctypes.sizeof(options)
bundle = capi.open_bundle(sys.argv[1])
before = len(os.listdir("/proc/self/task"))
session = capi.open_session(bundle, options)
x, y = np.ones((64, 256), np.float32), np.ones((64, 16), np.float32)
call = capi.bind(session, [capi.Tensor.of("x", x)], [capi.Tensor.of("y", y)])
for _ in range(50):
    capi.library().attn_binding_run(call.value)
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_threads_are_those_of_the_options(products: tuple[Path, Any]) -> None:
    counts = [
        int(subprocess.run([sys.executable, "-c", COUNTED, products[0], str(threads)], capture_output=True, text=True,
                           timeout=120, check=True).stdout)
        for threads in (1, 4)
    ]  # fmt: skip
    assert counts[0] < counts[1]
