"""Requests that come and go beside one another: each gets what it gets alone."""

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
from attn_runtime.errors import BackendError, InputError, UsageError
from attn_runtime.generate import Generated, GenerateOptions, Generator, RequestLimits, Sample, open_generator
from attn_runtime.generate.graphs import Slots
from support.checks.threads import in_threads
from support.checks.time_limit import end_after
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of, write_bundle

TRANSLATOR = Tiny(sharpness=4.0)
WRITER = Tiny(encoder=False, key_heads=1, sharpness=4.0, extend=True)  # long prompts are read in slices


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("requests") / "tiny.attn", tiny)


@pytest.fixture
def generator(bundle: Path) -> Iterator[Generator]:
    with open_generator(bundle, "cpu", threads=1, requests=RequestLimits(rows=3)) as opened:
        yield opened


def prompt_of(tiny: Tiny, length: int = 4, seed: int = 0) -> dict[str, Any]:
    return inputs_of(tiny, drawn_prompts(tiny, [length], seed))


def drawn_options(rng: random.Random) -> GenerateOptions:
    sample = Sample(rng.choice([0.7, 1.3]), rng.choice([None, 5]), rng.choice([None, 0.9]), seed=rng.randrange(1000))
    return GenerateOptions(
        max_length=rng.choice([None, 0, 1, 3, 9, 20]),
        scores=rng.random() < 0.5,
        sample=sample if rng.random() < 0.4 else None,
        stop=rng.choice([None, (), (3, 5)]),
        min_length=rng.choice([None, 4]),
        repetition_penalty=rng.choice([None, 1.5]),
        no_repeat_ngram=rng.choice([None, 2]),
    )


def same(found: Generated, alone: Generated) -> None:
    assert found.row(0) == alone.row(0) and found.stopped == alone.stopped and found.steps == alone.steps
    assert (found.scores is None) == (alone.scores is None)
    if found.scores is not None:
        np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-4)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 12))])
def test_each_gets_what_it_gets_alone(bundle: Path, tiny: Tiny, seed: int) -> None:
    """Whenever it comes, however long it and the others are, whatever they ask for, and whoever of them leaves early."""
    rng = random.Random(seed)
    limits = RequestLimits(rows=rng.choice([1, 2, 5, 8]), memory=rng.choice([None, 60_000]))
    asked = [(prompt_of(tiny, rng.randint(1, 20), n), drawn_options(rng)) for n in range(24)]
    pauses = [rng.choice([0, 0, 0.001, 0.01]) for _ in asked]
    leaves = [rng.choice([None, None, None, 1, 4]) for _ in asked]
    with open_generator(bundle, "cpu", threads=1, requests=limits) as opened:
        alone = [opened.generate(*each) for each in asked]

        def ask(part: int) -> None:
            for number in range(part, len(asked), 6):
                time.sleep(pauses[number])
                request = opened.submit(*asked[number])
                tokens = []
                for token in request:
                    tokens.append(token)
                    if len(tokens) == leaves[number]:
                        request.cancel()
                found, whole = request.result(60), alone[number]
                assert found.row(0) == request.tokens == tokens
                if found.cancelled:
                    assert tokens == whole.row(0)[: len(tokens)] and len(tokens) >= (leaves[number] or 99)
                else:
                    same(found, whole)

        def generate() -> None:
            for number in range(0, len(asked), 5):
                same(opened.generate(*asked[number]), alone[number])

        assert not in_threads(7, lambda part: ask(part) if part < 6 else generate())
        thread = opened._server._thread
        if thread is not None:
            thread.join(10)
        assert opened._server._thread is None, "a thread stays though nothing is to be done"


def test_tokens_are_told_as_they_come(generator: Generator, tiny: Tiny) -> None:
    told: list[int] = []
    there = []
    read = threading.Event()

    def on_token(token: int) -> None:
        told.append(token)
        if len(told) == 6:  # a thread that reads may get no processor while all twelve are written
            assert read.wait(60), "no token was there before the sixth was told"

    request = generator.submit(prompt_of(tiny), GenerateOptions(12, stop=()), on_token=on_token)
    for _ in request:
        there.append(len(request.tokens))
        read.set()
    assert told == request.tokens == request.result().row(0) and len(told) == 12 and request.done
    assert there[0] < 12, "the first token came with the last"


def test_what_is_asked_is_copied(generator: Generator, tiny: Tiny) -> None:
    inputs = prompt_of(tiny, 9)
    alone = generator.generate(inputs)
    generator._turns.take()
    request = generator.submit(inputs)
    for array in inputs.values():
        array[...] = 0
    generator._turns.give()
    same(request.result(60), alone)


def test_what_can_not_be_is_refused_at_once(bundle: Path, tiny: Tiny) -> None:
    memory = 9000 if tiny.encoder else 5000
    with open_generator(bundle, "cpu", threads=1, requests=RequestLimits(2, 1, memory)) as opened:
        with pytest.raises(
            UsageError, match=r"4 beams, expected one; take GenerateOptions\(beams=1\), or call generate"
        ):
            opened.submit(prompt_of(tiny), GenerateOptions(beams=4))
        with pytest.raises(InputError, match="2 rows, expected one; submit a request for each"):
            opened.submit(inputs_of(tiny, drawn_prompts(tiny, [3, 4])))
        with pytest.raises(UsageError, match="deadline"):
            opened.submit(prompt_of(tiny), deadline=-1.0)
        with pytest.raises(UsageError, match="on_token"):
            opened.submit(prompt_of(tiny), on_token=lambda row, token: None)  # type: ignore[arg-type, misc]
        with pytest.raises(InputError, match="bytes; the memory of requests is .000: give a lower max_length"):
            opened.submit(prompt_of(tiny, 20), GenerateOptions(None, stop=()))
        opened._turns.take()
        try:
            requests = [opened.submit(prompt_of(tiny), GenerateOptions(2)) for _ in range(3)]
            with pytest.raises(UsageError, match=r"3 requests are there already, expected 2 under way and 1 waiting"):
                opened.submit(prompt_of(tiny), GenerateOptions(2))
            requests[1].cancel()
            requests.append(opened.submit(prompt_of(tiny), GenerateOptions(2)))
        finally:
            opened._turns.give()
        assert [request.result(60).lengths.tolist() for request in requests] == [[2], [0], [2], [2]]
    with pytest.raises(UsageError, match="closed"):
        opened.submit(prompt_of(tiny))
    for wrong in ({"rows": 0}, {"waiting": -1}, {"memory": 0.5}, {"rows": None}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            RequestLimits(**wrong)


def test_a_deadline_ends_what_waits_and_what_runs(generator: Generator, tiny: Tiny) -> None:
    generator._turns.take()
    try:
        waits = generator.submit(prompt_of(tiny), deadline=0.05)
        found = waits.result(60)  # whoever waits sees to it, though the graphs are another's
    finally:
        generator._turns.give()
    assert found.stopped == ("deadline",) and found.lengths.tolist() == [0] and not list(waits)
    options = GenerateOptions(30, stop=())
    alone = generator.generate(prompt_of(tiny), options)
    slow = generator.submit(prompt_of(tiny), options, on_token=lambda _: time.sleep(0.05), deadline=0.3)
    found = slow.result(60)
    assert found.stopped == ("deadline",) and 1 <= len(found.row(0)) < 30
    assert found.row(0) == alone.row(0)[: len(found.row(0))]
    with pytest.raises(TimeoutError, match="goes on; cancel it"):
        generator.submit(prompt_of(tiny), options, on_token=lambda _: time.sleep(0.02)).result(0.01)


def test_what_on_token_raises_is_its_own_requests_alone(generator: Generator, tiny: Tiny) -> None:
    options = GenerateOptions(8, stop=())
    alone = generator.generate(prompt_of(tiny), options)

    def refuse(token: int) -> None:
        raise KeyError("mine")

    bad = generator.submit(prompt_of(tiny), options, on_token=refuse)
    good = generator.submit(prompt_of(tiny), options)
    with pytest.raises(KeyError, match="mine"):
        bad.result(60)
    with pytest.raises(KeyError, match="mine"):
        list(bad)
    same(good.result(60), alone)


def test_what_on_token_may_call(generator: Generator, tiny: Tiny) -> None:
    """A further request, but nothing that the thread would wait for."""
    inner: list[Any] = []
    errors: list[BaseException] = []

    def call(token: int) -> None:
        if inner:
            return
        inner.append(generator.submit(prompt_of(tiny), GenerateOptions(3, stop=())))
        for wait in (inner[0].result, lambda: generator.generate(prompt_of(tiny)), generator.close):
            with pytest.raises(UsageError) as caught:
                wait()
            errors.append(caught.value)

    generator.submit(prompt_of(tiny), GenerateOptions(3, stop=()), on_token=call).result(60)
    assert ["on_token" in str(error) for error in errors] == [True] * 3
    assert inner[0].result(60).lengths.tolist() == [3]


def test_numbers_that_are_none_are_their_own_rows_alone(
    generator: Generator, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the row that comes after it in the same buffers reads nothing of it."""
    options, step, prompts = GenerateOptions(12, stop=()), Slots.step, [prompt_of(tiny, 5, seed) for seed in range(4)]
    alone = [generator.generate(prompt, options) for prompt in prompts]

    def spoilt(self: Slots, tokens: Any) -> Any:
        logits = step(self, tokens)
        if self.rows == 3 and not done:
            done.append(1)
            assert self._buffers is not None
            for part in self._buffers.cache.past.by_name.values():
                part[1, :, : self.places[1]] = np.nan
            logits[1] = np.nan
        return logits

    done: list[int] = []
    monkeypatch.setattr(Slots, "step", spoilt)
    requests = [generator.submit(prompt, options) for prompt in prompts]
    with pytest.raises(BackendError, match="logits of row 0 are nan"):
        requests[1].result(60)
    for number in (0, 2, 3):
        same(requests[number].result(60), alone[number])


def test_closing_ends_what_is_under_way_and_what_waits(bundle: Path, tiny: Tiny) -> None:
    opened = open_generator(bundle, "cpu", threads=1, requests=RequestLimits(rows=1))
    running = threading.Event()

    def slow(token: int) -> None:
        running.set()
        time.sleep(0.02)

    requests = [opened.submit(prompt_of(tiny), GenerateOptions(30, stop=()), slow) for _ in range(3)]
    assert running.wait(60)
    opened.close()
    for request in requests:
        with pytest.raises(UsageError, match="was closed before the request had its answer; open another"):
            request.result(0)
    assert requests[0].tokens and not requests[2].tokens
    opened.close()


def test_in_the_child_of_a_fork_nobody_waits(generator: Generator, tiny: Tiny) -> None:
    go_on = threading.Event()
    request = generator.submit(prompt_of(tiny), on_token=lambda _: go_on.wait(60))
    pid = os.fork()
    if pid == 0:
        end_after(20)
        code = 42
        for call in (request.result, lambda: list(request), lambda: generator.submit(prompt_of(tiny))):
            try:
                call()
                code = 1
            except UsageError as error:
                code = code if "before a fork" in str(error) else 2
        generator.close()
        os._exit(code)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    finally:
        go_on.set()
    assert request.result(60).lengths.size == 1
