"""scripts/bench/user_bench.py: its smallest rows for real, without peers, and its parts: rows, busy machines, tables."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import exported
from precision import models, turns
from precision.runners import Made, Runner, Work
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.models.tiny_generators import Tiny, write_bundle
from user import field, generators, machine, one_shot, report
from user.row import Asked, Row

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "user_bench.py"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(turns, "SETTLE_S", 0.0)
    return Asked(True, 1, tmp_path, tmp_path / "venvs", peers=True)


def test_generation_is_measured_idle_and_busy_and_a_peer_that_is_not_installed_is_told(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Tiny(encoder=False, stop=())
    bundle = write_bundle(asked.folder / "lm.attn", tiny)
    monkeypatch.setattr(models, "model_of", lambda *_: models.Model("lm", "", {"vocab_size": tiny.vocabulary}, ()))
    monkeypatch.setattr(models, "bundle_of", lambda *_: bundle)
    rows = generators.of_model("lm", asked)
    told = {(row.what, row.cell.removeprefix("lm, 100 M (tiny), ")): row for row in rows}
    greedy = [f"{rows}{state}" for rows in ("1 row", "8 rows") for state in ("", ", one core busy")]
    assert {cell for what, cell in told if what == "threads"} == set(greedy)
    assert {cell for what, cell in told if what != "threads"} == {"1 row", "8 rows"}
    idle, busy = told["generation, idle", "8 rows"], told["generation, one core busy, beside idle", "8 rows"]
    assert busy.peer == idle.ours and busy.goal == pytest.approx(1.67, abs=0.01)
    assert idle.peer is None and idle.met is None
    assert ".venv-genai is not there; a run without --quick makes it: onnxruntime-genai==" in idle.note
    assert not asked.venvs.exists()
    step = told["roofline", "1 row"]
    weights = [
        value for name, value in tiny.weights().items() if name not in ("embed", "place")
    ]  # those are looked up in
    read = sum(value.nbytes for value in weights)
    assert generators.weights_of_step(bundle) == pytest.approx(read, rel=0.02)  # and norms' constants
    assert step.peer is not None and 0 < step.peer < step.ours and "GB/s" in step.note


def test_a_call_is_measured_and_so_are_the_slowest(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    (asked.folder / "built-in").mkdir()
    bundle = make_valid_bundle(asked.folder / "built-in" / "vit.attn")
    assert exported("vit", bundle) == bundle  # it is there
    monkeypatch.setattr(one_shot, "BATCHES", (1, 4))  # its batch is 1..4
    rows = {(row.what, row.cell): row for row in one_shot.of_model("vit", asked)}
    assert rows["one call", "vit, batch 4"].goal == 1.0 and rows["one call", "vit, batch 4"].peer is None
    assert {cell for what, cell in rows if what == "threads"} == {
        f"vit, batch {batch}{state}" for batch in (1, 4) for state in ("", ", one core busy")
    }
    slowest = rows["single calls, p99 beside p50", "vit, batch 1, one core busy"]
    assert slowest.peer is not None and slowest.ours >= slowest.peer and slowest.goal == 3


class Writer(Runner):
    def __init__(self, name: str, tokens: list[int]) -> None:
        self.name, self.tokens = name, np.array([tokens])

    def run(self, work: Work, calls: int) -> Made:
        return Made([0.1] * calls, self.tokens)


def test_a_run_fails_where_tokens_differ_and_says_whose(asked: Asked) -> None:
    found = field.Field()
    found.runners += [Writer("attn-runtime", [1, 2, 3, 4]), Writer("a peer", [1, 2, 3, 5])]
    work = Work("1 row", tokens=np.array([[7]]), new=4)
    with pytest.raises(
        RuntimeError, match=r"1 row: a peer: 75.0% of its tokens are those of attn-runtime, expected all"
    ):
        field.seconds_of(found, [work], asked, generators.same_tokens)
    with pytest.raises(RuntimeError, match=r"2.5e-01 of max\|answer\| from that of attn-runtime"):
        one_shot.same_answers(work, np.array([4.0, 1.0]), np.array([4.0, 2.0]))


def test_a_ratio_is_what_ours_costs() -> None:
    time_of = Row("start", "c", 3.0, 2.0, "ms", 1.2)
    rate_of = Row("generation", "c", 300.0, 200.0, "tokens/s", 0.7)
    assert time_of.ratio == 1.5 and time_of.met is False
    assert rate_of.ratio == pytest.approx(2 / 3) and rate_of.met is True
    assert Row("start", "c", 3.0, None, "ms", 1.2).met is None and Row("start", "c", 3.0, 2.0, "ms").met is None
    with pytest.raises(ValueError, match="start, c: ours is nan, expected a finite number above 0"):
        Row("start", "c", float("nan"), 1.0, "ms")


def test_a_busy_machine_has_a_process_that_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def noted(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*words, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with machine.busy(2):
        assert len(started) == 2
        while any(_ticks(process.pid) < 3 for process in started):
            time.sleep(0.02)
    assert all(process.returncode for process in started)


def _ticks(process: int) -> int:
    """Processor time that it has had, in hundredths of a second."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11])


def test_the_tables_stand_in_places_of_their_own(tmp_path: Path) -> None:
    rows = [
        Row("beams", "8 rows", 1234.5, 1000.0, "tokens/s", 0.67, "a peer").told(),
        Row("beams", "1 row", 0.5, None, "ms", 1.0, "", "no a peer: not installed").told(),
    ]
    table = report.tables(rows)
    assert table.splitlines()[4:] == [
        "| 8 rows | 1,234 | a peer | 1,000 | tokens/s | 0.81 | <= 0.67 | no |",
        "| 1 row | 0.5 |  | not measured | ms |  | <= 1.00 |  |",
        "",
        "- 1 row: no a peer: not installed",
    ]
    page = tmp_path / "page.md"
    page.write_text("# Head\n")
    report.put(page, "one", "first\n")
    report.put(page, "two", "second\n")
    report.put(page, "one", "again\n")
    assert page.read_text() == (
        "# Head\n\n<!-- one: begin -->\nagain\n\n<!-- one: end -->\n\n<!-- two: begin -->\nsecond\n\n<!-- two: end -->\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "generators,cooking"], 'unknown row "cooking"; available: '),
        (["--rounds", "0"], "expected 1 or more"),
        (["--quick", "--docs"], "run it without --quick"),
    ],
)
def test_what_can_not_be_measured_is_refused_before_anything_is_made(
    tmp_path: Path, words: list[str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words, "--folder", str(tmp_path / "f")], capture_output=True, text=True
    )
    assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "f").exists()


def test_every_module_that_measures_is_a_row() -> None:
    listed = subprocess.run([sys.executable, str(SCRIPT), "--rows", ""], capture_output=True, text=True).stderr
    for file in (SCRIPT.parent / "user").glob("*.py"):
        assert ("\ndef measure(" in file.read_text()) == (file.stem in listed.partition("available: ")[2]), file.name
