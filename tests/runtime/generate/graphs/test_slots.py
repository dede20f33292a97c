"""Rows that join and leave, in any order: each reads what it reads alone, in buffers that stay within their bound."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from attn_runtime.generate import Generator, open_generator
from attn_runtime.generate.graphs import Shape, Slots, StepGraphs
from attn_runtime.generate.graphs.buffers import HostStack
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of, write_bundle

TRANSLATOR = Tiny(stop=(), max_length=70)
WRITER = Tiny(encoder=False, key_heads=1, stop=(), max_length=70)


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def generator(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    path = write_bundle(tmp_path_factory.mktemp("slots") / "tiny.attn", tiny)
    with open_generator(path, "cpu", threads=1) as opened:
        yield opened


@dataclass
class Row:
    """One that runs in the slots and, by itself, in graphs of its own."""

    alone: StepGraphs
    logits: Any
    length: int
    shapes: Any

    @property
    def token(self) -> int:
        return int(self.logits[0].argmax())


def read(generator: Generator, tiny: Tiny, length: int, seed: int) -> Row:
    inputs = inputs_of(tiny, drawn_prompts(tiny, [length], seed))
    source, tokens = (inputs, np.array([[tiny.begin]])) if tiny.encoder else ({}, inputs["tokens"])
    shape = Shape(1, 1, tokens.shape[1], tuple((name, value.shape) for name, value in source.items()))
    assert generator._sessions is not None
    alone = StepGraphs(generator.wiring, generator._sessions, shape, generator._memory)
    logits = alone.start(source, tokens, [tokens.shape[1]])
    slots = slots_of(generator)
    return Row(alone, logits, tokens.shape[1], slots.carried.shapes_of(source))


def slots_of(generator: Generator, most: int = 5, most_bytes: int | None = None) -> Slots:
    assert generator._sessions is not None
    return Slots(generator.wiring, generator._sessions.step, generator._memory, most, most_bytes)


def join(slots: Slots, row: Row) -> None:
    slots.join(row.alone.prompt, row.alone.carried, row.length, row.shapes)


@pytest.mark.parametrize("most_bytes", [None, 120_000])
def test_rows_join_and_leave(generator: Generator, tiny: Tiny, most_bytes: int | None) -> None:
    rng, slots, rows = random.Random(1), slots_of(generator, most_bytes=most_bytes), list[Row]()
    capacities = set()
    for turn in range(220):
        needs = [69] * (len(rows) + 1)
        if rng.random() < 0.3 and len(rows) < 5:
            row = read(generator, tiny, rng.choice([1, 3, 7, 18, 40]), turn)
            if slots.fit(needs, [*(each.shapes for each in rows), row.shapes]):
                join(slots, row)
                rows.append(row)
        for number in reversed(range(len(rows))):
            if slots.places[number] == 69 or rng.random() < 0.02:
                slots.leave(number)
                rows[number] = rows[-1]
                rows.pop()
        if not rows:
            continue
        found = slots.step([row.token for row in rows])
        for number, row in enumerate(rows):
            row.logits = row.alone.advance(np.array([row.token]), np.array([True]))
            np.testing.assert_allclose(found[number], row.logits[0], rtol=2e-3, atol=2e-4)
        assert slots._buffers is not None
        room, cache = slots._buffers.room, slots._buffers.cache
        capacities.add((room.rows, room.entries))
        assert most_bytes is None or slots.nbytes(room) <= most_bytes
        mask = cache.mask
        for part in cache.past.by_name.values():
            assert not part.swapaxes(1, 2)[~mask].any(), "what is masked is not zero"
        assert mask.sum(1)[: len(rows)].tolist() == slots.places and not mask[len(rows) :].any()
    assert len({entries for _, entries in capacities}) >= 3 and {rows for rows, _ in capacities} >= {1, 2, 4}


def test_what_is_bound_is_bound_once(generator: Generator, tiny: Tiny) -> None:
    """A step of rows that were there before binds nothing and copies but the newest entries."""
    slots, row = slots_of(generator), read(generator, tiny, 5, 0)
    join(slots, row)
    slots.step([3])
    at = slots._buffers
    assert at is not None
    calls, moved = dict(at.calls), at.cache.past.moved
    slots.step([3])
    assert slots._buffers is at and at.calls == calls
    assert at.cache.past.moved - moved == 2 * tiny.layers * tiny.key_heads * tiny.head_size * 4
    assert calls[1].inputs["past_key_0"].shape[0] == 1, "a row alone pays for no other"


def test_who_is_left_does_not_pay_for_who_was_there(generator: Generator, tiny: Tiny) -> None:
    """Entries and rows that a quarter would do for are given up, and one that begins alone has no more than it needs."""
    slots = slots_of(generator)
    long, short = (read(generator, tiny, length, length) for length in (40, 3))
    for row, steps in ((long, 0 if not tiny.encoder else 39), (short, 0)):
        join(slots, row)
        for _ in range(steps):
            slots.step([3] * slots.rows)
    slots.step([3, 3])
    at = slots._buffers
    assert at is not None and at.room.entries == 64
    slots.leave(0)
    slots.step([3])
    at = slots._buffers
    assert at is not None and at.room.entries == 16
    slots.leave(0)
    join(slots, short)
    at = slots._buffers
    assert at is not None and at.room.entries == 16 and all(16 in shape for _, shape in at.room.carried)


@pytest.mark.parametrize("rows", [1, 7, 8, 20])
def test_the_newest_entries_go_each_to_its_place(rows: int) -> None:
    rng = np.random.default_rng(0)
    stacks = [HostStack(3, (rows + 2, 2, places, 4), "float32") for places in (9, 9, 1)]
    for stack in stacks:
        stack.whole[...] = rng.standard_normal(stack.whole.shape)
    one, each, new = stacks
    each.whole[...] = one.whole
    places = rng.integers(0, 9, rows).tolist()
    one.write_each(places, new)
    for row, place in enumerate(places):
        each.copy(row, place, new, row, 0, 1, 1)
    np.testing.assert_array_equal(one.whole, each.whole)
    assert one.moved == each.moved


def test_bytes_are_those_of_the_buffers(generator: Generator, tiny: Tiny) -> None:
    slots, row = slots_of(generator), read(generator, tiny, 5, 0)
    join(slots, row)
    at = slots._buffers
    assert at is not None
    arrays = [*at.cache.past.by_name.values(), *at.new.by_name.values(), *at.carried.values()]
    arrays += [at.cache.mask, at.token, at.position, at.logits]
    assert slots.nbytes(at.room) == sum(array.nbytes for array in arrays)
