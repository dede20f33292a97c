"""Nobody waits for ever: requests begin in the order in which they come, and calls of `generate` and requests take turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.generate import GenerateOptions, Generator, RequestLimits, open_generator
from attn_runtime.generate.serving import Turns
from support.checks.threads import in_threads
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of, write_bundle

WRITER = Tiny(encoder=False, layers=1, stop=())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("fairness") / "tiny.attn", WRITER)


@pytest.fixture
def generator(bundle: Path) -> Iterator[Generator]:
    with open_generator(bundle, "cpu", threads=1, requests=RequestLimits(rows=2)) as opened:
        yield opened


def prompt_of(length: int = 4, seed: int = 0) -> dict[str, Any]:
    return inputs_of(WRITER, drawn_prompts(WRITER, [length], seed))


@pytest.mark.parametrize(("rows", "memory"), [(1, None), (2, None), (8, 6500)])
def test_requests_begin_in_the_order_in_which_they_come(bundle: Path, rows: int, memory: int | None) -> None:
    """One that needs much memory, and waits for it, is not overtaken by those that would fit beside what runs."""
    begun: list[int] = []
    together: list[int] = []
    with open_generator(bundle, "cpu", threads=1, requests=RequestLimits(rows, memory=memory)) as opened:
        opened._turns.take()
        requests = []
        for number in range(12):
            options = GenerateOptions(30 if number % 4 == 1 else 3 + number % 5)

            def tell(token: int, number: int = number) -> None:
                together.append(opened._server._slots.rows)
                if number not in begun:
                    begun.append(number)

            requests.append(opened.submit(prompt_of(seed=number), options, tell))
        opened._turns.give()
        for request in requests:
            request.result(60)
    assert begun == list(range(12))
    assert 1 <= max(together) <= rows and (memory is None or 1 < max(together) < 8)


def test_a_call_of_generate_has_its_turn_while_requests_keep_coming(generator: Generator) -> None:
    """There is always one under way: the first token of each submits the next."""
    stop, begun = threading.Event(), [0]

    def another() -> None:
        first = [True]

        def tell(token: int) -> None:
            if first.pop() and not stop.is_set():
                begun[0] += 1
                another()
            first.append(False)

        generator.submit(prompt_of(), GenerateOptions(8), tell)

    another()
    while begun[0] < 3:
        time.sleep(0.001)
    caller = threading.Thread(target=generator.generate, args=(prompt_of(), GenerateOptions(5)))
    caller.start()
    caller.join(20)
    waited = caller.is_alive()
    stop.set()
    caller.join()
    assert not waited


def test_requests_go_on_while_calls_of_generate_keep_coming(generator: Generator) -> None:
    """For as long together as they waited: a step between two calls would be next to nothing."""
    stop = threading.Event()
    calls: list[int] = []

    def keep_coming(number: int) -> None:
        while number and not stop.is_set():
            generator.generate(prompt_of(), GenerateOptions(30))
            calls.append(number)
        if not number:
            while len(calls) < 3:
                time.sleep(0.001)
            before = len(calls)
            for _ in range(3):
                generator.submit(prompt_of(), GenerateOptions(30)).result(60)
            calls.append(-(len(calls) - before))
            stop.set()

    assert not in_threads(4, keep_coming)
    assert -min(calls) <= 30, "three requests of 30 tokens waited for more than ten calls each"


def test_turns_are_had_in_the_order_in_which_they_were_asked_for() -> None:
    turns, had = Turns(), list[int]()
    turns.take()
    assert turns.mine and not turns.wanted

    def take(number: int) -> None:
        turns.take()
        had.append(number)
        turns.give()

    threads = []
    for number in range(6):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        while len(turns._waiting) <= number:
            time.sleep(0.001)
    assert turns.wanted
    turns.give()
    for thread in threads:
        thread.join(60)
    assert had == list(range(6)) and not turns.mine
    turns.take()
    turns.give()
