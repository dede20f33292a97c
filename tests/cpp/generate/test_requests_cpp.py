"""Requests that come and go in C++: each gets what Python gives for it alone."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.generate import Generated, GenerateOptions, Sample, open_generator
from support.checks.threads import in_threads
from support.checks.time_limit import end_after
from support.machines.generator_library import Generator, Refused
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of, write_bundle
from support.models.tiny_texts import text_assets

USAGE, INPUT = 2, 7
TRANSLATOR = Tiny(sharpness=4.0)
WRITER = Tiny(encoder=False, key_heads=1, sharpness=4.0, extend=True)  # long prompts are read in slices


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("requests") / "tiny.attn", tiny, **text_assets(tiny))


@pytest.fixture(scope="module")
def library(cpp_build: Path) -> Path:
    return cpp_build / "libattn_runtime.so"


@pytest.fixture(scope="module")
def onnxruntime(cpp_environment: dict[str, str]) -> Path:
    return Path(cpp_environment["ATTN_ONNXRUNTIME"])


@pytest.fixture
def generator(library: Path, bundle: Path, onnxruntime: Path) -> Iterator[Generator]:
    with Generator(library, bundle, library=onnxruntime) as opened:
        opened.limit(rows=3)
        yield opened


def prompt_of(tiny: Tiny, length: int = 4, seed: int = 0) -> dict[str, Any]:
    return inputs_of(tiny, drawn_prompts(tiny, [length], seed))


def drawn(rng: random.Random) -> tuple[dict[str, Any], GenerateOptions]:
    """The same options for both."""
    told: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    if rng.random() < 0.4:
        numbers = {"temperature": rng.choice([0.7, 1.3]), "top_k": rng.choice([3, 5]), "seed": rng.randrange(1000)}
        told, kept = told | {"sample": 1, **numbers}, {"sample": Sample(**numbers)}
    for name, values in {
        "max_length": (0, 1, 3, 9, 20),
        "min_length": (4,),
        "repetition_penalty": (1.5,),
        "no_repeat_ngram": (2,),
        "stop": ([], [3, 5]),
        "scores": (True,),
    }.items():
        if rng.random() < 0.5:
            value = rng.choice(values)
            told[name] = kept[name] = value
    return told, GenerateOptions(**kept)


def same(found: tuple[Any, str], alone: Generated) -> None:
    row, why = found
    tokens = alone.row(0)
    assert why == alone.stopped[0]
    assert row.tokens == (tokens[:-1] if why == "stop" else tokens)
    assert (row.score is None) == (alone.scores is None)
    if alone.scores is not None:
        np.testing.assert_allclose(row.score, alone.scores[0], rtol=1e-4)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 8))])
def test_each_gets_what_python_gives_it_alone(
    library: Path, bundle: Path, onnxruntime: Path, tiny: Tiny, seed: int
) -> None:
    rng = random.Random(seed)
    asked = [(prompt_of(tiny, rng.randint(1, 20), n), *drawn(rng)) for n in range(24)]
    leaves = [rng.choice([None, None, None, 1, 4]) for _ in asked]
    pauses = [rng.choice([0, 0, 0.001, 0.01]) for _ in asked]
    with open_generator(bundle, "cpu", threads=1) as python:
        alone = [python.generate(inputs, options) for inputs, _, options in asked]
    with Generator(library, bundle, library=onnxruntime) as opened:
        opened.limit(rng.choice([1, 2, 5, 8]), memory=rng.choice([0, 60_000]))

        def ask(part: int) -> None:
            for number in range(part, len(asked), 6):
                time.sleep(pauses[number])
                inputs, told, _ = asked[number]
                request = opened.submit({name: value.copy() for name, value in inputs.items()}, **told)
                tokens: list[int] = []
                while (token := request.next()) >= 0:
                    tokens.append(token)
                    if len(tokens) == leaves[number]:
                        request.cancel()
                found, whole = request.result(), alone[number]
                assert found is not None and token == -1 and request.next() == -1
                if found[1] == "cancelled":
                    assert tokens == found[0].tokens == whole.row(0)[: len(tokens)]
                else:
                    same(found, whole)
                    assert tokens == whole.row(0)
                request.close()

        def generate() -> None:
            for number in range(0, len(asked), 5):
                inputs, told, _ = asked[number]
                (row,) = opened.generate(inputs, **told)
                tokens = alone[number].row(0)
                assert row.tokens == (tokens[:-1] if row.stopped else tokens)

        assert not in_threads(7, lambda part: ask(part) if part < 6 else generate())


def test_texts_deadlines_and_what_on_token_says(generator: Generator, tiny: Tiny) -> None:
    told: list[int] = []
    whole = generator.submit(prompt_of(tiny), max_length=9, stop=[], on_token=lambda row, token: told.append(token))
    found = whole.result()
    assert found is not None and found[1] == "length" and found[0].tokens == told and len(told) == 9
    ended = generator.submit(prompt_of(tiny), max_length=9, stop=[], on_token=lambda row, token: token == told[2])
    found = ended.result()
    first = told.index(told[2]) + 1
    assert found is not None and found[1] == "cancelled" and found[0].tokens == told[:first]

    def slow(row: int, token: int) -> None:
        time.sleep(0.05)

    late = generator.submit(prompt_of(tiny), 0.3, max_length=30, stop=[], on_token=slow)
    assert late.result(0.0) is None
    while (token := late.next(0.0)) == -2:
        time.sleep(0.001)
    assert token == told[0]
    found = late.result()
    assert found is not None and found[1] == "deadline" and 1 <= len(found[0].tokens) < 30
    text = generator.submit("the cat", max_length=5)
    found = text.result()
    assert found is not None and [found[0]] == generator.generate_text(["the cat"], max_length=5)[0]
    for request in (whole, ended, late, text):
        request.close()


def test_what_can_not_be_is_refused(library: Path, bundle: Path, onnxruntime: Path, tiny: Tiny) -> None:
    with Generator(library, bundle, library=onnxruntime) as opened:
        with pytest.raises(Refused, match="rows: got 0") as caught:
            opened.limit(0)
        opened.limit(2, 1, 9000 if tiny.encoder else 5000)
        for options, inputs, says, status in (
            ({"beams": 4}, prompt_of(tiny), "got 4 beams, expected one; take one beam, or call generate", USAGE),
            ({"on_text": print}, prompt_of(tiny), "on_text", USAGE),
            ({"deadline": -1.0}, prompt_of(tiny), "deadline", USAGE),
            ({}, inputs_of(tiny, drawn_prompts(tiny, [3, 4])), "got 2 rows, expected one", INPUT),
            ({"stop": []}, prompt_of(tiny, 20), "000: give a lower max_length, or more memory", INPUT),
        ):
            with pytest.raises(Refused, match=says) as caught:
                opened.submit(inputs, **options)  # type: ignore[arg-type]
            assert caught.value.status == status
        go_on = threading.Event()
        wait = {"max_length": 2, "stop": [], "on_token": lambda row, token: not go_on.wait(60)}
        requests = [opened.submit(prompt_of(tiny), **wait) for _ in range(3)]
        with pytest.raises(Refused, match="3 requests are there already, expected 2 under way and 1 waiting"):
            opened.submit(prompt_of(tiny), **wait)
        with pytest.raises(Refused, match="before the first is submitted"):
            opened.limit(2)
        go_on.set()
        for request in requests:
            found = request.result()
            assert found is not None and len(found[0].tokens) == 2
            request.close()


def test_on_token_waits_for_nothing_of_its_own(generator: Generator, tiny: Tiny) -> None:
    errors: list[str] = []
    inner: list[Any] = []

    def call(row: int, token: int) -> None:
        if inner:
            return
        inner.append(generator.submit(prompt_of(tiny), max_length=3, stop=[]))
        for wait in (inner[0].result, inner[0].next, lambda: generator.generate(prompt_of(tiny))):
            with pytest.raises(Refused) as caught:
                wait()
            errors.append(str(caught.value))

    outer = generator.submit(prompt_of(tiny), max_length=3, stop=[], on_token=call)
    outer.result()
    assert ["on_token" in error for error in errors] == [True] * 3
    found = inner[0].result()
    assert found is not None and len(found[0].tokens) == 3
    for request in (inner[0], outer):
        request.close()


def test_requests_begin_in_the_order_in_which_they_come(
    library: Path, bundle: Path, onnxruntime: Path, tiny: Tiny
) -> None:
    """One that waits for memory is not overtaken by those that would fit beside what runs; and generate has its turn."""
    begun: list[int] = []
    submitted = threading.Event()
    with Generator(library, bundle, library=onnxruntime) as opened:
        opened.limit(8, memory=30_000 if tiny.encoder else 12_000)

        def tell(number: int) -> None:
            assert submitted.wait(60)
            if number not in begun:
                begun.append(number)

        requests = [
            opened.submit(
                prompt_of(tiny, seed=number),
                max_length=30 if number % 4 == 1 else 3 + number % 5,
                stop=[],
                on_token=lambda row, token, number=number: tell(number),
            )
            for number in range(12)
        ]
        caller = threading.Thread(target=opened.generate, args=(prompt_of(tiny),))
        caller.start()
        submitted.set()
        caller.join(60)
        assert not caller.is_alive()
        for request in requests:
            assert request.result() is not None
            request.close()
    assert begun == list(range(12))


def test_closing_ends_what_is_under_way(library: Path, bundle: Path, onnxruntime: Path, tiny: Tiny) -> None:
    opened = Generator(library, bundle, library=onnxruntime)
    opened.limit(1)
    running = threading.Event()

    def slow(row: int, token: int) -> None:
        running.set()
        time.sleep(0.02)

    requests = [opened.submit(prompt_of(tiny), max_length=30, stop=[], on_token=slow) for _ in range(3)]
    assert running.wait(60)
    requests[1].close()  # one that nobody waits for any more
    opened.close()
    assert requests[0].next() >= 0
    with pytest.raises(Refused, match="was closed before the request had its answer; open another") as caught:
        requests[0].result()
    assert caught.value.status == USAGE
    with pytest.raises(Refused, match="was closed"):
        requests[2].next()
    for request in requests[::2]:
        request.close()


def test_in_the_child_of_a_fork_nobody_waits(generator: Generator, tiny: Tiny) -> None:
    go_on = threading.Event()
    request = generator.submit(prompt_of(tiny), on_token=lambda row, token: not go_on.wait(60))
    waits = generator.submit(prompt_of(tiny))
    waiter = threading.Thread(target=waits.result)
    waiter.start()
    pid = os.fork()
    if pid == 0:
        end_after(20)
        code = 42
        for call in (request.result, request.next, lambda: generator.submit(prompt_of(tiny))):
            try:
                call()
                code = 1
            except Refused as error:
                code = code if "before a fork" in str(error) else 2
        for each in (request, waits, generator):
            each.close()
        os._exit(code)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    finally:
        go_on.set()
        waiter.join(60)
    assert request.result() is not None and waits.result() is not None
    for each in (request, waits):
        each.close()
