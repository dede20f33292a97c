"""What PyTorch generates: the reference that a bundle's generated answers are held against.

`greedy` and `beam` keep no cache. Every step computes the logits of all tokens anew, so there is nothing to get wrong in
what is kept between steps; what an encoder reads, which no token changes, is read once where the model can say so
(`GenerationSpec.read`). `cached` is the same greedy loop over the graphs `encoder`, `first` and `step` of a model, in
PyTorch: what generation costs without leaving PyTorch.

Words, for all three:
    prompt      the inputs of the encoder by name [rows, ...]; of a decoder-only model "tokens" int64 [rows, length] and
                "tokens_mask" bool [rows, length], padded at the end (left out: nothing is padded)
    max_length  most tokens of an answer, its stop token included. The model's own limit, assets/generation.json's
                max_length, counts begin or prompt as well, and ends a row too
    score       the sum of the log probabilities of the answer's tokens over length ** length_penalty. Stop tokens count, and
                what of `begin` is said to; log probabilities are what the asset's rules leave of them
The asset's rules hold with their defaults (reference_rules); how long, by how many beams and with which penalty is asked.
The module must be in eval mode. Ties go to the lowest token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from attn_runtime.errors import InputError, UsageError
from torch import Tensor, nn

from .reference_rules import ReferenceRules, begin_of
from .spec import GenerationSpec, ModelSpec

#: Logits that a forward of several hypotheses answers at most; a search goes on with fewer at a time.
_MOST_LOGITS = 1 << 26


@dataclass(frozen=True)
class Decoded:
    """Answers, one a row.

    tokens      int64 [rows, length], without begin and prompt, with the stop token where one came, padded at the end
    lengths     int64 [rows], of the answers in tokens, the stop token included
    scores      float32 [rows]
    margin      least gap between what was chosen and what came next, over all rows and steps: in logits (greedy) or
                in scores (beams); infinite where there was nothing to choose. Another runtime whose numbers differ by
                less than half of it must come to the same tokens
    margins     the same of each row
    """

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    margin: float
    margins: tuple[float, ...] = ()


def joined(rows: Sequence[tuple[Decoded, int]], pad: int) -> Decoded:
    """These rows, each of some answers, as one answer, padded to the longest of them."""
    lengths = torch.stack([answer.lengths[row] for answer, row in rows])
    tokens = lengths.new_full((len(rows), int(lengths.max())), pad)
    for place, (answer, row) in enumerate(rows):
        tokens[place, : lengths[place]] = answer.tokens[row, : lengths[place]]
    margins = tuple(answer.margins[row] for answer, row in rows)
    return Decoded(tokens, lengths, torch.stack([answer.scores[row] for answer, row in rows]), min(margins), margins)


@torch.no_grad()
def greedy(
    module: nn.Module,
    spec: GenerationSpec,
    prompt: Mapping[str, Tensor],
    max_length: int,
    length_penalty: float = 1.0,
) -> Decoded:
    """The best token at every step, without a cache. Raises InputError for a prompt that can't be continued."""
    start = _Start.of(spec, prompt)
    context = start.read(module, spec)
    tokens, used = start.tokens, start.lengths
    row = torch.arange(len(tokens), device=tokens.device)

    def next_logits(chosen: Tensor | None, going: Tensor) -> Tensor:
        nonlocal tokens, used
        if chosen is not None:
            tokens = torch.cat([tokens, torch.full_like(tokens[:, :1], spec.asset["pad"])], dim=1)
            tokens[row[going], used[going]] = chosen[going]
            used = used + going
        # What lies behind a row's last token does not matter: no token sees those after it.
        return spec.logits(module, context, tokens)[row, used - 1]

    return _choose_best(next_logits, spec, start, start.limits(spec, max_length), length_penalty)


@torch.no_grad()
def cached(
    module: nn.Module,
    model: ModelSpec,
    prompt: Mapping[str, Tensor],
    max_length: int,
    length_penalty: float = 1.0,
    scores: bool = True,
) -> Decoded:
    """What `greedy` says, through the model's graphs and a cache: each step computes its new token alone.

    The cache holds [rows, heads, capacity, head_size] per entry; a step sees as much of it as is filled, rounded up to a
    power of two, and its new entry is written in place. Without `scores`, which choosing the tokens does not need,
    scores and margin are NaN: for measuring time.
    """
    spec = model.generation
    if spec is None:
        raise UsageError(f'model "{model.name}" does not generate')
    asset = spec.asset
    start = _Start.of(spec, prompt)
    limits = start.limits(spec, max_length)
    rows = len(start.tokens)
    row = torch.arange(rows, device=start.tokens.device)
    capacity = _power_of_two(int((start.lengths + limits).max()) if rows else 1)
    steps = {spec.name: spec for spec in next(g for g in model.graphs if g.name == asset["step"]).inputs}
    most = steps["past_mask"].dims[1].max
    # All rows of a model with an encoder stand at one place, but for those that ended, which are not looked at.
    one_place = not steps["position"].dims[0].dynamic and steps["position"].dims[0].max == 1
    known: dict[str, Tensor] = {}  # every tensor by its name: the graphs' interface is the names
    cache: dict[str, Tensor] = {}
    used = start.lengths

    def run(graph: str) -> None:
        _call(module, model, graph, known)

    def next_logits(chosen: Tensor | None, going: Tensor) -> Tensor:
        nonlocal used
        if chosen is None:
            known.update(start.context)
            if asset["encoder"] is not None:
                run(asset["encoder"])
            known.update(tokens=start.tokens, tokens_mask=start.mask)
            run(asset["first"])
            length = start.tokens.shape[1]
            for entry in asset["cache"]:
                new = known[f"new_{entry}"]
                cache[entry] = new.new_zeros(rows, new.shape[1], max(capacity, length), new.shape[3])
                cache[entry][:, :, :length] = new
            return known["logits"]
        # The new token has a place of its own in what is seen of the cache, where the graph allows that many.
        seen = min(_power_of_two(int(used.max()) + 1), max(most, int(used.max())))
        places = torch.arange(seen, device=used.device)
        # A row that never had room stands behind its last place; what it is told there is not looked at.
        known["token"], known["position"] = chosen[:, None], used[:, None].clamp(max=asset["max_length"] - 1)
        if one_place:
            known["position"] = known["position"].max(0, keepdim=True).values
        known["past_mask"] = places < used[:, None]
        for entry in asset["cache"]:
            known[f"past_{entry}"] = cache[entry][:, :, :seen]
        run(asset["step"])
        for entry in asset["cache"]:
            cache[entry][row[going], :, used[going]] = known[f"new_{entry}"][going, :, 0]
        used = used + going
        return known["logits"]

    return _choose_best(next_logits, spec, start, limits, length_penalty, scores)


@torch.no_grad()
def beam(
    module: nn.Module,
    spec: GenerationSpec,
    prompt: Mapping[str, Tensor],
    beams: int,
    length_penalty: float,
    max_length: int,
    early_stop: bool = False,
) -> Decoded:
    """The best of `beams` hypotheses of each row, without a cache: beam search as in Hugging Face's `generate`.

    At every step the continuations of all running hypotheses are ranked by their summed log probability. Those among the
    first `beams` that stop here are finished, and the best `beams` that don't stop run on. At the last step all of the
    first `beams` are finished. Only the `beams` best finished hypotheses, by score, are kept. A row ends when it has that
    many and (early_stop) at once, or (otherwise) once the best running hypothesis, scored at its present length, is no
    better than the worst of them: `early_stopping` True and False of Hugging Face.
    """
    if beams < 1:
        raise UsageError(f"beams: got {beams}, expected 1 or more")
    start = _Start.of(spec, prompt)
    limits = start.limits(spec, max_length).tolist()
    rules, sources, begins = ReferenceRules.of(spec.asset), start.sources(), start.rows()
    context = start.read(module, spec)
    found: list[tuple[_Hypothesis, float]] = [(_Hypothesis(), math.inf)] * len(limits)
    searches = [_beam_of_a_row(rules, beams, length_penalty, limit, early_stop) for limit in limits]
    asked: dict[int, _Asked] = {}

    def go_on(row: int, log_probs: Tensor | None) -> None:
        try:
            asked[row] = next(searches[row]) if log_probs is None else searches[row].send(log_probs)
        except StopIteration as ended:
            asked.pop(row, None)
            found[row] = ended.value

    for row in range(len(limits)):
        go_on(row, None)
    vocabulary = 0  # not known yet
    while asked:
        # Rows whose hypotheses have one length are asked together: nothing is padded.
        length = min(len(begins[row]) + len(answers[0]) for row, answers in asked.items())
        rows = [(row, a) for row, answers in asked.items() for a in answers if len(begins[row]) + len(a) == length]
        tokens = torch.tensor([[*begins[row], *answer] for row, answer in rows], device=start.tokens.device)
        most = _MOST_LOGITS // (length * vocabulary) if vocabulary else 1
        scores = _last_log_probs(module, spec, context, torch.tensor([row for row, _ in rows]), tokens, max(1, most))
        vocabulary = scores.shape[1]
        if rules.any:
            given = (
                (f, begins[r], a, limits[r], sources[r] if sources else ())
                for f, (r, a) in zip(scores, rows, strict=True)
            )
            scores = torch.stack([rules.apply(*one) for one in given])
        for row in dict.fromkeys(row for row, _ in rows):
            go_on(row, scores[[n for n, (other, _) in enumerate(rows) if other == row]])
    answers, margins = [answer for answer, _ in found], tuple(gap for _, gap in found)
    longest = max((len(answer.tokens) for answer in answers), default=0)
    padded = [[*answer.tokens, *[spec.asset["pad"]] * (longest - len(answer.tokens))] for answer in answers]
    return Decoded(
        tokens=torch.tensor(padded, dtype=torch.int64).reshape(len(answers), longest),
        lengths=torch.tensor([len(answer.tokens) for answer in answers], dtype=torch.int64),
        scores=torch.tensor([answer.score(length_penalty, rules.counted) for answer in answers], dtype=torch.float32),
        margin=min(margins, default=math.inf),
        margins=margins,
    )


def _last_log_probs(
    module: nn.Module, spec: GenerationSpec, context: Mapping[str, Tensor], rows: Tensor, tokens: Tensor, most: int
) -> Tensor:
    """float64 [len(rows), vocabulary] of what follows tokens [len(rows), length], each with the context of its row; `most` are
    asked at a time."""
    parts: list[Tensor] = []
    for chosen, answers in zip(rows.split(most), tokens.split(most), strict=True):
        logits = spec.logits(module, {name: value[chosen] for name, value in context.items()}, answers)
        parts.append(logits[:, -1].double().log_softmax(-1))
    return torch.cat(parts)


def together(prompts: Sequence[Mapping[str, Tensor]], pad: int) -> dict[str, Tensor]:
    """Prompts of one row each as one batch, padded at the end: tokens with `pad`, masks with False.

    A decoder-only prompt without tokens_mask gets one.
    """
    whole = [
        p if "tokens" not in p or "tokens_mask" in p else {**p, "tokens_mask": torch.ones_like(p["tokens"]).bool()}
        for p in prompts
    ]
    batch: dict[str, Tensor] = {}
    for name in whole[0]:
        parts = [p[name] for p in whole]
        shape = (len(parts), *(max(sizes) for sizes in zip(*(p.shape[1:] for p in parts), strict=True)))
        batch[name] = parts[0].new_full(
            shape, 0 if parts[0].dtype == torch.bool or parts[0].is_floating_point() else pad
        )
        for row, part in enumerate(parts):
            place: tuple[int | slice, ...] = (row, *(slice(0, size) for size in part.shape[1:]))
            batch[name][place] = part[0]
    return batch


@dataclass(frozen=True)
class _Start:
    """Where rows begin: tokens int64 [rows, length] padded at the end, lengths [rows], and what the decoder looks at."""

    tokens: Tensor
    mask: Tensor
    context: Mapping[str, Tensor]

    @classmethod
    def of(cls, spec: GenerationSpec, prompt: Mapping[str, Tensor]) -> _Start:
        if spec.asset["encoder"] is not None:
            one = next(iter(prompt.values()))
            begin = torch.tensor(begin_of(spec.asset), dtype=torch.int64, device=one.device)
            tokens = begin.repeat(len(one), 1)
            return cls(tokens, torch.ones_like(tokens, dtype=torch.bool), prompt)
        tokens = prompt["tokens"]
        mask = prompt.get("tokens_mask", torch.ones_like(tokens, dtype=torch.bool))
        lengths = mask.sum(1)
        if len(tokens) and int(lengths.min()) < 1:
            raise InputError(
                'input "tokens": got a row without tokens; a decoder-only model needs at least one to go on'
            )
        if not torch.equal(mask, torch.arange(tokens.shape[1], device=mask.device) < lengths[:, None]):
            raise InputError('input "tokens_mask": got a row with true behind false; expected padding at the end alone')
        return cls(tokens, mask, {})

    @property
    def lengths(self) -> Tensor:
        return self.mask.sum(1)

    def read(self, module: nn.Module, spec: GenerationSpec) -> Mapping[str, Tensor]:
        """What the decoder looks at, as far as it is the same for every token."""
        return self.context if spec.read is None or not self.context else spec.read(module, self.context)

    def rows(self) -> list[list[int]]:
        """What each row begins with, without padding."""
        return [row[:length].tolist() for row, length in zip(self.tokens, self.lengths, strict=True)]

    def sources(self) -> list[list[int]]:
        """The tokens of each row that the encoder reads, or the prompt, without padding; empty where it reads none."""
        if not self.context:
            return self.rows()
        tokens = next((t for t in self.context.values() if t.dtype == torch.int64 and t.dim() == 2), None)
        if tokens is None:
            return []
        masks = (t for t in self.context.values() if t.dtype == torch.bool and t.shape == tokens.shape)
        mask = next(masks, torch.ones_like(tokens, dtype=torch.bool))
        return [row[seen].tolist() for row, seen in zip(tokens, mask, strict=True)]

    def limits(self, spec: GenerationSpec, max_length: int) -> Tensor:
        """Most tokens that each row may get, int64 [rows]."""
        if max_length < 0:
            raise UsageError(f"max_length: got {max_length}, expected 0 or more")
        room: Tensor = int(spec.asset["max_length"]) - self.lengths
        if len(room) and int(room.min()) < 0:
            raise InputError(
                f"prompt: got {int(self.lengths.max())} tokens; the model's rows have at most {spec.asset['max_length']}"
            )
        return room.clamp(max=max_length)


def _choose_best(
    next_logits: Callable[[Tensor | None, Tensor], Tensor],
    spec: GenerationSpec,
    start: _Start,
    limits: Tensor,
    length_penalty: float,
    with_scores: bool = True,
) -> Decoded:
    """The greedy choice. `next_logits(chosen, going)` adds the tokens chosen in the rows that go on, and says what follows."""
    stop = torch.tensor(spec.asset["stop"], dtype=torch.int64, device=limits.device)
    rules = ReferenceRules.of(spec.asset)
    begins = start.rows() if rules.any else []
    answers: list[list[int]] = [[] for _ in begins]
    sources = start.sources() if rules.any else []
    columns: list[Tensor] = []
    lengths = torch.zeros_like(limits)
    sums = torch.zeros(len(limits), dtype=torch.float64, device=limits.device)
    margins = torch.full_like(sums, math.inf)
    chosen: Tensor | None = None
    going = limits > 0
    while bool(going.any()):
        logits = next_logits(chosen, going)
        ruled = rules.of_rows(logits, begins, answers, limits.tolist(), going, sources)
        best = ruled.argmax(-1)
        if with_scores and logits.shape[-1] > 1:
            first, second = ruled[going].topk(2, dim=-1).values.unbind(-1)
            margins[going] = margins[going].minimum((first - second).double() / rules.stretch)
        chosen = torch.where(going, best, spec.asset["pad"])
        columns.append(chosen)
        if with_scores:
            log_probs = logits.double().log_softmax(-1)
            log_probs = rules.of_rows(log_probs, begins, answers, limits.tolist(), going, sources)
            sums = sums + torch.where(going, log_probs.gather(-1, best[:, None])[:, 0], 0.0)
        for answer, token in zip(answers, chosen.tolist(), strict=False):
            answer.append(token)
        lengths = lengths + going
        going = going & ~torch.isin(best, stop) & (lengths < limits)
    tokens = torch.stack(columns, dim=1) if columns else limits.new_zeros(len(limits), 0)
    scores = sums / (lengths + rules.counted).clamp(min=1).double() ** length_penalty
    if not with_scores:
        scores, margins = scores.fill_(math.nan), margins.fill_(math.nan)
    each = tuple(margins.tolist())
    return Decoded(tokens, lengths, scores.float(), min(each, default=math.inf), each)


@dataclass(frozen=True)
class _Hypothesis:
    tokens: tuple[int, ...] = ()
    log_prob: float = 0.0

    def score(self, length_penalty: float, counted: int) -> float:
        return self.log_prob / float(max(1, len(self.tokens) + counted) ** length_penalty)


#: Answers of one length.
_Asked = list[tuple[int, ...]]


def _beam_of_a_row(
    rules: ReferenceRules, beams: int, length_penalty: float, limit: int, early_stop: bool
) -> Generator[_Asked, Tensor, tuple[_Hypothesis, float]]:
    """The best hypothesis and the margin. Yields answers, and is sent float64 [answers, vocabulary] of what follows each."""
    stop = frozenset(rules.stop)

    def score(hypothesis: _Hypothesis) -> float:
        return hypothesis.score(length_penalty, rules.counted)

    running, finished = [_Hypothesis()], list[_Hypothesis]()
    gaps = [math.inf]
    for length in range(1, limit + 1):
        log_probs = yield [h.tokens for h in running]
        ranked = _ranked(running, log_probs, count=beams * (len(stop) + 1) + 1)
        stops = [length == limit or h.tokens[-1] in stop for h in ranked]
        ended = [h for h, stopped in zip(ranked[:beams], stops, strict=False) if stopped]
        going = [h for h, stopped in zip(ranked, stops, strict=True) if not stopped]
        running = going[:beams]

        # A gap of summed log probabilities at this length, as a gap of scores.
        unit = float((length + rules.counted) ** length_penalty)
        gaps += [(a.log_prob - b.log_prob) / unit for a, b in zip(going[beams - 1 :], going[beams:][:1], strict=False)]
        gaps += [gap / unit for gap in _gaps_of_ending(ranked, stops, beams)]

        by_score = sorted(finished + ended, key=lambda h: -score(h))
        finished, dropped = by_score[:beams], by_score[beams:]
        gaps += [score(finished[-1]) - score(h) for h in dropped[:1]]
        if not running:
            break
        if len(finished) == beams:
            if early_stop:
                break
            ahead = score(running[0]) - score(finished[-1])
            gaps.append(abs(ahead))
            if ahead <= 0:
                break
    if not finished:
        if limit:
            raise rules.nothing_left(len(gaps))
        return _Hypothesis(), math.inf
    gaps += [score(finished[0]) - score(h) for h in finished[1:2]]
    return finished[0], min(gaps)


def _ranked(running: Sequence[_Hypothesis], log_probs: Tensor, count: int) -> list[_Hypothesis]:
    """The `count` best continuations, best first; of equals the lowest token, then the best hypothesis, comes first."""
    before = torch.tensor([h.log_prob for h in running], dtype=torch.float64, device=log_probs.device)
    by_token = (before[:, None] + log_probs).T.flatten()
    values, places = by_token.sort(descending=True, stable=True)
    return [
        _Hypothesis((*running[place % len(running)].tokens, place // len(running)), value)
        for value, place in zip(values[:count].tolist(), places[:count].tolist(), strict=True)
        if value > -math.inf
    ]


def _gaps_of_ending(ranked: Sequence[_Hypothesis], stops: Sequence[bool], beams: int) -> list[float]:
    """How far those that stop here are from the border between the first `beams` and the rest, on either side of it."""
    if len(ranked) <= beams:
        return []
    inside = [h.log_prob - ranked[beams].log_prob for h, s in zip(ranked[:beams], stops, strict=False) if s]
    outside = [ranked[beams - 1].log_prob - h.log_prob for h, s in zip(ranked[beams:], stops[beams:], strict=True) if s]
    return inside[-1:] + outside[:1]


def _call(module: nn.Module, model: ModelSpec, name: str, known: dict[str, Tensor]) -> None:
    """Run a graph's view on the tensors it names, and add what it answers under its names."""
    graph = next(g for g in model.graphs if g.name == name)
    answers: Any = graph.view(module)(*(known[i.name] for i in graph.inputs))
    tensors = (answers,) if isinstance(answers, Tensor) else tuple(answers)
    known.update(zip((o.name for o in graph.outputs), tensors, strict=True))


def _power_of_two(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()
