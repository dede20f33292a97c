"""bench of a generator measures what it says it measures. No time is asserted but by a clock that the test turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import InputError, UsageError
from attn_runtime.generate import GenerateOptions, Generator
from attn_runtime.tasks import GenerationBenchReport
from attn_runtime.tasks import generation_benchmark as module
from attn_runtime.tasks.benchmark import BenchReport, bench
from attn_runtime.tasks.plots.bench import plot_bench
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.models.tiny_generators import Tiny, write_bundle

WRITER = Tiny(layers=1, max_length=24, batch=8, encoder=False, seed=2)
TRANSLATOR = Tiny(layers=1, max_length=24, batch=8, seed=2)
QUICK: dict[str, Any] = {"device": "cpu", "warmup_s": 0.0, "measure_s": 0.0, "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bench")
    write_bundle(made / "writer.attn", WRITER)
    write_bundle(made / "translator.attn", TRANSLATOR)
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[dict[str, np.ndarray], GenerateOptions]]]:
    """Inputs and options of every generation."""
    seen: list[Any] = []
    generate = Generator.generate

    def noted(self: Generator, inputs: Any, options: Any, *rest: Any) -> Any:
        found = generate(self, inputs, options, *rest)
        seen.append((inputs, options, found))
        return found

    monkeypatch.setattr(Generator, "generate", noted)
    yield seen


@pytest.mark.parametrize("name", ["writer", "translator"])
def test_whole_answers_of_the_length_that_was_asked_for(folder: Path, name: str, asked: list[Any]) -> None:
    sizes: list[Any] = []
    report = bench(folder / f"{name}.attn", **QUICK, batches=[4, 1], new_tokens=6, min_runs=2, on_size=sizes.append)
    assert isinstance(report, GenerationBenchReport) and report.results == tuple(sizes)
    assert [(r.batch, r.new_tokens, r.runs) for r in report.results] == [(1, 6, 2), (4, 6, 2)]
    assert (report.call, report.device, report.batch_dim) == ("generate", "cpu", "batch")
    assert len(asked) == 2 * (1 + 2)  # one each to warm up
    for inputs, options, found in asked:
        assert options == GenerateOptions(6, 1, sample=False, stop=()) and found.lengths.tolist() == [6] * len(
            found.lengths
        )
        assert all(value.all() for value in inputs.values() if value.dtype == bool)  # no row is padded
    for r in report.results:
        assert r.tokens_per_second == pytest.approx(r.batch * r.row_tokens_per_second) and r.token_ms is not None
        assert 0 < r.first_p50_ms <= r.first_p90_ms and r.prompt == asked[0][0][next(iter(asked[0][0]))].shape[1]
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["results"][1]["batch"] == 4


def test_rates_by_a_clock_that_the_test_turns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three answers of 2 rows and 5 tokens: 10, 20 and 30 ms to the first, and 4, 8 and 12 ms for each further token."""
    now = [0.0]
    turns = iter([(0.0, 0.0), (10.0, 4.0), (20.0, 8.0), (30.0, 12.0)])  # the first one warms up

    def generate(self: Generator, inputs: Any, options: GenerateOptions, on_token: Any) -> None:
        first, further = next(turns)
        now[0] += first / 1000
        assert options.max_length == 5
        for number in range(5):
            for row in range(2):
                on_token(row, number)
            now[0] += further / 1000 if number < 4 else 0

    monkeypatch.setattr(Generator, "generate", generate)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    (r,) = bench(folder / "writer.attn", **QUICK, batches=[2], new_tokens=5).results
    assert (r.runs, r.first_p50_ms, r.first_p90_ms, r.token_ms) == (3, *map(pytest.approx, (20.0, 28.0, 8.0)))
    assert r.row_tokens_per_second == pytest.approx(15 / 0.156) and r.tokens_per_second == pytest.approx(30 / 0.156)


def test_what_is_left_out_fits_the_model(folder: Path, asked: list[Any]) -> None:
    report = bench(folder / "writer.attn", **QUICK, min_runs=1)
    assert [r.batch for r in report.results] == sorted({r.batch for r in report.results})
    for r in report.results:
        assert r.prompt <= 12 and r.new_tokens == 24 - r.prompt
    (longest,) = bench(folder / "writer.attn", **QUICK, min_runs=1, batches=[1], sizes={"prompt": 23}).results
    assert (longest.prompt, longest.new_tokens, longest.token_ms) == (23, 1, None)
    (whole,) = bench(folder / "translator.attn", **QUICK, min_runs=1, batches=[1]).results
    assert whole.new_tokens == 23  # begin is a token too, the source is not


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"new_tokens": 0}, UsageError, "new tokens: got 0"),
        ({"new_tokens": 30}, InputError, r"new tokens: got 30, expected 1\.\.\d+: the model takes rows of up to 24"),
        ({"sizes": {"prompt": 24}}, InputError, "give a shorter prompt"),
        ({"sizes": {"prompt": 10**12}}, InputError, r"dim prompt allows 1\.\.24"),
        ({"sizes": {"promt": 3}}, UsageError, "did you mean prompt"),
        ({"batches": [99]}, InputError, r"dim batch allows 1\.\.8"),
        ({"call": "run"}, UsageError, "for one graph"),
        ({"min_runs": 0}, UsageError, "0 runs"),
        ({"graph": "step", "new_tokens": 3}, UsageError, "where one graph runs"),
    ],
)
def test_bad_options(folder: Path, options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        bench(folder / "writer.attn", **{**QUICK, **options})


def test_one_graph_is_timed_where_it_is_named(folder: Path) -> None:
    report = bench(folder / "writer.attn", **QUICK, graph="step", min_runs=2, batches=[1])
    assert isinstance(report, BenchReport) and report.call == "bound"


def test_the_command(folder: Path) -> None:
    arguments = ["bench", str(folder / "writer.attn"), "--device", "cpu", "--warmup", "0", "--seconds", "0",
                 "--min-runs", "1", "--threads", "1", "--new-tokens", "3", "--dim", "prompt=4", "--batch", "1,2"]  # fmt: skip
    ran = CliRunner().invoke(cli, arguments)
    head, *rows = ran.stdout.splitlines()[:3]
    assert "tokens/s" in head and [row.split()[:4] for row in rows] == [[n, "1", "4", "3"] for n in "12"]
    told = result_of(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert [(r["batch"], r["prompt"], r["new_tokens"]) for r in told["results"]] == [(1, 4, 3), (2, 4, 3)]


def test_what_the_picture_says(folder: Path, tmp_path: Path) -> None:
    report = bench(folder / "writer.attn", **QUICK, min_runs=1, batches=[1])
    plot_bench(report, tmp_path / "bench.svg")
    drawn = (tmp_path / "bench.svg").read_text()  # the words stand in comments, their letters are paths
    assert "tokens/s" in drawn and "Time to the first token" in drawn
