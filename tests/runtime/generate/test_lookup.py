"""Guessed tokens: the answers are those that greedy search writes, whatever was guessed, in a batch and alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.errors import BackendError, UsageError
from attn_runtime.generate import Generated, GenerateOptions, Generator, Sample, open_generator
from attn_runtime.generate.graphs import GraphIO
from attn_runtime.generate.lookup import Drafts
from support.models.tiny_generators import Tiny, asset_of, drawn_prompts, inputs_of, write_bundle

# A few tokens to choose from, so that what a row writes stands in it already, now and then.
TRANSLATOR = Tiny(extend=True, vocabulary=7, layers=1, seed=2, sharpness=1.5)
WRITER = Tiny(encoder=False, extend=True, vocabulary=7, key_heads=1, layers=1, seed=4, sharpness=1.5)


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("lookup") / "tiny.attn", tiny)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def generator(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Generator]:
    with open_generator(bundle, "cpu", precision=request.param, threads=1) as opened:
        yield opened


def prompts_of(tiny: Tiny, rng: np.random.Generator) -> dict[str, Any]:
    """Rows of different lengths, many of which repeat themselves."""
    rows = []
    for _ in range(int(rng.integers(1, tiny.batch + 1))):
        (piece,) = drawn_prompts(tiny, [int(rng.integers(1, 7))], int(rng.integers(1 << 30)))
        rows.append(np.resize(piece, int(rng.integers(1, 20))).tolist())
    return inputs_of(tiny, rows)


def drawn_options(rng: np.random.Generator) -> dict[str, Any]:
    few: dict[str, Any] = {"max_length": int(rng.integers(0, 40)), "scores": bool(rng.integers(2))}
    for name, value in (("repetition_penalty", 1.4), ("no_repeat_ngram", 4), ("min_length", 9), ("stop", (1, 4))):
        if rng.random() < 0.25:
            few[name] = value
    return few


def same(found: Generated, wanted: Generated) -> None:
    np.testing.assert_array_equal(found.tokens, wanted.tokens)
    assert found.lengths.tolist() == wanted.lengths.tolist()
    assert (found.stopped, found.steps) == (wanted.stopped, wanted.steps)
    assert (found.scores is None) == (wanted.scores is None)
    if found.scores is not None and wanted.scores is not None:
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_the_greedy_ones(generator: Generator, tiny: Tiny, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drafted = accepted = 0
    for _ in range(6):
        inputs, options = prompts_of(tiny, rng), drawn_options(rng)
        found = generator.generate(inputs, GenerateOptions(**options, lookup=int(rng.integers(1, 8))))
        same(found, generator.generate(inputs, GenerateOptions(**options)))
        assert found.drafted is not None and found.accepted is not None and found.accepted <= found.drafted
        drafted, accepted = drafted + found.drafted, accepted + found.accepted
    assert 0 < accepted < drafted, "guesses that are right and such that are wrong"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_guessed(generator: Generator, tiny: Tiny, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where guesses are noise, of any length, at any place: the rows of a batch part, and come to their ends."""
    rng = np.random.default_rng(seed)

    def noise(self: Drafts, most: int) -> list[int]:
        return rng.integers(0, tiny.vocabulary, min(int(rng.integers(0, 8)), max(0, most))).tolist()

    monkeypatch.setattr(Drafts, "guess", noise)
    for _ in range(4):
        inputs = prompts_of(tiny, rng)
        found = generator.generate(inputs, GenerateOptions(scores=True, lookup=7))
        same(found, generator.generate(inputs, GenerateOptions(scores=True)))


def test_a_call_with_guesses_takes_fewer_runs(bundle: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a row repeats is fed in one call."""
    wanted: list[int] = []
    monkeypatch.setattr(
        Drafts, "guess", lambda self, most: wanted[len(told) : len(told) + min(7, most)]
    )  # the answer itself
    told: list[int] = []
    inputs = inputs_of(tiny, drawn_prompts(tiny, [5]))
    with open_generator(bundle, "cpu", threads=1) as generator:
        wanted += generator.generate(inputs, GenerateOptions(stop=())).row(0)
        options = GenerateOptions(stop=(), lookup=7)
        found = generator.generate(inputs, options, on_token=lambda row, token: told.append(token))
        assert found.row(0) == wanted == told
        assert len(wanted) > 20
        assert found.accepted is not None and found.accepted >= len(wanted) - 2 - len(wanted) // 8
        assert found.to_json()["accepted"] == found.accepted


def test_tokens_are_told_in_order_and_a_cancelled_one_is_a_beginning(generator: Generator, tiny: Tiny) -> None:
    inputs = inputs_of(tiny, drawn_prompts(tiny, [5, 3, 9]))
    whole = generator.generate(inputs)
    told: dict[int, list[int]] = {0: [], 1: [], 2: []}
    options = GenerateOptions(lookup=5)
    found = generator.generate(inputs, options, on_token=lambda row, token: told[row].append(token))
    assert [told[n] for n in range(3)] == [found.row(n) for n in range(3)] == [whole.row(n) for n in range(3)]
    calls = iter(range(1000))
    cut = generator.generate(inputs, options, cancel=lambda: next(calls) == 4)
    assert cut.cancelled
    for row in range(3):
        mine = cut.row(row)
        assert mine == whole.row(row)[: len(mine)] and (cut.stopped[row] == "cancelled") == (mine != whole.row(row))


def test_an_answer_without_tokens_has_no_guesses(generator: Generator, tiny: Tiny) -> None:
    found = generator.generate(inputs_of(tiny, drawn_prompts(tiny, [5])), GenerateOptions(0, lookup=3))
    assert (found.drafted, found.accepted, found.tokens.shape) == (0, 0, (1, 0))


def test_the_graph_is_opened_when_it_is_wanted(bundle: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drafts, "guess", lambda self, most: [3] * min(most, 2))
    inputs = inputs_of(tiny, drawn_prompts(tiny, [5]))
    with open_generator(bundle, "cpu", threads=1) as generator:
        assert generator.generate(inputs).drafted is None
        assert generator._sessions is not None and not generator._sessions._later
        for _ in range(2):
            generator.generate(inputs, GenerateOptions(stop=(), lookup=7))
        assert len(generator._sessions._later) == 1
    with pytest.raises(UsageError, match="closed"):
        generator.generate(inputs, GenerateOptions(lookup=7))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 2}, "lookup: 2 beams are followed"),
        ({"sample": Sample()}, "lookup: tokens are drawn"),
        ({"lookup": 8}, "lookup: got 8; the graph takes up to 7 guesses at once"),
    ],
)
def test_what_goes_not_with_guesses_is_refused(bundle: Path, tiny: Tiny, options: dict[str, Any], says: str) -> None:
    inputs = inputs_of(tiny, drawn_prompts(tiny, [5]))
    with open_generator(bundle, "cpu", threads=1) as generator:
        for ask in (generator.generate, generator.check):
            with pytest.raises(UsageError, match=says):
                ask(inputs, GenerateOptions(**{"lookup": 3, **options}))


def test_the_bundles_own_beams_and_a_missing_graph_are_told(tmp_path: Path) -> None:
    inputs = inputs_of(TRANSLATOR, drawn_prompts(TRANSLATOR, [5]))
    beams = write_bundle(
        tmp_path / "beams.attn", TRANSLATOR, generation=asset_of(TRANSLATOR) | {"defaults": {"beams": 3}}
    )
    without = write_bundle(tmp_path / "without.attn", TRANSLATOR, generation=asset_of(TRANSLATOR) | {"extend": None})
    for path, says in ((beams, "3 beams are followed"), (without, "export it with --with-extend")):
        with open_generator(path, "cpu", threads=1) as generator, pytest.raises(UsageError, match=says):
            generator.generate(inputs, GenerateOptions(lookup=3))
    with open_generator(beams, "cpu", threads=1) as generator:
        same(
            generator.generate(inputs, GenerateOptions(beams=1, lookup=3)),
            generator.generate(inputs, GenerateOptions(beams=1)),
        )


@pytest.mark.parametrize("value", [-1, 1.5, "3"])
def test_a_number_of_guesses_is_a_whole_one(value: Any) -> None:
    with pytest.raises(UsageError, match="lookup: got"):
        GenerateOptions(lookup=value)


def test_logits_that_are_not_finite_are_told(bundle: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from attn_runtime.generate.graphs import StepGraphs

    original = StepGraphs.extend

    def broken(self: StepGraphs, *arguments: Any) -> Any:
        logits = original(self, *arguments)
        logits[0] = np.nan
        return logits

    monkeypatch.setattr(StepGraphs, "extend", broken)
    with (
        open_generator(bundle, "cpu", threads=1) as generator,
        pytest.raises(BackendError, match="row 0 are nan at step"),
    ):
        monkeypatch.setattr(Drafts, "guess", lambda self, most: [3] * min(most, 3))
        generator.generate(inputs_of(tiny, drawn_prompts(tiny, [5])), GenerateOptions(stop=(), lookup=3))


def test_wiring_says_how_many_guesses_there_may_be(bundle: Path) -> None:
    assert GraphIO.of(Bundle.open(bundle)).most_guessed == 7
