"""The probe: how a model wants to be run with a cache, found by running it against itself without one.

Prompt and steps of two rows, which stand at different places where the model allows it, are held against the whole
model's logits. The first convention whose answers are the same is the model's; there is no table of architectures.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.escape import printable
from torch import Tensor, nn
from torch.nn import functional as F

from .encoder_inputs import EncoderInputs, drawn_tokens, some
from .plan import LENGTHS, Convention, Plan
from .takeover import for_prompt, kept, taken_over
from .views import Encoder, Extend, First, Read, Step, View

#: Of the largest logit: what rounding may make of another order of sums, and a wrong place never is.
_SAME = 1e-4
#: Tokens of a row, of them in the prompt, and places of the cache that the probe steps over.
_TOKENS, _PROMPT, _PLACES = 6, 4, 8


@torch.no_grad()
def whole(model: nn.Module, encoder: EncoderInputs | None, context: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B, T, V] of the whole model: its own attention and masks, no cache. `context` is what the encoder reads, or what
    `read_once` made of it."""
    if encoder is None:
        logits: Tensor = model(input_ids=tokens, use_cache=False).logits
        return logits
    given: dict[str, Any] = {}
    if "memory" in context:
        given["encoder_outputs"] = Read(last_hidden_state=context["memory"].clone())  # some decoders write into it
    else:
        given[encoder.argument] = encoder.read(context[encoder.source.name])
    if encoder.masked:
        given["attention_mask"] = some(context["source_mask"])
    return model(**given, decoder_input_ids=tokens, use_cache=False).logits  # type: ignore[no-any-return]


@torch.no_grad()
def read_once(model: nn.Module, encoder: EncoderInputs, context: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the model's own encoder makes of `context`, by its own attention and masks; whether `whole` then answers the same is
    for who asks to find out."""
    given = {"attention_mask": some(context["source_mask"])} if encoder.masked else {}
    memory = model.get_encoder()(encoder.read(context[encoder.source.name]), **given).last_hidden_state  # type: ignore[operator]
    return {"memory": memory, **({"source_mask": context["source_mask"]} if encoder.masked else {})}


@torch.no_grad()
def made_plan(model: nn.Module, encoder: EncoderInputs | None, vocabulary: int) -> Plan:
    """How `model` is run. Raises UsageError where no convention gives its own answers; it says how far each was off."""
    return _Probe(model, encoder, vocabulary).plan()


@torch.no_grad()
def extend_view(model: nn.Module, plan: Plan, vocabulary: int) -> Extend:
    """The graph that reads several tokens, run once against the model itself. UsageError where its answers are others."""
    problem = _Probe(model, plan.encoder, vocabulary).extend_problem(plan)
    if problem is not None:
        raise UsageError(
            f"{type(model).__name__}: several tokens at once, through a cache, are answered otherwise than by the model "
            f"({problem}); leave --with-extend out"
        )
    return Extend(model, plan)


class _NothingKept(Exception):
    """No layer puts a key or a value into the cache."""


class _Probe:
    """One run of the whole model, and everything that is held against it."""

    def __init__(self, model: nn.Module, encoder: EncoderInputs | None, vocabulary: int) -> None:
        self.model, self.encoder = model, encoder
        random = torch.Generator().manual_seed(0)
        self.tokens = drawn_tokens(2, _TOKENS, vocabulary, random)
        self.context = {} if encoder is None else encoder.sample(2, 5 if encoder.masked else None)
        self.name = type(model).__name__
        try:
            self.expected = whole(model, encoder, self.context, self.tokens)
        except Exception as problem:  # whatever its own code raises
            reads = "tokens" if encoder is None else f"{encoder.argument} and tokens"
            raise UsageError(
                f"{self.name} does not answer {reads} alone ({_told(problem)}). Export its graphs as a model of your own "
                "(docs/use/export.md)"
            ) from problem
        self.largest = float(self.expected.abs().max()) or 1.0
        self.base = Plan(frozenset(inspect.signature(model.forward).parameters), Convention(), encoder)
        self.memory: tuple[Tensor, ...] = ()
        self.masks = list(self.context.values())[1:]
        if encoder is not None:
            memory = Encoder(model, self.base)(*self.context.values())
            self.base = replace(self.base, memory_width=memory.shape[-1])
            self.memory = (memory, *self.masks)

    def plan(self) -> Plan:
        plan, cached = self._first()
        tried: list[str] = []
        for length in LENGTHS:
            if length == "same" and self.encoder is None:
                continue  # prompts of different lengths leave rows at different places
            found = replace(plan, convention=plan.convention._replace(length=length))
            problem = self._step_problem(found, cached)
            if problem is None:
                return found
            tried.append(f"{length}: {problem}")
        raise UsageError(
            f"{self.name}: a step through a cache answers otherwise than the model ({'; '.join(tried)}); its "
            "generated tokens would not be the model's. Export its graphs as a model of your own (docs/use/export.md)"
        )

    def _first(self) -> tuple[Plan, list[Tensor]]:
        """The plan as far as a prompt shows it, and what the prompt leaves in the cache."""
        tried: list[str] = []
        name = ("" if self.encoder is None else "decoder_") + "position_ids"
        for mask, positions in product((False, True), (True, False) if name in self.base.takes else (False,)):
            plan = replace(self.base, convention=Convention("row", positions, mask))
            try:
                plan = self._measured(plan)
                prompt = self.tokens[:, :_PROMPT]
                logits, *cached = First(self.model, plan)(prompt, torch.ones_like(prompt).bool(), *self.memory)
            except _NothingKept:
                raise UsageError(
                    f"{self.name} keeps no keys and values: for each token it reads the whole row again, and a generator's "
                    "bundle has no graph for that. Export its graphs as a model of your own (docs/use/export.md)"
                ) from None
            except Exception as problem:  # whatever its own code raises: the next way may do
                tried.append(_told(problem))
                continue
            error = self._error(logits[:, None], torch.full((2, 1), _PROMPT - 1))
            if error <= _SAME:
                return plan, cached
            tried.append(f"off by {error:.1e}")
        self._refuse_both_ways()
        raise UsageError(
            f"{self.name}: a prompt through a cache answers otherwise than the model "
            f"({'; '.join(dict.fromkeys(tried))}); its tokens depend on more than keys and values of those before them"
        )

    def _refuse_both_ways(self) -> None:
        """UsageError for a model whose answer to a token depends on those behind it: nothing of a row that grows can be kept."""
        other = self.tokens.clone()
        other[:, -1] = self.tokens[:, 0]
        changed = (whole(self.model, self.encoder, self.context, other) - self.expected)[:, :-1].abs().max()
        if float(changed) > _SAME * self.largest:
            config = self.model.config.get_text_config(decoder=True)  # type: ignore[operator, union-attr]
            says, way = "", "Export its graphs as a model of your own (docs/use/export.md)"
            if getattr(config, "is_decoder", None) is False:
                says = " (config.json says is_decoder: false)"
                way = "Give --task fill-mask, or set is_decoder where it was trained to write"
            raise UsageError(
                f"{self.name} sees tokens behind the one that it answers{says}, so that nothing of a row that goes on can be "
                f"kept. {way}"
            )

    def _measured(self, plan: Plan) -> Plan:
        """With the layers that keep something, and their sizes: of what is kept, not of what a config says."""
        cache, own, cross = for_prompt(self.encoder is not None)
        prompt = self.tokens[:, :_PROMPT]
        counted = torch.ones_like(prompt).bool() if plan.convention.mask else None
        memory, source_mask = (*self.memory, None, None)[:2]
        with taken_over(self.model):
            View(self.model, plan).decode(prompt, counted, None, cache, memory, source_mask)
        layers = tuple(n for n, layer in enumerate(own.layers) if layer.keys is not None)  # type: ignore[union-attr]
        if not layers:
            raise _NothingKept
        return replace(plan, layers=layers, shapes=_shapes(kept(own)), cross_shapes=_shapes(kept(cross)))

    def _step_problem(self, plan: Plan, cached: Sequence[Tensor]) -> str | None:
        """Why steps under this plan are not the model's; None where they are."""
        count = len(plan.shapes)
        past = [F.pad(t, (0, 0, 0, _PLACES - t.shape[2])) for t in cached[:count]]
        places = torch.arange(_PLACES)
        try:
            for position in _positions(plan.one_place):
                token = self.tokens.gather(1, position)
                told = position[:1] if plan.one_place else position
                logits, *new = Step(self.model, plan)(
                    token, told, places[None] < position, *self.masks, *past, *cached[count:]
                )
                error = self._error(logits[:, None], position)
                if not error <= _SAME:
                    return f"off by {error:.1e}"
                for entry, value in zip(past, new, strict=True):
                    here = (places == position)[:, None, :, None]
                    entry.copy_(torch.where(here, value, entry))
        except Exception as problem:  # as above
            return _told(problem)
        return None

    def extend_problem(self, plan: Plan) -> str | None:
        """Why several tokens at once are not the model's; None where they are. Rows stand at different places where they may."""
        prompt = self.tokens[:, :_PROMPT]
        first = torch.tensor([[_PROMPT], [_PROMPT - (0 if plan.one_place else 1)]])
        at = first + torch.arange(_TOKENS - _PROMPT)
        try:
            _, *cached = First(self.model, plan)(prompt, torch.ones_like(prompt).bool(), *self.memory)
            count = len(plan.shapes)
            past = [F.pad(t, (0, 0, 0, _PLACES - t.shape[2])) for t in cached[:count]]
            told = first[:1] if plan.one_place else first
            mask = torch.arange(_PLACES)[None] < first
            logits, *new = Extend(self.model, plan)(
                self.tokens.gather(1, at), told, mask, *self.masks, *past, *cached[count:]
            )
            error = self._error(logits, at)
        except Exception as problem:  # as above
            return _told(problem)
        if [t.shape[2] for t in new] != [at.shape[1]] * count:
            return f"of {at.shape[1]} tokens it keeps {sorted({t.shape[2] for t in new})} entries"
        return None if error <= _SAME else f"off by {error:.1e}"

    def _error(self, logits: Tensor, at: Tensor) -> float:
        """The largest error of logits [2, T, V] of the rows' places `at` [2, T], of the largest logit; NaN where one is."""
        return float((logits - self.expected[torch.arange(2)[:, None], at]).abs().max()) / self.largest


def _positions(one_place: bool) -> Iterator[Tensor]:
    """int64 [2, 1] of each step. Row 1 is a token behind where rows may stand at different places: its prompt's last is
    read once more, which must change nothing."""
    if one_place:
        yield from (torch.tensor([[at], [at]]) for at in range(_PROMPT, _TOKENS))
    else:
        yield from (torch.tensor([[max(at, _PROMPT)], [at - 1]]) for at in range(_PROMPT, _TOKENS))


def _shapes(tensors: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    return tuple((t.shape[1], t.shape[3]) for t in tensors)


def _told(problem: Any) -> str:
    lines = str(problem).strip().splitlines() or [""]
    return printable(f"{type(problem).__name__}: {lines[0][:120]}")
