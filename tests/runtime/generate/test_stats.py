"""What a generator counts of its requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attn_runtime import GeneratorStats, prometheus_text
from attn_runtime.errors import InputError, UsageError
from attn_runtime.generate import GenerateOptions, Generator, RequestLimits, open_generator
from prometheus_client.parser import text_string_to_metric_families
from support.models import tiny_generators as tiny

WRITER = tiny.Tiny(layers=1, max_length=12, batch=8, encoder=False, seed=4, stop=())
PROMPTS = tiny.inputs_of(WRITER, [[3, 4, 5], [6, 7, 8]])
ONE = tiny.inputs_of(WRITER, [[3, 4, 5]])


@pytest.fixture
def generator(tmp_path: Path) -> Iterator[Generator]:
    bundle = tiny.write_bundle(tmp_path / "texts.attn", WRITER)
    with open_generator(bundle, "cpu", threads=1, requests=RequestLimits(rows=1, waiting=1)) as opened:
        yield opened


def test_calls_and_requests_are_counted(generator: Generator) -> None:
    assert generator.stats().tokens_per_second is None
    generator.generate(PROMPTS, GenerateOptions(4))
    generator.submit(ONE, GenerateOptions(5)).result()
    generator.generate(ONE, GenerateOptions(3, beams=2))
    found = settled(generator, 3)
    assert (found.requests, found.failed, found.cancelled) == (3, 0, 0)
    assert (found.rows, found.tokens) == (4, 2 * 4 + 5 + 3) and (found.running, found.waiting) == (0, 0)
    assert found.request_latencies.count == found.first_token_latencies.count == 3
    assert found.first_token_latencies.seconds < found.request_latencies.seconds
    assert found.tokens_per_second == pytest.approx(found.tokens / found.writing_seconds)
    assert found.writing_seconds >= found.request_latencies.longest


def settled(generator: Generator, requests: int) -> GeneratorStats:
    """A request's answer may be read a moment before it is counted, by the thread that writes it."""
    while (found := generator.stats()).requests < requests:
        time.sleep(0.001)
    return found


def test_failed_refused_and_cancelled_ones(generator: Generator) -> None:
    with pytest.raises(InputError):
        generator.generate({"tokens": np.zeros((1, 3), np.float32)})
    with pytest.raises(InputError):
        generator.submit(PROMPTS)
    generator.generate(PROMPTS, GenerateOptions(6), cancel=lambda: True)
    with generator._alone():
        first, second = generator.submit(ONE), generator.submit(ONE)
        with pytest.raises(UsageError, match="wait"):
            generator.submit(ONE)
        there = generator.stats()
        assert (there.running + there.waiting, there.failed) == (3 - 1, 3)
        first.cancel()
        second.cancel()
    found = settled(generator, 6)
    assert (found.failed, found.cancelled, found.rows) == (3, 3, 2 + 2)
    assert (found.running, found.waiting) == (0, 0)


def test_guesses_are_counted_and_prometheus_reads_it(tmp_path: Path) -> None:
    model = tiny.Tiny(layers=1, max_length=24, batch=2, encoder=False, seed=4, stop=(), extend=True)
    bundle = tiny.write_bundle(tmp_path / "guesses.attn", model)
    with open_generator(bundle, "cpu", threads=1) as generator:
        answer = generator.generate(tiny.inputs_of(model, [[3, 4, 3, 4, 3]]), GenerateOptions(12, lookup=3))
        found = generator.stats()
    assert (found.drafted, found.accepted) == (answer.drafted, answer.accepted) and found.drafted
    told = {f.name: f for f in text_string_to_metric_families(prometheus_text(found))}
    assert told["attn_generator_tokens"].samples[0].value == 12
    assert told["attn_generator_first_token_seconds"].type == "histogram"
    assert told["attn_generator_requests_waiting"].type == "gauge"
