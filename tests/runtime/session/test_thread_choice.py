"""threads="auto": calls take one thread or all, whichever is faster, on machines that change."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from attn_runtime import open_generator, open_session
from attn_runtime.backends import ort
from attn_runtime.errors import UsageError
from attn_runtime.interface import GraphFile, OpenOptions
from attn_runtime.ort import Cores, OrtEngine, cpu_options, session_options
from attn_runtime.session import backend_choice
from attn_runtime.session.thread_choice import Pace, ThreadChoice
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.models.tiny_generators import Tiny, drawn_prompts, write_bundle

ALL, SLEEPING, ONE = 0, 1, 2
Cost = Callable[[int, int], float]


def spent(pace: Pace, cost: Cost, calls: int, start: float = 0.0) -> tuple[list[int], float]:
    """What each call took (0 is all threads), and seconds in all, where the call `number` of an engine takes `cost`."""
    taken, now = [], start
    for number in range(calls):
        which = pace.using
        seconds = cost(which, number)
        now += seconds
        taken.append(which)
        pace.took(seconds, now)
    return taken, now - start


@pytest.mark.parametrize(
    ("all_ms", "one_ms", "best"), [(0.6, 1.0, ALL), (1.0, 0.6, ONE), (4.0, 1.0, ONE), (1.0, 8.0, ALL)]
)
def test_the_faster_one_is_taken_and_trials_cost_little(all_ms: float, one_ms: float, best: int) -> None:
    taken, seconds = spent(Pace(3), lambda which, _: (all_ms, 1.5 * max(all_ms, one_ms), one_ms)[which] * 1e-3, 2000)
    assert taken[-500:].count(best) > 490
    assert seconds < 1.05 * 2000 * min(all_ms, one_ms) * 1e-3


@pytest.mark.parametrize("taken_at", [500, 550, 600, 650, 700])
def test_a_core_that_is_taken_is_noticed_and_so_is_that_it_is_free_again(taken_at: int) -> None:
    """Idle, all threads are faster. Then a core is taken, and two of three calls on all wait for a turn of the scheduler; a
    thousand calls later it is free."""

    def cost(which: int, number: int) -> float:
        stalled = which == ALL and taken_at <= number < taken_at + 1000 and number % 3 > 0
        return 5e-3 if stalled else (0.6e-3, 0.8e-3, 1e-3)[which]

    taken, _ = spent(Pace(3), cost, 4000)
    assert taken[400:taken_at].count(ALL) > 0.95 * (taken_at - 400)
    assert taken[taken_at : taken_at + 30].count(ALL) < 20
    assert taken[taken_at + 30 : taken_at + 1000].count(SLEEPING) > 0.97 * 970
    assert taken[taken_at + 2000 :].count(ALL) > 0.97 * (2000 - taken_at)


class Waiting:
    """An engine whose calls take `seconds`."""

    device, inputs, outputs, assets, note = "cpu", (), (), {}, "slow"  # type: ignore[var-annotated]

    def __init__(self, seconds: float) -> None:
        self.seconds, self.calls, self.closed = seconds, 0, False

    def run(self, feed: object) -> dict[str, np.ndarray]:
        self.calls += 1
        time.sleep(self.seconds)
        return {}

    def bind(self, inputs: object, outputs: object) -> Callable[[], object]:
        return partial(self.run, {})

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("bound", [False, True])
def test_calls_go_to_the_engine_that_is_faster(bound: bool) -> None:
    slow, fast = Waiting(2e-2), Waiting(1e-3)
    both = ThreadChoice((slow, fast), "one of two")  # type: ignore[arg-type]
    assert both.note == "slow; one of two"
    call = both.bind({}, {}) if bound else partial(both.run, {})
    for _ in range(40):
        call()
    assert fast.calls > 30 > 10 > slow.calls
    both.close()
    assert slow.closed and fast.closed


def test_what_is_held_up_once_changes_little() -> None:
    """A call of 50 ms, once in 200, of either: the faster one is still taken most of the time."""
    taken, _ = spent(
        Pace(3), lambda which, number: 50e-3 if number % 200 == 50 else (0.6e-3, 0.8e-3, 1e-3)[which], 4000
    )
    assert taken.count(ALL) > 0.8 * 4000


def _cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(backend_choice, "usable_cores", lambda: Cores(count, count, ""))


def test_both_answer_alike_and_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cores(monkeypatch, 2)
    bundle = make_valid_bundle(tmp_path / "net.attn")
    x = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    with open_session(bundle, "cpu", "ort", threads=1) as session:
        expected = session.run({"x": x})
    with open_session(bundle, "cpu", "ort", threads="auto") as session:
        assert session.choice == "ort on cpu, fp32 (1 or 2 threads, whichever is faster)"
        bound = session.bind({"batch": 3})
        bound.inputs["x"][...] = x
        for _ in range(20):  # a trial is among them
            for answers in (session.run({"x": x}), bound()):
                assert all((answers[name] == value).all() for name, value in expected.items())
        engine = session._engine
        assert all(all(pace.means) for pace in engine._paces.values())  # type: ignore[union-attr]


def test_threads_that_share_cores_sleep_between_nodes() -> None:
    options = cpu_options(share_cores=True)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.dynamic_block_base") == "4"


def test_a_generator_writes_the_same_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cores(monkeypatch, 2)
    tiny = Tiny(encoder=False, stop=())
    bundle = write_bundle(tmp_path / "lm.attn", tiny)
    tokens = np.array(drawn_prompts(tiny, [4, 4]))
    with (
        open_generator(bundle, "cpu", "ort", threads=1) as one,
        open_generator(bundle, "cpu", "ort", threads="auto") as both,
    ):
        assert "whichever is faster" in both.choice
        for _ in range(3):
            assert (one.generate({"tokens": tokens}).tokens == both.generate({"tokens": tokens}).tokens).all()


def test_the_ways_are_all_threads_threads_that_sleep_and_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cores(monkeypatch, 2)
    asked: list[OpenOptions] = []
    opened = ort.open

    def noted(graph: GraphFile, device: str, options: OpenOptions) -> OrtEngine:
        asked.append(options)
        return opened(graph, device, options)

    monkeypatch.setattr(ort, "open", noted)
    bundle = make_valid_bundle(tmp_path / "net.attn")
    with open_session(bundle, "cpu", "ort", threads="auto", stop_spinning=True):
        pass
    assert [(way.threads, way.share_cores) for way in asked] == [(None, False), (2, True), (1, False)]
    assert all(way.stop_spinning for way in asked)


@pytest.mark.parametrize("low_memory", [False, True])
def test_all_ways_have_the_graph_that_one_of_them_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low_memory: bool
) -> None:
    """What they differ in changes neither graph nor weights."""
    _cores(monkeypatch, 2)
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
            engines = session._engine._engines  # type: ignore[attr-defined]
            assert len(engines) == 3 and all((engine.run(x)["y"] == expected).all() for engine in engines)
    (folder,) = (kept / "ort").iterdir()
    assert [file.parent == folder for file in files] == [False, *[True] * 5]


def test_one_core_is_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cores(monkeypatch, 1)
    with open_session(make_valid_bundle(tmp_path / "net.attn"), "cpu", "ort", threads="auto") as session:
        assert session.choice == "ort on cpu, fp32"


@pytest.mark.parametrize("threads", ["automatic", "2", 1.5, True])
def test_another_word_is_refused(tmp_path: Path, threads: object) -> None:
    with pytest.raises(UsageError, match=r'threads: .*expected a whole number or "auto" or None'):
        open_session(make_valid_bundle(tmp_path / "net.attn"), threads=threads)  # type: ignore[arg-type]
