"""Several tokens at once, through a cache, are answered as the model answers them, for every form of attention that is met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export import ExportOptions, export
from attn_export.huggingface.generators import generator_spec
from attn_export.huggingface.generators.probe import extend_view
from attn_export.huggingface.generators.spec import within_the_cache
from attn_export.huggingface.generators.takeover import attend
from attn_models.extend import with_extend
from attn_runtime import GenerateOptions, open_generator
from attn_runtime.errors import UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.tasks import verify
from support.generators.several_tokens import both_ways
from support.huggingface.tiny_pretrained import tiny_model

# Windows and chunks that are shorter than what is read, so that a new token does not see all that are new.
CHANGES: dict[str, dict[str, Any]] = {"gemma2": {"sliding_window": 3}, "gpt_oss": {"sliding_window": 3}}
FEW = ("llama", "gemma2", "bloom", "gpt_neo", "t5")
MORE = ("gpt2", "gpt_oss", "deepseek_v3", "roberta", "mpt", "marian", "bart", "whisper")


@pytest.mark.parametrize("kind", [*FEW, *(pytest.param(kind, marks=pytest.mark.full) for kind in MORE)])
def test_several_tokens_at_once_are_what_steps_answer(kind: str) -> None:
    model = tiny_model(kind, **CHANGES.get(kind, {}))
    spec = with_extend(generator_spec(model, max_length=64))
    torch.manual_seed(1)
    encoder = spec.graphs[0].inputs if spec.graphs[0].name == "encoder" else ()
    source = {}
    for given in encoder:
        shape = (2, *(d.opt for d in given.dims[1:]))
        masks = {"bool": torch.ones(shape, dtype=torch.bool), "int64": torch.randint(3, int(given.high or 4), shape)}
        source[given.name] = masks.get(given.dtype, torch.randn(shape))
    vocabulary = spec.graphs[-1].outputs[0].dims[-1].opt
    tokens = torch.randint(3, vocabulary, (2, 11))
    found, wanted = both_ways(spec, model, source, tokens, 5, 16)
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_drawn_inputs_leave_a_place_for_every_token() -> None:
    *_, extend = with_extend(generator_spec(tiny_model("llama"), max_length=64)).graphs
    drawn = within_the_cache(draw_inputs(extend.inputs, {"batch": 40, "count": 9, "cache": 20}, 3))
    assert drawn["position"].max() <= 20 - 9 and len(np.unique(drawn["position"])) > 5
    assert (drawn["past_mask"].sum(1) <= drawn["position"][:, 0]).all() and drawn["past_mask"].any()


def last_is_no_number(mixed: torch.Tensor) -> torch.Tensor:
    mixed[:, -1] = torch.nan
    return mixed


@pytest.mark.parametrize("wrong", [lambda mixed: mixed.flip(1), last_is_no_number])
def test_a_model_that_answers_several_tokens_otherwise_is_refused(
    wrong: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama", num_hidden_layers=1)
    spec = generator_spec(model, max_length=64)
    assert spec.generation is not None and spec.generation.extend is not None
    plan = spec.generation.extend.view(model).plan
    right = attend._over_the_past_and_new
    monkeypatch.setattr(attend, "_over_the_past_and_new", lambda *given: wrong(right(*given)))
    with pytest.raises(UsageError, match="several tokens at once, through a cache, are answered otherwise"):
        extend_view(model, plan, 97)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["llama", "gemma2", "t5"])
def test_an_export_with_it_writes_the_greedy_tokens(tmp_path: Path, kind: str) -> None:
    from attn_export.source import load_source

    source = load_source(
        "support.huggingface.tiny_pretrained:spec",
        config=[f"kind={kind}", f"layers={2 if kind == 'gemma2' else 1}"],  # gemma2's two are of two kinds
        dims=["batch=1:2:4"],
        extend=True,
    )
    path = export(source, tmp_path / f"{kind}.attn", options=ExportOptions(sweep=0)).path
    assert verify(path).passed
    with open_generator(path, "cpu", threads=1) as generator:
        encoder = generator.wiring.encoder is not None
        tokens = torch.tensor([[5, 6, 7, 8, 5, 6, 7, 8, 5, 6]]).numpy()
        inputs = {"source": tokens, "source_mask": tokens > 0} if encoder else {"tokens": tokens}
        found = generator.generate(inputs, GenerateOptions(30, stop=(), beams=1, sample=False, lookup=7))
        wanted = generator.generate(inputs, GenerateOptions(30, stop=(), beams=1, sample=False))
    assert found.row(0) == wanted.row(0) and found.drafted
