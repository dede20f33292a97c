"""The C++ runtime through ctypes: what is its own. That its answers are PyTorch's, tests/contract holds every backend to."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.backends import native
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.errors import BackendError, BundleError, InputError, UsageError
from attn_runtime.native import capi
from attn_runtime.session import Session, open_session
from attn_runtime.tasks.verification import verify
from onnx import TensorProto, helper
from support.graphs import make_graphs
from support.graphs.make_hostile_bundles import dim, valid_manifest

needs_library = pytest.mark.skipif(native.why_unavailable() is not None, reason=str(native.why_unavailable()))


@pytest.fixture
def session(valid_bundle: Path) -> Session:
    return open_session(valid_bundle, "cpu", "native", threads=1)


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 16), np.float32)


def test_a_library_that_is_not_there_is_told_and_ort_is_taken(
    valid_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(capi.VARIABLE, "/nowhere/libattn_runtime.so")
    with pytest.raises(
        BackendError, match="is not in this attn-runtime; .*make cpp builds it, ATTN_RUNTIME_LIBRARY names one"
    ):
        open_session(valid_bundle, "cpu", "native")
    assert open_session(valid_bundle, "cpu").backend == "ort"


def test_a_file_that_is_no_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libattn_runtime.so").write_bytes(b"\x7fELF")
    monkeypatch.setenv(capi.VARIABLE, str(tmp_path / "libattn_runtime.so"))
    assert "does not load" in str(native.why_unavailable())


@needs_library
def test_a_library_cut_short_is_told(valid_bundle: Path, tmp_path: Path) -> None:
    """In a process of its own: the loader dies of such a file."""
    cut = tmp_path / "libattn_runtime.so"
    cut.write_bytes(capi.path().read_bytes()[:300_000])
    code = "from attn_runtime.backends import native; print(native.why_unavailable())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, capi.VARIABLE: str(cut)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "does not load (it ends after 300000 bytes, expected" in done.stdout, done


@needs_library
def test_it_is_taken_first_on_the_cpu_and_answers_as_ort_does(valid_bundle: Path, session: Session) -> None:
    assert open_session(valid_bundle, "cpu").backend == "native"
    plain = open_session(valid_bundle, "cpu", "ort", threads=1)
    for count in (1, 4, 3, 1, 1, 4):
        x = rows(count, count)
        np.testing.assert_array_equal(session.run({"x": x})["y"], plain.run({"x": x})["y"])
    wide = rows(4)[::2]  # strided: rows 0 and 2
    np.testing.assert_array_equal(session.run({"x": wide})["y"], plain.run({"x": wide})["y"])
    bound = session.bind({"batch": 2})
    bound.inputs["x"][...] = wide
    np.testing.assert_array_equal(bound()["y"], plain.run({"x": wide})["y"])


@needs_library
def test_data_that_is_not_aligned_is_copied(valid_bundle: Path, session: Session) -> None:
    """As numpy.frombuffer gives it, of a file with a header of odd length."""
    x = np.ndarray((3, 16), np.float32, bytearray(3 * 16 * 4 + 1), offset=1)
    x[...] = rows(3)
    assert not x.flags.aligned
    wanted = open_session(valid_bundle, "cpu", "ort", threads=1).run({"x": x})["y"]
    for _ in range(2):  # the caller's arrays, then kept buffers
        np.testing.assert_array_equal(session.run({"x": x})["y"], wanted)


@needs_library
def test_answers_are_the_callers_own(session: Session) -> None:
    first = session.run({"x": rows(2, 1)})["y"]
    kept = first.copy()
    for seed in range(2, 6):
        session.run({"x": rows(2, seed)})
    np.testing.assert_array_equal(first, kept)


@needs_library
def test_arrays_too_large_to_copy_are_run_where_they_lie(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = session.run({"x": rows(3)})["y"]
    monkeypatch.setattr(native, "_MOST_BYTES", 0)
    other = open_session(session._bundle, "cpu", "native", threads=1)  # type: ignore[arg-type]
    for _ in range(3):
        np.testing.assert_array_equal(other.run({"x": rows(3)})["y"], wanted)
    assert not other._engine._idle  # type: ignore[union-attr]


@needs_library
def test_sixteen_threads_on_one_session(session: Session) -> None:
    inputs = {number: rows(1 + number % 4, number) for number in range(16)}
    wanted = {number: session.run({"x": x})["y"] for number, x in inputs.items()}
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            if not np.array_equal(session.run({"x": inputs[number]})["y"], wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_library
def test_a_bound_call_outlives_nothing_but_its_session_object(valid_bundle: Path) -> None:
    bound = open_session(valid_bundle, "cpu", "native").bind({"batch": 1})
    gc.collect()
    bound.inputs["x"][...] = 1
    assert np.isfinite(bound()["y"]).all()


@needs_library
def test_errors_are_those_of_every_backend(valid_bundle: Path, session: Session) -> None:
    with pytest.raises(InputError, match=r'input "x": got float32 \[5, 16\]; dim batch allows 1\.\.4'):
        session.run({"x": rows(5)})
    graph = valid_bundle / "model.onnx"
    with pytest.raises(BackendError, match="opens bundles alone"):
        open_session(graph, "cpu", "native")
    with pytest.raises(BackendError, match="on the CPU alone"):
        open_session(valid_bundle, "cuda", "native")
    session.close()
    with pytest.raises(UsageError, match="is closed"):
        session.run({"x": rows(1)})


@needs_library
def test_the_cpp_reader_refuses_for_itself(valid_bundle: Path) -> None:
    opened = Bundle.open(valid_bundle)
    golden = valid_bundle / "golden/min.inputs.safetensors"  # which Python does not look at for a session
    golden.write_bytes(golden.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="sha256 of golden/min.inputs.safetensors"):
        open_session(opened, "cpu", "native")


ROWS = 1 << 21  # of four float32 numbers: 32 MiB, next to which nothing else that is read counts


@pytest.fixture(scope="module")
def three_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three graphs, each e[batch, 4] = table[x[batch]], over one file of weights."""
    path = tmp_path_factory.mktemp("three") / "three.attn"
    table = np.arange(4 * ROWS, dtype=np.float32).reshape(ROWS, 4)
    stored = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=table.shape)
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="weights.data")
    manifest = valid_manifest()
    one = manifest["graphs"].pop("model")
    manifest["assets"] = {}
    sides = {"inputs": [("x", "int64", [])], "outputs": [("e", "float32", [dim(None, 4, 4, 4)])]}
    for side, tensors in sides.items():
        one[side] = [
            {"name": name, "dtype": dtype, "dims": [dim("batch", 1, 2, 4), *more]} for name, dtype, more in tensors
        ]
    with BundleWriter(path) as writer:
        writer.path("weights.data").write_bytes(table.tobytes())
        for name in ("encoder", "first", "step"):
            gather = helper.make_node("Gather", ["table", "x"], ["e"])
            make_graphs.save(
                writer.path(f"{name}.onnx"), [gather], [make_graphs.integers("x", "batch")],
                [make_graphs.floats("e", "batch", 4)], [stored],
            )  # fmt: skip
            files = {side: f"golden/{name}.{side}.safetensors" for side in ("inputs", "outputs")}
            x = np.array([1, ROWS - 1])
            writer.add_tensors(files["inputs"], {"x": x})
            writer.add_tensors(files["outputs"], {"e": table[x]})
            precision = {"file": f"{name}.onnx", "data": ["weights.data"], "tolerance": {"atol": 0, "rtol": 1e-6}}
            golden = {**one["golden"][1], "case": "opt", **files}
            manifest["graphs"][name] = {**one, "precisions": {"fp32": precision}, "golden": [golden]}
        writer.commit(manifest)
    return path


def bytes_read() -> int:
    """By this process so far, through read(2); not what is mapped."""
    text = Path("/proc/self/io").read_text()
    return int(text.partition("rchar: ")[2].split()[0])


@needs_library
@pytest.mark.skipif(not os.access("/proc/self/io", os.R_OK), reason="needs /proc")
def test_a_bundle_of_three_graphs_is_read_once_by_each_reader(three_graphs: Path) -> None:
    """Python hashes the weights, and the library does, once for all sessions of one `Bundle`; ONNX Runtime maps them."""
    open_session(three_graphs, "cpu", "native", graph="step").run({"x": np.array([3])})  # what is loaded once
    before = bytes_read()
    report = verify(three_graphs, "native", "cpu")
    times = (bytes_read() - before) / (three_graphs / "weights.data").stat().st_size
    assert report.passed and len(report.cases) == 3 and 1.9 < times < 2.2, times


@needs_library
def test_a_bundle_is_opened_once_by_many_threads_and_given_back_with_it(
    valid_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[capi.Handle]] = []

    def slowly(folder: Path, paranoid: bool) -> capi.Handle:
        time.sleep(0.1)
        handle = open_bundle(folder, paranoid)
        opened.append(weakref.ref(handle))
        return handle

    open_bundle = capi.open_bundle
    monkeypatch.setattr(capi, "open_bundle", slowly)
    bundle = Bundle.open(valid_bundle)
    with ThreadPoolExecutor(8) as pool:
        sessions = [f.result() for f in [pool.submit(open_session, bundle, "cpu", "native") for _ in range(8)]]
    assert len(opened) == 1
    open_session(valid_bundle, "cpu", "native")  # opened again, and so read again
    assert len(opened) == 2
    bundle = None  # type: ignore[assignment]
    answers = [session.run({"x": rows(1)})["y"] for session in sessions]
    np.testing.assert_array_equal(*answers[:2])
    sessions.clear()
    gc.collect()
    assert [handle() for handle in opened] == [None, None]


@needs_library
def test_what_could_not_be_opened_is_tried_again(valid_bundle: Path) -> None:
    bundle = Bundle.open(valid_bundle)
    golden = valid_bundle / "golden/min.inputs.safetensors"
    whole = golden.read_bytes()
    golden.write_bytes(whole[:-1] + b"\0")
    with pytest.raises(BundleError, match="sha256 of golden/min.inputs.safetensors"):
        open_session(bundle, "cpu", "native")
    golden.write_bytes(whole)
    assert open_session(bundle, "cpu", "native").run({"x": rows(1)})["y"].shape == (1, 10)
