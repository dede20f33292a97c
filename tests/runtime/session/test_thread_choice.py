"""threads="auto": as many threads as there are cores that nobody else wants, on machines that change."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from attn_runtime import open_generator, open_session
from attn_runtime.backends import native, ort
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.interface import GraphFile, OpenOptions
from attn_runtime.ort import Cores, OrtEngine, cpu_options, session_options
from attn_runtime.session import backend_choice, thread_choice
from attn_runtime.session.thread_choice import ThreadChoice, Way, way_for
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.models.tiny_generators import Tiny, drawn_prompts, write_bundle

ALL, ONE, SLEEPING = Way(2), Way(1), Way(2, True)

needs_native = pytest.mark.skipif(native.why_unavailable() is not None, reason=str(native.why_unavailable()))


class Free:
    """Cores that are said to be free."""

    def __init__(self, cores: float | None) -> None:
        self.cores = cores

    def now(self) -> float | None:
        return self.cores


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Free:
    """What sessions with "auto" are told of two cores, at every call."""
    told = Free(2.0)
    monkeypatch.setattr(thread_choice, "LOOK_S", 0.0)
    monkeypatch.setattr("attn_runtime.session.free_cores.free_cores", lambda: told)
    monkeypatch.setattr(backend_choice, "usable_cores", lambda: Cores(2, 2, ""))
    return told


@pytest.mark.parametrize(
    ("free", "cores", "way"),
    [
        (None, 8, Way(8)), (8.0, 8, Way(8)), (7.75, 8, Way(8)), (7.6, 8, Way(7)), (6.6, 8, Way(4)), (3.5, 8, Way(2)),
        (1.0, 8, Way(1)), (0.75, 8, Way(1)), (0.5, 8, Way(8, True)), (0.0, 2, SLEEPING), (1.4, 2, ONE), (1.75, 2, ALL),
        # A quota leaves fewer than the machine has, and they may all be free.
        (63.0, 4, Way(4)),
    ],
)  # fmt: skip
def test_threads_are_as_many_as_cores_are_free(free: float | None, cores: int, way: Way) -> None:
    assert way_for(free, cores, sleeping=True) == way
    assert way_for(free, cores, sleeping=False) == (Way(1) if way.sleeping else way)


class Counted:
    """An engine that counts its calls."""

    device, inputs, outputs, assets, note = "cpu", (), (), {}, "slow"  # type: ignore[var-annotated]

    def __init__(self) -> None:
        self.calls, self.closed = 0, False

    def run(self, feed: object) -> dict[str, np.ndarray]:
        self.calls += 1
        return {}

    def bind(self, inputs: object, outputs: object) -> Callable[[], object]:
        return partial(self.run, {})

    def close(self) -> None:
        self.closed = True


def _opened(choice: ThreadChoice) -> None:
    """Waits for the engine that is being opened."""
    assert choice._opening is not None
    choice._opening.join()


@pytest.mark.parametrize("bound", [False, True])
def test_calls_go_to_the_engine_for_the_cores_that_are_free(bound: bool, free: Free) -> None:
    engines = {way: Counted() for way in (ALL, ONE, SLEEPING)}
    asked: list[Way] = []

    def opened(way: Way) -> Counted:
        asked.append(way)
        return engines[way]

    choice = ThreadChoice(engines[ALL], 2, True, opened, free)  # type: ignore[arg-type]
    assert choice.note == "slow; as many of 2 threads as cores are free"
    call = choice.bind({}, {}) if bound else partial(choice.run, {})
    call()
    assert asked == []  # nobody else wants a core
    for cores, way in ((1.0, ONE), (0.2, SLEEPING), (1.0, ONE), (2.0, ALL)):
        free.cores = cores
        call()
        _opened(choice)
        before = engines[way].calls
        call()
        call()
        assert engines[way].calls == before + 2
    assert asked == [ONE, SLEEPING]
    choice.close()
    assert all(engine.closed for engine in engines.values())


def test_calls_go_on_while_another_is_opened(free: Free) -> None:
    first, second, go = Counted(), Counted(), threading.Event()

    def opened(_way: Way) -> Counted:
        assert go.wait(30)
        return second

    choice = ThreadChoice(first, 2, True, opened, free)  # type: ignore[arg-type]
    free.cores = 1.0
    for _ in range(5):
        choice.run({})
    assert (first.calls, second.calls) == (5, 0)
    go.set()
    _opened(choice)
    choice.run({})
    assert second.calls == 1


def test_one_that_does_not_open_is_done_without(free: Free) -> None:
    def opened(_way: Way) -> Counted:
        raise BundleError("was replaced")

    first = Counted()
    choice = ThreadChoice(first, 2, True, opened, free)  # type: ignore[arg-type]
    free.cores = 1.0
    for _ in range(3):
        choice.run({})
        _opened(choice)
    assert first.calls == 3
    choice.close()


@pytest.mark.parametrize("cores", [2.0, 1.0, 0.0])
@pytest.mark.parametrize("backend", ["ort", pytest.param("native", marks=needs_native)])
def test_answers_are_the_same(backend: str, cores: float, tmp_path: Path, free: Free) -> None:
    bundle = make_valid_bundle(tmp_path / "net.attn")
    x = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    with open_session(bundle, "cpu", backend, threads=1) as session:
        expected = session.run({"x": x})
    with open_session(bundle, "cpu", backend, threads="auto") as session:
        assert session.choice == f"{backend} on cpu, fp32 (as many of 2 threads as cores are free)"
        bound = session.bind({"batch": 3})
        bound.inputs["x"][...] = x
        engine, free.cores = session._engine, cores
        assert isinstance(engine, ThreadChoice)
        for _ in range(3):
            for answers in (session.run({"x": x}), bound()):
                assert all((answers[name] == value).all() for name, value in expected.items())
            if engine._opening is not None:
                _opened(engine)
        assert engine._using is engine._engines[way_for(cores, 2, sleeping=backend == "ort")]


@pytest.mark.parametrize("plain", [False, True])
def test_another_export_is_not_opened_beside_the_one_that_is_open(plain: bool, tmp_path: Path, free: Free) -> None:
    bundle = make_valid_bundle(tmp_path / "net.attn")
    path = Path(shutil.copy(bundle / "model.onnx", tmp_path)) if plain else bundle
    file = path if plain else bundle / "model.onnx"
    x = np.ones((3, 16), np.float32)
    with open_session(path, "cpu", "ort", threads="auto") as session:
        expected = session.run({"x": x})
        file.write_bytes(file.read_bytes() + b"\x08\x08")  # ir_version once more
        free.cores = 1.0
        for _ in range(2):
            assert all((session.run({"x": x})[name] == value).all() for name, value in expected.items())
            engine = session._engine
            assert isinstance(engine, ThreadChoice)
            _opened(engine)
        assert engine._engines == {ALL: engine._first, ONE: None}


def test_threads_that_share_cores_sleep_between_nodes() -> None:
    options = cpu_options(share_cores=True)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.dynamic_block_base") == "4"


def test_a_generator_writes_the_same_tokens(tmp_path: Path, free: Free) -> None:
    tiny = Tiny(encoder=False, stop=())
    bundle = write_bundle(tmp_path / "lm.attn", tiny)
    tokens = np.array(drawn_prompts(tiny, [4, 4]))
    with (
        open_generator(bundle, "cpu", "ort", threads=1) as one,
        open_generator(bundle, "cpu", "ort", threads="auto") as some,
    ):
        assert "as cores are free" in some.choice
        for cores in (2.0, 1.0, 0.0, 2.0):
            free.cores = cores
            assert (one.generate({"tokens": tokens}).tokens == some.generate({"tokens": tokens}).tokens).all()


def test_what_else_was_asked_for_holds_for_all(tmp_path: Path, free: Free, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[OpenOptions] = []
    opened = ort.open

    def noted(graph: GraphFile, device: str, options: OpenOptions) -> OrtEngine:
        asked.append(options)
        return opened(graph, device, options)

    monkeypatch.setattr(ort, "open", noted)
    bundle = make_valid_bundle(tmp_path / "net.attn")
    with open_session(bundle, "cpu", "ort", threads="auto", stop_spinning=True) as session:
        for cores in (1.0, 0.0):
            free.cores = cores
            session.run({"x": np.ones((1, 16), np.float32)})
            _opened(session._engine)  # type: ignore[arg-type]
    assert [(way.threads, way.share_cores) for way in asked] == [(None, False), (1, False), (2, True)]
    assert all(way.stop_spinning for way in asked)


@pytest.mark.parametrize("low_memory", [False, True])
def test_all_ways_have_the_graph_that_one_of_them_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low_memory: bool
) -> None:
    """What they differ in changes neither graph nor weights."""
    monkeypatch.setattr(backend_choice, "usable_cores", lambda: Cores(2, 2, ""))
    files: list[Path] = []
    make = onnxruntime.InferenceSession

    def made(file: Path, options: onnxruntime.SessionOptions, *rest: object, **named: object) -> object:
        files.append(Path(file))
        assert options.intra_op_num_threads == [2, 2, 1][(len(files) - 1) % 3]
        sleeps = options.get_session_config_entry("session.intra_op.allow_spinning") if len(files) % 3 == 2 else "0"
        assert sleeps == "0"
        return make(file, options, *rest, **named)

    bundle, kept = make_valid_bundle(tmp_path / "net.attn"), tmp_path / "kept"
    x = {"x": np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)}
    with open_session(bundle, "cpu", "ort", threads=1, low_memory=low_memory) as session:
        expected = session.run(x)["y"]
    monkeypatch.setattr(onnxruntime, "InferenceSession", made)
    monkeypatch.setattr(session_options, "default_threads", lambda: 2)
    for _ in range(2):
        with open_session(bundle, "cpu", "ort", threads="auto", cache=kept, low_memory=low_memory) as session:
            chosen: ThreadChoice = session._engine  # type: ignore[assignment]
            others = [chosen._open_way(way) for way in (SLEEPING, ONE)]
            assert all((engine.run(x)["y"] == expected).all() for engine in (chosen._first, *others))
    (folder,) = (kept / "ort").iterdir()
    assert [file.parent == folder for file in files] == [False, *[True] * 5]


def test_one_core_is_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_choice, "usable_cores", lambda: Cores(1, 1, ""))
    with open_session(make_valid_bundle(tmp_path / "net.attn"), "cpu", "ort", threads="auto") as session:
        assert session.choice == "ort on cpu, fp32"


@pytest.mark.parametrize("threads", ["automatic", "2", 1.5, True])
def test_another_word_is_refused(tmp_path: Path, threads: object) -> None:
    with pytest.raises(UsageError, match=r'threads: .*expected a whole number or "auto" or None'):
        open_session(make_valid_bundle(tmp_path / "net.attn"), threads=threads)  # type: ignore[arg-type]
