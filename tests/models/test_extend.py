"""The graph that reads several tokens answers what steps answer, and is declared by what the step is declared to be."""

from __future__ import annotations

import pytest
import torch
from attn_models import registry
from attn_models.extend import MOST_TOKENS, extend_inputs, with_extend
from attn_models.spec import ModelSpec
from attn_models.zoo import lm, translator
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, named_dims
from support.generators.several_tokens import both_ways

VOCABULARY = 40
LM = lm.of_size(VOCABULARY, width=32, layers=2, heads=4, kv_heads=2, feed_forward=48, max_length=64)
TRANSLATOR = translator.of_size(VOCABULARY, width=32, heads=4, layers=2, feed_forward=48)


@pytest.mark.parametrize("model", [LM, TRANSLATOR], ids=lambda model: model.name)
@pytest.mark.parametrize(("prompt", "count"), [(1, 7), (4, 2), (9, 5)])
def test_several_tokens_at_once_are_what_steps_answer(model: ModelSpec, prompt: int, count: int) -> None:
    torch.manual_seed(0)
    module = model.build().double().eval()
    if model.wake:
        model.wake(module)
    source = torch.randint(3, VOCABULARY, (3, 6))
    given = {"source": source, "source_mask": torch.arange(6) < torch.tensor([[6], [2], [4]])}
    tokens = torch.randint(3, VOCABULARY, (3, prompt + count))
    found, wanted = both_ways(with_extend(model), module, given, tokens, prompt, 16)
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other)


def test_it_is_declared_by_the_step() -> None:
    graphs = {graph.name: graph for graph in with_extend(LM).graphs}
    extend, step = graphs["extend"], graphs["step"]
    assert [i.name for i in extend.inputs] == [i.name for i in step.inputs]
    assert [o.name for o in extend.outputs] == [o.name for o in step.outputs]
    dims = named_dims(extend.inputs)
    assert (dims["count"].min, dims["count"].max) == (1, MOST_TOKENS)
    assert dims["cache"].min == MOST_TOKENS and dims["cache"].max == named_dims(step.inputs)["cache"].max
    assert dims["batch"] == named_dims(step.inputs)["batch"]
    position = next(i for i in extend.inputs if i.name == "position")
    assert position.high == 64 - MOST_TOKENS + 1, "the last of the tokens has a place as well"
    assert [o.dims[1].name for o in extend.outputs if o.name == "logits"] == ["count"]
    assert {o.dims[2].name for o in extend.outputs if o.name != "logits"} == {"count"}


def test_a_small_cache_takes_fewer_tokens_and_a_range_that_was_asked_for_stays() -> None:
    small = lm.of_size(VOCABULARY, width=32, layers=1, heads=4, kv_heads=2, feed_forward=48, max_length=6)
    step = next(graph for graph in small.graphs if graph.name == "step")
    dims = named_dims(extend_inputs(step.inputs))
    assert (dims["count"].max, dims["cache"].min, dims["cache"].max) == (6, 6, 8)
    asked = named_dims(extend_inputs(step.inputs, Dim("count", 1, 2, 3)))
    assert (asked["count"].max, asked["cache"].min) == (3, 3)


def test_a_model_without_one_says_so() -> None:
    with pytest.raises(UsageError, match='vit can\'t have a graph "extend": it does not write token by token'):
        with_extend(registry.get("vit"))
