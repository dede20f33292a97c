"""Mutants of small bundles, judged: caught, equivalent, or a blind spot of the golden cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.mutation import MutationReport, Result, measure_power
from attn_export.mutation.runs import Runner
from attn_runtime.child_process import ChildDied
from attn_runtime.errors import ParityError, StageError, UsageError
from attn_runtime.spec import Dim, TensorSpec
from support.graphs.make_graphs import rewrite_answers
from support.graphs.mutated import bundle

B, T, FOUR = Dim("B", 1, 2, 4), Dim("T", 1, 3, 5), Dim.fixed(4)
X, Y = TensorSpec("x", "float32", (B, FOUR)), TensorSpec("y", "float32", (B, FOUR))
RNG = np.random.default_rng(0)
W = RNG.standard_normal((4, 4), dtype=np.float32)
NET = "(float[B, 4] x) => (float[B, 4] y) { p = MatMul(x, w) y = Tanh(p) }"
GATED = "(float[B, 4] x) => (float[B, 4] y) { p = MatMul(x, w) q = Mul(p, gate) y = Add(x, q) }"
HALF = """(float[B, 4] x) => (float[B, 4] y) {
    h = Cast<to = 10>(x) p = MatMul(h, w) q = Tanh(p) y = Cast<to = 1>(q)
}"""
MASKED = "(float[B, T] x, bool[B, T] m) => (float[B, T] y) { y = Where(m, x, z) }"


def one(report: MutationReport, what: str) -> Result:
    return next(r for r in report.results if what in r.mutant.what)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return bundle(tmp_path / "net.attn", NET, {"w": W}, [X], [Y])


def test_a_graph_whose_cases_see_everything(net: Path) -> None:
    report = measure_power(net, 7)
    assert len(report.results) == 7 and report.precision == "fp32"
    assert report.total.caught == 7 and report.total.score == 1.0
    assert all(r.by.startswith("case ") for r in report.results)


def test_the_seed_decides(net: Path) -> None:
    def told(seed: int) -> dict[str, Any]:
        return measure_power(net, 4, seed=seed).to_json() | {"seconds": 0}

    assert told(3) == told(3) != told(4)


def test_what_lies_behind_a_shut_gate_is_equivalent_and_noted(tmp_path: Path) -> None:
    weights = {"w": W, "gate": np.zeros(1, np.float32)}
    report = measure_power(bundle(tmp_path / "gated.attn", GATED, weights, [X], [Y]), 30)
    negated = one(report, "w: negated")
    assert (negated.verdict, negated.difference) == ("equivalent", 0.0)
    assert one(report, "Add -> Sub").verdict in ("caught", "equivalent")
    assert one(report, "first summand dropped").verdict == "caught"
    assert any(n.startswith("gate is all 0") and "equivalent mutants lie behind it" in n for n in report.notes)


def test_masks_that_are_never_empty_are_a_blind_spot(tmp_path: Path) -> None:
    specs = [TensorSpec("x", "float32", (B, T)), TensorSpec("m", "bool", (B, T))]
    out = [TensorSpec("y", "float32", (B, T))]
    path = bundle(tmp_path / "m.attn", MASKED, {"z": np.array(0.5, np.float32)}, specs, out)
    seen = measure_power(path, 20)
    assert one(seen, "always True").verdict == "caught"
    # The same bundle, with cases whose masks leave nothing out.
    always = bundle(
        tmp_path / "all.attn", MASKED, {"z": np.array(0.5, np.float32)}, specs, out, draw={"m": np.ones_like}
    )
    report = measure_power(always, 20)
    survivor = one(report, "always True")
    assert survivor.verdict == "blind spot" and survivor.difference is not None and survivor.difference > 0.1
    assert report.survivors[0].verdict == "blind spot"
    assert f"{survivor}" in "\n".join(report.lines())


def test_a_loose_tolerance_is_no_good_proof(tmp_path: Path) -> None:
    report = measure_power(bundle(tmp_path / "loose.attn", NET, {"w": W}, [X], [Y], rtol=0.5), 12)
    assert one(report, "times 1.02").verdict == "blind spot"
    assert report.total.score is not None and report.total.score < 1


def test_half_precision_is_judged_by_its_own_tolerance_and_rounding(tmp_path: Path) -> None:
    path = bundle(tmp_path / "half.attn", NET, {"w": W}, [X], [Y], half=HALF)
    report = measure_power(path, 12, precision="fp16")
    assert report.precision == "fp16"
    assert one(report, "w: negated").verdict == "caught"
    assert one(report, "hard tanh").verdict in ("caught", "blind spot")
    assert all(r.times_noise is not None and r.times_noise <= 1 for r in report.survivors if r.verdict == "equivalent")


def test_less_than_rounding_is_equivalent_and_more_is_a_blind_spot(tmp_path: Path) -> None:
    """A sum of 1 and a little: what the little does is lost in float16, or is just under the tolerance."""
    text = "(float[B, 4] x) => (float[B, 4] y) { t = Tanh(x) s = Mul(t, k) y = Add(x, s) }"
    half = """(float[B, 4] x) => (float[B, 4] y) {
        h = Cast<to = 10>(x) t = Tanh(h) s = Mul(t, k) z = Add(h, s) y = Cast<to = 1>(z)
    }"""
    verdicts = {}
    for size in (1e-5, 8e-3):
        weights = {"k": np.array(size, np.float32)}
        path = bundle(tmp_path / f"{size}.attn", text, weights, [X], [Y], half=half)
        verdicts[size] = one(measure_power(path, 100, precision="fp16"), "second summand dropped").verdict
    assert verdicts == {1e-5: "equivalent", 8e-3: "blind spot"}


def test_inputs_that_overflow_the_type_show_nothing(tmp_path: Path) -> None:
    """At inputs times 100 the square is beyond 65504, where any change of an infinite sum would look great."""
    text = "(float[B, 4] x) => (float[B, 4] y) { s = Mul(x, k) y = Mul(s, s) }"
    half = "(float[B, 4] x) => (float[B, 4] y) { h = Cast<to = 10>(x) s = Mul(h, k) z = Mul(s, s) y = Cast<to = 1>(z) }"
    weights = {"k": np.array(8, np.float32)}
    path = bundle(tmp_path / "large.attn", text, weights, [X], [Y], half=half)
    report = measure_power(path, 100, precision="fp16")
    assert report.results and not any(r.by == "inputs times 100" for r in report.results)


def test_changes_that_give_no_graph_are_drawn_anew(tmp_path: Path) -> None:
    text = """(float[B, 4] x) => (float[B, 4] y) {
        t = Transpose<perm = [1, 0]>(x) u = Transpose<perm = [1, 0]>(t) y = MatMul(u, w)
    }"""
    report = measure_power(bundle(tmp_path / "t.attn", text, {"w": W}, [X], [Y]), 100)
    assert report.redrawn >= 1
    assert report.total.made == len(report.results) < 100


def test_what_runs_at_some_cases_alone_is_caught(tmp_path: Path) -> None:
    side = TensorSpec("z", "float32", (T, B))
    specs, out = [TensorSpec("x", "float32", (B, T)), side], [TensorSpec("y", "float32", (T, B))]
    text = "(float[B, T] x, float[T, B] z) => (float[T, B] y) { t = Transpose<perm = [1, 0]>(x) y = Add(t, z) }"
    report = measure_power(bundle(tmp_path / "t.attn", text, {}, specs, out), 10)
    assert one(report, "perm [1, 0] -> [0, 1]").by == "case opt, which it can't run"


@pytest.mark.parametrize(
    ("problem", "by"),
    [
        (ChildDied("a changed graph", "SIGSEGV", "none"), "its end (SIGSEGV)"),
        (StageError("late"), "the time limit of 20 s"),
    ],
)
def test_a_mutant_that_ends_its_process_is_caught(
    net: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, by: str
) -> None:
    opened: list[Path] = []

    def opens(self: Runner, graph: Path, form: Any, open: Any = Runner.open) -> None:
        opened.append(graph)
        open(self, graph, form)

    def answers(self: Runner, case: Any, like: Any = None, answer: Any = Runner.answer) -> Any:
        if opened[-1].name == "mutant.onnx":
            raise problem
        return answer(self, case, like)

    monkeypatch.setattr(Runner, "open", opens)
    monkeypatch.setattr(Runner, "answer", answers)
    assert [(r.verdict, r.by) for r in measure_power(net, 1).results] == [("caught", by)]


def test_a_graph_that_fails_itself_measures_nothing(net: Path) -> None:
    rewrite_answers(net, "min", lambda y: y + 1)
    with pytest.raises(ParityError, match='fp32 does not pass its golden case "min"'):
        measure_power(net, 3)


def test_what_can_not_be_asked_for(net: Path) -> None:
    with pytest.raises(UsageError, match="--mutate 0"):
        measure_power(net, 0)
    with pytest.raises(UsageError, match='no precision "fp16"; it has fp32'):
        measure_power(net, 1, precision="fp16")
