"""A prompt that is read in slices leaves what one that is read at once does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.generate import Generator, open_generator
from attn_runtime.generate.graphs import PromptSlices, Shape, StepGraphs
from support.models.tiny_generators import Tiny, drawn_prompts, write_bundle

WRITER = Tiny(encoder=False, extend=True, key_heads=1)
SIZE = 8  # tokens that its `extend` reads


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    path: Path = write_bundle(tmp_path_factory.mktemp("slices") / "tiny.attn", WRITER)
    with open_generator(path, "cpu", "ort", threads=1) as opened:
        yield opened


def test_entries_and_logits_are_those_of_one_reading(generator: Generator) -> None:
    """Whatever the length, on buffers of earlier prompts, of which nothing is left."""
    assert generator._sessions is not None
    parts = generator.wiring, generator._sessions, generator._memory
    slices = PromptSlices(*parts)
    for length in (9, 16, 17, 38, 24, 10, 33):
        tokens = np.array(drawn_prompts(WRITER, [length], length), np.int64)
        count = slices.first(length)
        assert 1 <= count <= SIZE and (length - count) % SIZE == 0
        whole, begun = (StepGraphs(parts[0], parts[1], Shape(1, 1, width, ()), parts[2]) for width in (length, count))
        wanted = whole.read({}, tokens, [length])
        begun.read({}, tokens[:, :count], [count])
        slices.begin(begun.prompt, count, length)
        while slices.place < length:
            found = slices.read(tokens)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        for name, part in whole.prompt.by_name.items():
            np.testing.assert_allclose(slices.prompt.by_name[name][:, :, :length], part, rtol=1e-4, atol=1e-5)
        for part in slices.prompt.by_name.values():
            part[...] = np.nan


def test_a_short_prompt_is_one_slice(generator: Generator) -> None:
    assert generator._sessions is not None
    slices = PromptSlices(generator.wiring, generator._sessions, generator._memory)
    assert [slices.first(length) for length in (1, 7, 8, 9)] == [1, 7, 8, 1]
