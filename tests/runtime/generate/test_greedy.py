"""Whole answers, held against numpy that computes every token anew."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.errors import UsageError
from attn_runtime.generate import GenerateOptions, Generator, open_generator
from attn_runtime.generate.greedy import Given
from support.checks.time_limit import end_after
from support.models.tiny_generators import Tiny, drawn_prompts, greedy_of, inputs_of, write_bundle

TRANSLATOR = Tiny()
WRITER = Tiny(encoder=False, key_heads=1)
LENGTHS = [5, 3, 9, 1]


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("greedy") / "tiny.attn", tiny)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def generator(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Generator]:
    with open_generator(bundle, "cpu", precision=request.param, threads=1) as opened:
        yield opened


def room(tiny: Tiny, prompt: list[int]) -> int:
    return tiny.max_length - (1 if tiny.encoder else len(prompt))


def test_a_padded_batch_answers_what_no_cache_would(generator: Generator, tiny: Tiny) -> None:
    prompts = drawn_prompts(tiny, LENGTHS)
    found = generator.generate(inputs_of(tiny, prompts))
    wanted = [greedy_of(tiny, prompt, room(tiny, prompt)) for prompt in prompts]
    assert [found.row(n) for n in range(len(prompts))] == wanted
    assert max(map(len, wanted)) > 32, "the cache has to grow for this to say anything"
    assert found.tokens.dtype == np.int64 and found.lengths.tolist() == [len(row) for row in wanted]
    assert list(found.stopped) == ["stop" if row[-1] in tiny.stop else "length" for row in wanted]


def test_a_row_alone_answers_as_in_the_batch(generator: Generator, tiny: Tiny) -> None:
    prompts = drawn_prompts(tiny, LENGTHS, seed=1)
    options = GenerateOptions(scores=True)
    together = generator.generate(inputs_of(tiny, prompts), options)
    assert together.scores is not None
    for number, prompt in enumerate(prompts):
        alone = generator.generate(inputs_of(tiny, [prompt]), options)
        assert alone.row(0) == together.row(number) and alone.scores is not None
        np.testing.assert_allclose(alone.scores[0], together.scores[number], rtol=1e-3)


def test_what_lies_behind_an_answer_is_padding_even_where_padding_stops_one(generator: Generator, tiny: Tiny) -> None:
    """Many models have one token for both."""
    prompts = drawn_prompts(tiny, LENGTHS)
    for stop in ([0], [5, 0], [7]):
        found = generator.generate(inputs_of(tiny, prompts), GenerateOptions(stop=stop))
        for number, prompt in enumerate(prompts):
            wanted = greedy_of(replace(tiny, stop=tuple(stop)), prompt, room(tiny, prompt))
            assert found.row(number) == wanted
            assert (found.tokens[number, len(wanted) :] == 0).all()
            assert found.stopped[number] == ("stop" if wanted[-1] in stop else "length")
        assert len(set(found.lengths.tolist())) > 1


def test_a_generator_that_was_opened_before_a_fork_is_refused_in_the_child(bundle: Path, tiny: Tiny) -> None:
    """Its threads are the parent's, and whoever holds its lock, too: the child would wait for ever."""
    prompts = inputs_of(tiny, drawn_prompts(tiny, [3]))
    with open_generator(bundle, "cpu", threads=1) as opened:
        running, go_on = threading.Event(), threading.Event()

        def hold(row: int, token: int) -> None:
            running.set()
            go_on.wait(60)

        thread = threading.Thread(target=opened.generate, args=(prompts,), kwargs={"on_token": hold})
        thread.start()
        assert running.wait(60)
        pid = os.fork()
        if pid == 0:
            end_after(20)  # and the parent sees no exit code of ours
            code = 1
            try:
                opened.generate(prompts)
            except UsageError as error:
                code = 42 if "before a fork; open it after the fork" in str(error) else 2
            finally:
                opened.close()
                os._exit(code)
        try:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
        finally:
            go_on.set()
            thread.join()
        assert opened.generate(prompts).lengths.size == 1


def test_an_answer_that_is_given_is_followed(generator: Generator, tiny: Tiny) -> None:
    """Each of its tokens behind the given ones before it: those are its own that it would have chosen there."""
    inputs = inputs_of(tiny, drawn_prompts(tiny, LENGTHS))
    found = generator.generate(inputs, GenerateOptions(8, stop=(), scores=True))
    assert found.scores is not None
    followed = generator.follow(inputs, found.tokens, found.lengths, max_length=8)
    assert followed.own.dtype == np.int64 and followed.own.tolist() == [8] * len(LENGTHS) and not followed.behind.any()
    np.testing.assert_allclose(followed.scores, found.scores, rtol=1e-6)
    other = found.tokens.copy()
    other[1, -1] = 3 if other[1, -1] != 3 else 4
    followed = generator.follow(inputs, other, np.array([8, 8, 5, 0]))
    assert followed.own.tolist() == [8, 7, 5, 0] and (followed.behind > 0).tolist() == [False, True, False, False]


def test_what_is_behind_the_end_of_a_given_answer_does_not_count() -> None:
    """Padding may be the likeliest token there."""
    given = Given(np.array([[1, 0], [1, 0]]))
    logits = np.array([[0.0, 2.0], [0.5, 0.0]])
    assert given(logits, np.array([True, True])).tolist() == [1, 1]
    assert given(logits[[1, 1]], np.array([True, False])).tolist() == [0, 0]
    assert given.own.tolist() == [2, 0] and given.behind.tolist() == [0.0, 0.5]
