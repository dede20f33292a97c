"""The trt backend from the outside: what it says on a machine without a GPU, and which engine it would open with one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from attn_runtime import backends
from attn_runtime.backends import trt
from attn_runtime.bundle.reader import Bundle
from attn_runtime.device.gpus import find_gpus
from attn_runtime.errors import BackendError, EngineError
from attn_runtime.interface import GraphFile
from attn_runtime.session import open_session
from attn_runtime.trt import library as flavour
from attn_runtime.trt.builder.compile import compile_engine
from attn_runtime.trt.engine_files import find_engine, read_plan
from attn_runtime.trt.machine import this_machine
from attn_runtime.trt.run.kernel_cache import RuntimeCache
from attn_runtime.trt.run.open_engine import find
from support.graphs.make_graphs import add

no_gpu = pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")
no_rtx = flavour.why_unavailable("rtx")
builds = pytest.mark.skipif(no_rtx is not None, reason=no_rtx or "")


def test_it_runs_on_gpus_alone() -> None:
    assert "take device cuda" in str(trt.why_not("cpu"))


@no_gpu
def test_the_driver_is_asked_before_any_library_is_loaded() -> None:
    code = (
        "import sys; from attn_runtime.backends import trt; "
        "print(trt.why_unavailable()); print(trt.why_not('cuda')); "
        "print(sorted({'tensorrt', 'tensorrt_rtx', 'cuda.bindings.runtime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, why, loaded = done.stdout.splitlines()
    assert "NVIDIA driver" in why or "GPU" in why
    assert loaded == "[]"


@no_gpu
def test_named_on_a_machine_without_a_gpu(valid_bundle: Path) -> None:
    for device in ("cuda", "auto"):
        with pytest.raises(
            BackendError, match=r"backend trt can't run bundle gemm.attn on .*no NVIDIA driver"
        ) as caught:
            open_session(valid_bundle, device, "trt")
        assert "\n" not in str(caught.value) and caught.value.exit_code == 10


def test_not_installed_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install tensorrt-rtx-cu13 cuda-python" in str(trt.why_unavailable())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "tensorrt" else None)
    assert "cuda-python is not installed" in str(trt.why_unavailable())


def test_a_library_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn_runtime.device.gpus.why_not", lambda device: None)
    monkeypatch.setattr(flavour, "why_unavailable", lambda name: f"{name} does not load")
    assert trt.why_not("cuda") == "rtx does not load; tensorrt does not load"
    monkeypatch.setattr(flavour, "why_unavailable", lambda name: None if name == "tensorrt" else "not installed")
    monkeypatch.setattr(flavour, "load", lambda name: flavour.Library(name, "10.16", object()))
    assert trt.why_not("cuda") is None


@builds
def test_rtx_alone_on_a_gpu_that_it_does_not_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the doctor says. Otherwise a session would ask for an engine that could never run here."""
    capability = {0: "8.9", 1: "9.0"}
    monkeypatch.setattr("attn_runtime.device.gpus.why_not", lambda device: None)
    monkeypatch.setattr("attn_runtime.trt.library_choice.compute_capability", lambda number=0: capability[number])
    unavailable = flavour.why_unavailable
    monkeypatch.setattr(flavour, "why_unavailable", lambda n: unavailable(n) if n == "rtx" else "no tensorrt")
    assert trt.why_not("cuda:0") is None
    told = str(trt.why_not("cuda:1"))
    assert "this GPU has 9.0" in told and "take the flavour tensorrt; no tensorrt" in told


@pytest.mark.usefixtures("without_native")
def test_it_is_tried_before_the_others_on_a_gpu(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no engine it is passed over, with the command that builds one, and the next backend runs."""
    from attn_runtime.session import backend_choice

    assert next(name for name, *_ in backend_choice.candidates("cuda", None)) == "trt"
    monkeypatch.setattr(trt, "why_unavailable", lambda: None)
    monkeypatch.setattr(trt, "why_not", lambda device: None if device == "cuda" else "no")
    session = open_session(valid_bundle)
    assert session.backend == "ort"
    assert "no engine has been built. Build one: attn-run compile" in "; ".join(session.passed_over)
    with pytest.raises(BackendError, match="Build one: attn-run compile"):
        open_session(valid_bundle, "cuda", "trt")


# --- which engine ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain file with an engine beside it."""
    folder = tmp_path_factory.mktemp("engine")
    model = add(folder / "add.onnx")
    shape = (1, 1), (2, 8), (4, 64)
    compile_engine(model, flavour="rtx", profiles=[{"a": shape, "b": shape}])
    return next(folder.glob("*.engine"))


@builds
def test_an_engine_file_is_opened_by_its_key(built: Path) -> None:
    found = find(GraphFile(built, "file e"), this_machine())
    assert found.path == built and found.key.flavour == "rtx"
    assert len(read_plan(found)) == built.stat().st_size
    beside = find(GraphFile(built.parent / "add.onnx", "file add.onnx"), this_machine())
    assert beside.path == built


@builds
def test_an_engine_of_another_machine(built: Path) -> None:
    other = replace(this_machine(), flavours={"rtx": "9.9"}, os="linux-aarch64")
    with pytest.raises(
        BackendError, match=r"file e: differs in version \(wanted rtx 9\.9, found rtx .*os \(wanted linux-aa"
    ):
        find(GraphFile(built, "file e"), other)


@builds
def test_an_engine_without_its_key(built: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone.engine"
    lone.write_bytes(built.read_bytes())
    with pytest.raises(EngineError, match="lone.engine.json"):
        find(GraphFile(lone, "file lone.engine"), this_machine())


@builds
@no_gpu
def test_a_session_on_an_engine_file_asks_no_other_backend(built: Path) -> None:
    with pytest.raises(
        BackendError, match=r"backend trt can't run file .*\.engine on auto: trt on cuda \(no NVIDIA driver"
    ):
        open_session(built)


@builds
def test_a_flipped_bit_is_found_before_any_library_reads_it(
    valid_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_engine(valid_bundle, flavour="rtx")
    bundle = Bundle.open(valid_bundle)
    engine = find_engine(bundle, "model", "fp32", this_machine()).path
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(data)
    monkeypatch.setattr(trt, "why_not", lambda device: None)
    for name in ("CudaDevice", "LibraryExecutor"):
        monkeypatch.setattr(f"attn_runtime.trt.run.open_engine.{name}", lambda *_: pytest.fail("must not be reached"))
    with pytest.raises(EngineError, match="sha256") as caught:
        open_session(bundle, "cuda", "trt")
    assert caught.value.exit_code == 14


# --- what RTX compiles on the machine -------------------------------------------------------------------------------


def test_kernels_are_kept_beside_the_engine(tmp_path: Path) -> None:
    cache = RuntimeCache(tmp_path / "m.engine", None)
    assert cache.load() is None and cache.why_not_kept is None
    cache.save(b"kernels")
    cache.save(None)
    assert (tmp_path / "m.engine.kernels").read_bytes() == b"kernels"
    assert RuntimeCache(tmp_path / "m.engine", None).load() == b"kernels"
    assert [path.name for path in tmp_path.iterdir()] == ["m.engine.kernels"]


def test_kernels_are_kept_where_the_session_says(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    RuntimeCache(tmp_path / "m.engine", tmp_path / "cache").save(b"kernels")
    assert (tmp_path / "cache" / "m.engine.kernels").read_bytes() == b"kernels"


def test_what_did_not_change_is_not_written(tmp_path: Path) -> None:
    cache = RuntimeCache(tmp_path / "m.engine", None)
    cache.save(b"kernels")
    before = cache.file.stat().st_ino
    cache.save(b"kernels")
    assert cache.file.stat().st_ino == before
    cache.save(b"more kernels")
    assert cache.file.read_bytes() == b"more kernels"


@pytest.mark.parametrize("there", [False, True], ids=["no-folder", "a-folder-in-its-place"])
def test_what_can_not_be_kept_is_a_note_and_never_a_failure(there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    if there:
        (folder / "m.engine.kernels").mkdir(parents=True)
    cache = RuntimeCache(tmp_path / "m.engine", folder)
    assert cache.load() is None
    cache.save(b"kernels")
    assert cache.why_not_kept and "\n" not in cache.why_not_kept


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        cache = RuntimeCache(tmp_path / "m.engine", None)
        assert "not writable" in str(cache.why_not_kept)
    finally:
        tmp_path.chmod(0o700)


def test_it_is_registered_by_being_there() -> None:
    assert "trt" in backends.names() and backends.get("trt").AUTOMATIC
