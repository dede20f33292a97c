"""Long prompts are read in slices beside rows that are under way, which wait for one of them at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.errors import BackendError
from attn_runtime.generate import Generated, GenerateOptions, Generator, Request, RequestLimits, open_generator
from attn_runtime.generate.graphs import PromptSlices, Slots, StepGraphs
from support.graphs.make_hostile_bundles import dim
from support.models import tiny_generators
from support.models.tiny_generators import Tiny, asset_of, drawn_prompts, inputs_of, write_bundle

WRITER = Tiny(encoder=False, key_heads=1, sharpness=4.0, stop=(), extend=True)  # slices of 8 tokens


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("slices") / "tiny.attn", WRITER)


@pytest.fixture
def generator(bundle: Path) -> Iterator[Generator]:
    with open_generator(bundle, "cpu", threads=1, requests=RequestLimits(rows=4)) as opened:
        yield opened


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server did: "whole" for a prompt, or the first slice of one; "slice" for a further one; "step"."""
    done: list[str] = []

    def tell(kind: Any, name: str, event: str) -> None:
        original = getattr(kind, name)

        def call(self: Any, *args: Any) -> Any:
            done.append(event)
            return original(self, *args)

        monkeypatch.setattr(kind, name, call)

    tell(StepGraphs, "read", "read")
    tell(PromptSlices, "read", "slice")
    tell(Slots, "step", "step")
    return done


Ask = tuple[dict[str, Any], GenerateOptions]


def ask(length: int, most: int, seed: int = 0) -> Ask:
    return inputs_of(WRITER, drawn_prompts(WRITER, [length], seed)), GenerateOptions(most, scores=True)


def alone(generator: Generator, asked: list[Ask]) -> list[Generated]:
    return [generator.generate(*each) for each in asked]


def submitted(generator: Generator, asked: list[Ask]) -> list[Request[Generated]]:
    """Of which none begins before the last is there."""
    generator._turns.take()
    requests = [generator.submit(*each) for each in asked]
    generator._turns.give()
    return requests


def check(found: Generated, wanted: Generated) -> None:
    assert found.row(0) == wanted.row(0) and found.stopped == wanted.stopped
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-4)


def test_a_row_waits_for_one_slice(generator: Generator, events: list[str]) -> None:
    """Two long prompts come beside a row that is under way: one slice a step, one prompt after the other."""
    asked = [ask(4, 30), ask(29, 9, 1), ask(24, 9, 2)]
    wanted = alone(generator, asked)
    events.clear()
    for request, answer in zip(submitted(generator, asked), wanted, strict=True):
        check(request.result(60), answer)
    turns = "".join({"read": "r", "slice": "s", "step": "|"}[event] for event in events).split("|")
    while turns[-1] == "":
        turns.pop()
    # The first prompt is read alone, before the first step; of what is left, 5 + 3 * 8 and 8 + 2 * 8 tokens, a slice each time.
    assert "".join(turns) == "r" + "rsss" + "rss" and max(map(len, turns[1:])) == 1 and turns[0] in ("r", "rr")


def test_nobody_waits_for_a_prompt_that_comes_alone(generator: Generator, events: list[str]) -> None:
    assert len(generator.submit(*ask(29, 3)).result(60).row(0)) == 3
    assert events == ["read", "step", "step"]
    assert generator._sessions is not None and not generator._sessions._later, "`extend` was opened, which takes memory"


def test_without_the_graph_prompts_are_read_at_once(tmp_path: Path, events: list[str]) -> None:
    asset = asset_of(WRITER) | {"extend": None}
    with open_generator(write_bundle(tmp_path / "tiny.attn", WRITER, generation=asset), "cpu", threads=1) as opened:
        asked = [ask(4, 12), ask(29, 9, 1)]
        wanted = alone(opened, asked)
        events.clear()
        for request, answer in zip(submitted(opened, asked), wanted, strict=True):
            check(request.result(60), answer)
    assert (events.count("read"), events.count("slice")) == (2, 0)


def test_where_the_other_rows_end_the_rest_is_read(generator: Generator, events: list[str]) -> None:
    asked = [ask(4, 3), ask(39, 1, 1), ask(30, 9, 2), ask(3, 9, 3)]
    wanted = alone(generator, asked)
    events.clear()
    for request, answer in zip(submitted(generator, asked), wanted, strict=True):
        check(request.result(60), answer)
    assert events[:5] == ["read", "step", "read", "step", "slice"] and events[5:8] == ["slice"] * 3


def test_it_may_end_while_it_is_read(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled, late, or by an error of the graph: the others get what they get alone, and the next one has its place."""
    read = PromptSlices.read
    asked = [ask(length, 5, seed) for seed, length in enumerate((4, 29, 32, 30, 31, 30))]
    asked[0] = ask(4, 36)
    wanted, slices = alone(generator, asked), [0] * len(asked)

    def ending(self: PromptSlices, tokens: Any) -> Any:
        number = next(n for n, (inputs, _) in enumerate(asked) if np.array_equal(inputs["tokens"], tokens))
        slices[number] += 1
        if number == 1 and slices[1] == 2:
            requests[1].cancel()
        elif number == 3:
            requests[3].expires = time.perf_counter()
        elif number == 4:
            raise BackendError("mine")
        return read(self, tokens)

    monkeypatch.setattr(PromptSlices, "read", ending)
    generator._turns.take()
    requests = [generator.submit(*each) for each in asked]
    generator._turns.give()
    cancelled, late = requests[1].result(60), requests[3].result(60)
    assert (cancelled.stopped, cancelled.row(0), late.stopped, late.row(0)) == (("cancelled",), [], ("deadline",), [])
    with pytest.raises(BackendError, match="mine"):
        requests[4].result(60)
    for number in (0, 2, 5):
        check(requests[number].result(60), wanted[number])
    assert slices == [0, 2, 3, 1, 1, 3]


def test_a_first_slice_is_as_wide_as_its_graph_asks_for(
    tmp_path: Path, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = tiny_generators.dims(WRITER) | {"prompt": dim("prompt", 12, 14, 40)}
    monkeypatch.setattr(tiny_generators, "dims", lambda _: sizes)
    with open_generator(write_bundle(tmp_path / "tiny.attn", WRITER), "cpu", threads=1) as opened:
        asked = [ask(12, 20), ask(17, 5, 1), ask(30, 5, 2)]
        wanted = alone(opened, asked)
        events.clear()
        for request, answer in zip(submitted(opened, asked), wanted, strict=True):
            check(request.result(60), answer)
    assert events.count("slice") == 5


def test_what_an_encoder_is_read_with_is_read_at_once(tmp_path: Path, events: list[str]) -> None:
    """However long it is: what the step reads beside the entries comes from that reading."""
    tiny = Tiny(sharpness=4.0, stop=(), extend=True)
    asset = asset_of(tiny) | {"begin": [2, *range(3, 13)]}
    with open_generator(write_bundle(tmp_path / "tiny.attn", tiny, generation=asset), "cpu", threads=1) as opened:
        asked = [
            (inputs_of(tiny, drawn_prompts(tiny, [6], seed)), GenerateOptions(9, scores=True)) for seed in range(2)
        ]
        wanted = alone(opened, asked)
        events.clear()
        for request, answer in zip(submitted(opened, asked), wanted, strict=True):
            check(request.result(60), answer)
    assert (events.count("read"), events.count("slice")) == (2, 0)
