"""That no step copies the past, and that a cache which is wrong in any way is noticed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.generate import GenerateOptions, Generator, open_generator
from attn_runtime.generate.graphs.kv_cache import Cache, capacity_for
from attn_runtime.generate.graphs.step_graphs import StepGraphs
from support.models.tiny_generators import Tiny, drawn_prompts, greedy_of, inputs_of, write_bundle

# Sharp enough that another cache gives other tokens; nothing stops an answer early.
TRANSLATOR = Tiny(stop=(), max_length=70, batch=16)
WRITER = Tiny(encoder=False, key_heads=1, stop=(), max_length=70, batch=16)
LENGTHS = [5, 3, 9]


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("cache") / "tiny.attn", tiny)


@pytest.fixture
def generator(bundle: Path) -> Iterator[Generator]:
    with open_generator(bundle, "cpu", threads=1) as opened:
        yield opened


def plan_of(generator: Generator) -> StepGraphs:
    return next(reversed(generator._plans.values()))


def each_step(generator: Generator, tiny: Tiny, look: Callable[[StepGraphs], Any], rows: int = 3) -> list[Any]:
    """What `look` sees at each step of a generation of as many tokens as there is room for."""
    seen: list[Any] = []
    inputs = inputs_of(tiny, drawn_prompts(tiny, LENGTHS[:rows]))
    last = rows - 1
    generator.generate(inputs, on_token=lambda row, _: seen.append(look(plan_of(generator))) if row == last else None)
    return seen


# --- no copy of the past ------------------------------------------------------------------------------------------


def test_the_step_reads_and_writes_the_same_addresses_while_the_capacity_stays(
    generator: Generator, tiny: Tiny
) -> None:
    def look(plan: StepGraphs) -> Any:
        arrays = {**plan._step.inputs, **plan._step.outputs}
        return plan._cache.capacity, tuple((name, array.ctypes.data) for name, array in arrays.items())

    seen = each_step(generator, tiny, look)
    capacities = [capacity for capacity, _ in seen]
    assert len(seen) > 60 and capacities == sorted(capacities) and set(capacities) == {16, 32, 64, 70}
    assert len(set(seen)) == 4, "one set of addresses for each capacity"
    kept = [{pair for pair in addresses if not pair[0].startswith("past_")} for _, addresses in seen]
    assert all(each == kept[0] for each in kept), "all but the past stays where it is when the cache grows"


def test_what_one_graph_writes_the_next_one_reads_in_place(generator: Generator, tiny: Tiny) -> None:
    generator.generate(inputs_of(tiny, drawn_prompts(tiny, LENGTHS)), GenerateOptions(2))
    plan = plan_of(generator)
    if tiny.encoder:
        assert plan._encoder is not None
        assert plan._encoder.outputs["memory"] is plan._first.inputs["memory"]
        for name in ("cross_key_0", "cross_value_1"):
            assert plan._first.outputs[name] is plan._step.inputs[name]
        assert plan._encoder.inputs["source_mask"] is plan._step.inputs["source_mask"]
    assert plan._cache.past.by_name["key_1"] is plan._step.inputs["past_key_1"]
    assert plan._cache.mask is plan._step.inputs["past_mask"]


def test_a_step_writes_one_entry_a_row_however_long_the_past_is(generator: Generator, tiny: Tiny) -> None:
    one = 2 * tiny.layers * tiny.key_heads * tiny.head_size * 4
    seen = each_step(generator, tiny, lambda plan: (plan._cache.capacity, plan._cache.past.moved))
    written = [b[1] - a[1] for a, b in itertools.pairwise(seen) if a[0] == b[0]]
    assert len(written) > 50 and written[0] == 0, "the entry of a step is written when the next one begins"
    assert set(written[1:]) == {3 * one}


def test_growing_copies_less_than_there_are_entries_in_the_end(generator: Generator, tiny: Tiny) -> None:
    each_step(generator, tiny, lambda plan: None, rows=1)
    entry = 2 * tiny.layers * tiny.key_heads * tiny.head_size * 4
    moved = [cache.past.moved // entry for cache, _ in plan_of(generator)._steps.values()]
    assert sum(moved) <= tiny.max_length + 16 + 32 + 64


@pytest.mark.parametrize(
    ("entries", "allowed", "capacity"),
    [
        (1, (1, 512), 16),
        (16, (1, 512), 16),
        (17, (1, 512), 32),
        (400, (1, 500), 500),
        (3, (64, 64), 64),
        (2, (1, 8), 8),
    ],
)
def test_capacities_are_powers_of_two_within_what_the_graph_takes(
    entries: int, allowed: tuple[int, int], capacity: int
) -> None:
    assert capacity_for(entries, allowed) == capacity


def test_reordering_copies_only_what_changes(generator: Generator, tiny: Tiny) -> None:
    generator.generate(inputs_of(tiny, drawn_prompts(tiny, LENGTHS)), GenerateOptions(2))
    cache = plan_of(generator)._cache
    (stack,) = cache.past.stacks
    whole: np.ndarray = stack.whole  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    for parents, firsts in itertools.product(([0, 1, 2], [0, 0, 2], [1, 2, 0], [2, 2, 2]), ([0, 0, 0], [4, 1, 6])):
        whole[...] = rng.standard_normal(whole.shape)
        before, moved = whole.copy(), cache.past.moved
        cache.reorder(parents, firsts, [6] * 3)
        for row, (parent, first) in enumerate(zip(parents, firsts, strict=True)):
            np.testing.assert_array_equal(whole[:, row, :, first:6], before[:, parent, :, first:6])
            np.testing.assert_array_equal(whole[:, row, :, :first], before[:, row, :, :first])
            np.testing.assert_array_equal(whole[:, row, :, 6:], before[:, row, :, 6:])
        changed = sum(6 - first for row, first in enumerate(firsts) if parents[row] != row)
        entry = 2 * tiny.layers * tiny.key_heads * tiny.head_size * 4
        assert cache.past.moved - moved == changed * entry, "the spare row's is not counted here"


# --- a wrong cache gives wrong answers ----------------------------------------------------------------------------


def answers(generator: Generator, tiny: Tiny) -> list[list[int]]:
    found = generator.generate(inputs_of(tiny, drawn_prompts(tiny, LENGTHS)), GenerateOptions(40))
    return [found.row(n) for n in range(len(LENGTHS))]


def wanted(tiny: Tiny) -> list[list[int]]:
    return [greedy_of(tiny, prompt, 40) for prompt in drawn_prompts(tiny, LENGTHS)]


def test_without_harm_the_answers_are_right(generator: Generator, tiny: Tiny) -> None:
    assert answers(generator, tiny) == wanted(tiny)


def lost(put: Callable[..., None]) -> Callable[..., None]:
    return lambda cache, *place: put(cache, *place) if place[-1] != 12 else None


def one_beside(put: Callable[..., None]) -> Callable[..., None]:
    return lambda cache, *place: put(cache, *place[:-1], place[-1] - 1)


def without_mask(put: Callable[..., None]) -> Callable[..., None]:
    def damaged(cache: Cache, *rest: Any) -> None:
        put(cache, *rest)
        cache.mask[:, 9:12] = False

    return damaged


def forgets(put: Callable[..., None]) -> Callable[..., None]:
    def damaged(cache: Cache, smaller: Cache) -> None:
        put(cache, smaller)
        cache.past.clear()

    return damaged


@pytest.mark.parametrize(
    ("method", "harm"),
    [("put", lost), ("put", one_beside), ("put", without_mask), ("take_over", forgets)],
)
def test_a_damaged_cache_is_noticed(
    generator: Generator, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, method: str, harm: Any
) -> None:
    for name in (method, "put_row") if method == "put" else (method,):
        monkeypatch.setattr(Cache, name, harm(getattr(Cache, name)))
    assert answers(generator, tiny) != wanted(tiny)


def test_padding_that_is_not_masked_is_noticed(
    generator: Generator, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiny.encoder:
        pytest.skip("the prompt is one token: there is no padding")
    put = Cache.put_prompt

    def damaged(cache: Cache, prompt: Any, lengths: list[int], copies: int) -> None:
        put(cache, prompt, [max(lengths)] * len(lengths), copies)

    monkeypatch.setattr(Cache, "put_prompt", damaged)
    assert answers(generator, tiny) != wanted(tiny)


def test_what_an_earlier_generation_left_means_nothing(generator: Generator, tiny: Tiny) -> None:
    """Not even a NaN: what is masked has the weight 0, and 0 times NaN is NaN."""
    answers(generator, tiny)
    for cache, _ in plan_of(generator)._steps.values():
        for array in cache.past.by_name.values():
            array[...] = np.nan
        cache.mask[...] = True
    assert answers(generator, tiny) == wanted(tiny)


def test_buffers_are_kept_for_a_few_shapes(generator: Generator, tiny: Tiny) -> None:
    for rows in range(1, 8):
        generator.generate(inputs_of(tiny, drawn_prompts(tiny, [3] * rows)), GenerateOptions(2))
    assert [shape.rows for shape in generator._plans] == [4, 5, 6, 7]
    generator.generate(inputs_of(tiny, drawn_prompts(tiny, [3] * 5)), GenerateOptions(2))
    assert [shape.rows for shape in generator._plans] == [4, 6, 7, 5]
