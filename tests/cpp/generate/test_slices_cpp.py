"""C++ reads long prompts in slices beside rows that are under way, as Python does: one between two steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.generate import Generated, GenerateOptions, open_generator
from support.machines.generator_library import Generator, Request
from support.models.tiny_generators import Tiny, asset_of, drawn_prompts, inputs_of, write_bundle

WRITER = Tiny(encoder=False, key_heads=1, sharpness=4.0, stop=(), extend=True)  # slices of 8 tokens
#: Length of the prompt and of the answer of each: slices of 5 + 3 * 8 tokens for the second, of 8 + 2 * 8 for the third.
ASKED = ((4, 30), (29, 9), (24, 9))
Open = Callable[[Path], Generator]


@pytest.fixture
def opened(cpp_build: Path, cpp_environment: dict[str, str]) -> Open:
    return lambda path: Generator(
        cpp_build / "libattn_runtime.so", path, None, Path(cpp_environment["ATTN_ONNXRUNTIME"])
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("slices") / "tiny.attn", WRITER)


@pytest.fixture
def generator(opened: Open, bundle: Path) -> Iterator[Generator]:
    with opened(bundle) as made:
        yield made


def prompts() -> list[dict[str, Any]]:
    return [inputs_of(WRITER, drawn_prompts(WRITER, [length], number)) for number, (length, _) in enumerate(ASKED)]


@pytest.fixture(scope="module")
def alone(bundle: Path) -> list[Generated]:
    with open_generator(bundle, "cpu", "ort", threads=1) as python:
        options = [GenerateOptions(most, scores=True) for _, most in ASKED]
        return [python.generate(*each) for each in zip(prompts(), options, strict=True)]


Answer = tuple[list[int], float | None, str]


def same(found: list[Answer], alone: list[Generated]) -> None:
    for (tokens, score, why), wanted in zip(found, alone, strict=True):
        assert (tokens, why) == (wanted.row(0), "length") and wanted.scores is not None
        assert score == pytest.approx(wanted.scores[0], rel=1e-4)


def together(
    generator: Generator, at_token: Callable[[int, list[Request]], object] = lambda *_: None, deadline: float = 0.0
) -> tuple[list[Answer], list[int | None]]:
    """The answers and why they ended, and how many tokens the first had when each had its first. All come while the first
    request has its first token; `at_token` is told how many it has, by the thread that writes them all. `deadline` is
    the second's."""
    count, all_there = [0], threading.Event()
    begun: list[int | None] = [None] * len(ASKED)
    requests: list[Request] = []

    def tell(number: int) -> bool:
        assert all_there.wait(60)
        if number == 0:
            count[0] += 1
            at_token(count[0], requests)
        if begun[number] is None:
            begun[number] = count[0]
        return False  # go on

    for number, (inputs, (_, most)) in enumerate(zip(prompts(), ASKED, strict=True)):
        call = {"on_token": lambda row, token, number=number: tell(number)}
        requests.append(generator.submit(inputs, deadline if number == 1 else 0.0, max_length=most, scores=1, **call))
    all_there.set()
    found = [request.result() for request in requests]
    for request in requests:
        request.close()
    return [(each[0].tokens, each[0].score, each[1]) for each in found if each is not None], begun


def test_a_row_waits_for_one_slice(generator: Generator, alone: list[Generated]) -> None:
    found, begun = together(generator)
    same(found, alone)
    # A step before each slice: of the second, which has four, and then of the third, which has three.
    assert begun == [1, 1 + 4, 1 + 4 + 3]


def test_without_the_graph_prompts_are_read_at_once(opened: Open, alone: list[Generated], tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "tiny.attn", WRITER, generation=asset_of(WRITER) | {"extend": None})
    with opened(path) as generator:
        found, begun = together(generator)
    same(found, alone)
    assert begun[:2] == [1, 2] and begun[2] in (2, 3)  # two may take no longer than a step


@pytest.mark.parametrize("why", ["cancelled", "deadline"])
def test_it_may_end_while_it_is_read(generator: Generator, alone: list[Generated], why: str) -> None:
    """And the next one, of as many entries, is begun in its place."""

    def end(number: int, requests: list[Request]) -> None:
        if number == 3 and why == "cancelled":  # one slice was read
            requests[1].cancel()
        elif number == 3:
            time.sleep(1.1)

    found, begun = together(generator, end, 1.0 if why == "deadline" else 0.0)
    same(found[::2], alone[::2])
    assert (found[1][0], found[1][2]) == ([], why)
    assert begun[1] is None and begun[2] == 3 + 2


def test_slices_and_guesses_take_one_session(generator: Generator, alone: list[Generated]) -> None:
    (row,) = generator.generate(prompts()[1], max_length=9, lookup=4)
    assert row.tokens == alone[1].row(0)
    found, _ = together(generator)
    same(found, alone)
    (row,) = generator.generate(prompts()[2], max_length=9, lookup=4)
    assert row.tokens == alone[2].row(0)
