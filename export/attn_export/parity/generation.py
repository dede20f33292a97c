"""What a model writes, whole answers: PyTorch's without any cache, and what must come to the same.

Parity of each graph does not prove a generator: a position that is off by one, a cache of another row or a mask that is
not moved on lie between the graphs. So PyTorch writes answers from its full forward, over all tokens at every step
(`attn_models.reference_generation`), and these are held against the exported modules with their cache in PyTorch, and
against the bundle itself in the runtime's own loop. Prompts are chosen by margin: where two tokens are as good, any
answer would be right, and nothing is proven.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_models import reference_generation
from attn_models.reference_rules import ReferenceRules, begin_of
from attn_models.spec import GenerationSpec, GraphSpec, ModelSpec
from attn_runtime.bundle import BundleWriter
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance, compare
from attn_runtime.errors import CaptureError, InputError, ParityError
from attn_runtime.spec import check_shapes
from attn_runtime.text_format import finite_or_none
from torch import Tensor

from ..console import Console
from ..source import Source, SourceGraph
from .answer_budget import SECONDS, USUAL, AnswerBudget, affordable

Prompt = Mapping[str, Tensor]

#: Of the case with beams.
LENGTH_PENALTY = 1.0
#: What half precision is likely to be off, of the largest logit; float16's own default.
_HALF_RTOL = 1e-2


@dataclass(frozen=True)
class Written:
    """One case: prompts of one row each, and PyTorch's answers to all of them as one padded batch.

    alone        its answer to each prompt without the others; of a case that is undecided none, for nothing is held to it
    logit_error  what the fp32 tolerance allows a logit to be off
    stretch      what an error of a log probability grows by: a penalty of repetition multiplies it
    tolerance    of scores, absolute: a log probability is off by at most twice what the logits are
    """

    name: str
    prompts: tuple[Prompt, ...]
    inputs: dict[str, Tensor]
    answer: reference_generation.Decoded
    alone: tuple[reference_generation.Decoded, ...]
    beams: int
    max_length: int
    logit_error: float
    stretch: float = 1.0

    @property
    def tolerance(self) -> float:
        longest = max(1, int(self.answer.lengths.max()))
        return 2 * self.logit_error * self.stretch * float(longest ** (1 - LENGTH_PENALTY))

    @property
    def decided(self) -> bool:
        """Whether every choice was clearer than twice the error that is allowed: other tokens are then a fault."""
        return self.answer.margin > 2 * (self.logit_error if self.beams == 1 else self.tolerance)

    def file(self, side: str) -> str:
        return f"golden/generation.{self.name}.{side}.safetensors"

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.name,
            "inputs": self.file("inputs"),
            "outputs": self.file("outputs"),
            "beams": self.beams,
            "length_penalty": LENGTH_PENALTY,
            "max_length": self.max_length,
            "margin": finite_or_none(self.answer.margin),
            "tolerance": self.tolerance,
        }

    def store(self, writer: BundleWriter) -> None:
        """Write inputs and answers into the bundle in the making."""
        writer.add_tensors(self.file("inputs"), {n: v.numpy() for n, v in self.inputs.items()})
        found = self.answer
        outputs = {"tokens": found.tokens, "lengths": found.lengths, "scores": found.scores}
        writer.add_tensors(self.file("outputs"), {n: v.numpy() for n, v in outputs.items()})


def write_cases(source: Source, tolerance: Tolerance, seed: int, console: Console) -> list[Written]:
    """PyTorch's answers to prompts of different lengths, greedy and with beams, held against PyTorch with the cache.

    `tolerance` is of the logits; its fills, those of the output "logits", are tokens that the model never writes.

    Raises ParityError where the exported modules, driven with a cache, write anything else than the whole model does
    without one, or a row alone anything else than in a batch; CaptureError where a prompt fails or none fits the ranges.
    """
    spec = source.generation
    assert spec is not None
    model = _model(source, spec)
    room = _Room.of(source, spec)
    if room.batch[0] > 1:
        console.note(
            f"what is written is not proven: the graphs take {room.batch[0]} rows or more, and none alone; "
            "export with a batch that starts at 1"
        )
        return []
    with console.stage("writing") as line:
        prompts = _fitting(source, spec, room, seed)
        spec = _reading_once(source, spec, prompts, tolerance)
        budget = affordable(_seconds(source, spec, prompts, room))
        prompts = prompts[: budget.candidates]
        beams = min(budget.beams, room.batch[1])
        found = [_case("greedy", source, spec, prompts, 1, room, tolerance, budget)]
        if beams > 1:
            found.append(_case("beams", source, spec, prompts, beams, room, tolerance, budget))
        told = ", ".join(f"{c.name} {len(c.prompts)} rows (margin {c.answer.margin:.2g})" for c in found)
        line.done(f"PyTorch's answers without a cache: {told}")
    if budget != USUAL:
        searched = f"and with {beams} beams" if beams > 1 else "and not with beams"
        console.note(
            f"PyTorch's answers without a cache are kept to about {SECONDS:.0f} s: up to {budget.tokens} tokens to "
            f"{len(found[0].prompts)} prompts, greedily {searched}"
        )
    for case in found:
        if not case.decided:
            console.note(
                f"generated case {case.name} is undecided: PyTorch's own choices are only {case.answer.margin:.1g} apart, "
                "so that other tokens would prove nothing. Other prompts, or trained weights, have wider margins"
            )
    if max(int(case.answer.lengths.max()) for case in found) < 2:
        console.note(
            "no answer of the generated cases is longer than one token, so that they prove nothing of the cache: "
            f"graph {spec.asset['step']} is never run by them. Other prompts, or trained weights, write more"
        )
    with console.stage("check") as line:
        for case in found:
            _same_alone(case)
        _same_with_cache(found[0], source, model)
        line.done(f"PyTorch with a cache = PyTorch without, {len(found[0].prompts)} rows, together and alone")
    return found


def prove(
    bundle: Path, isolated: ChildProcess, console: Console, what: str = "the bundle", precision: str | None = None
) -> None:
    """Let the runtime write every case of the bundle in the making, in a batch and row by row.

    ParityError where it writes anything else than PyTorch did; cases that its precision can't decide are told.
    """
    with console.stage("check") as line:
        try:
            found = isolated.run(
                "attn_runtime.generate.verify:replay_here",
                f"generation with {what}",
                bundle=str(bundle),
                precision=precision,
            )["results"]
        except TaskFailed as problem:
            raise ParityError(f"{problem}. What the model writes can't be proven, so nothing was written.") from problem
        failed = [r for r in found if not r["passed"]]
        if failed:
            cases = ", ".join(dict.fromkeys(f"{r['case']}" for r in failed))
            raise ParityError(
                f"{what} does not write what PyTorch writes without a cache (cases {cases}): {failed[0]['problem']}. "
                "Nothing was written."
            )
        rows = [r for r in found if r["row"] is not None and r["drafted"] is None]
        same = sum(r["same_tokens"] for r in rows)
        line.done(
            f"{what} writes PyTorch's tokens: {same} of {len(rows)} rows alone, and in a batch, through the cache"
            + (", and with guesses" if any(r["drafted"] is not None for r in found) else "")
        )
    for case in dict.fromkeys(r["case"] for r in found if not r["decided"]):
        mine = [r for r in found if r["case"] == case]
        told = "the same tokens" if all(r["same_tokens"] for r in mine) else "other tokens in some rows"
        console.note(
            f"generated case {case} is undecided in {what}: its margin is smaller than twice the error allowed; it wrote {told}"
        )


def _model(source: Source, spec: GenerationSpec) -> ModelSpec:
    """The model as reference_generation.cached wants it, with the very modules that are exported as its views."""

    def view(graph: SourceGraph) -> Callable[[Any], Any]:
        return lambda _: graph.module

    graphs = tuple(GraphSpec(g.name, g.inputs, g.outputs, view(g)) for g in source.graphs)
    return ModelSpec(source.name, "", "", lambda: source.module, graphs, generation=spec)


@dataclass(frozen=True)
class _Room:
    """What the declared ranges allow: rows (fewest, most) of every graph, and tokens of a row, prompt included."""

    batch: tuple[int, int]
    tokens: int

    @classmethod
    def of(cls, source: Source, spec: GenerationSpec) -> _Room:
        graphs = {g.name: {i.name: i for i in g.inputs} for g in source.graphs}
        try:
            leading = [graphs[spec.asset["first"]]["tokens"].dims[0], graphs[spec.asset["step"]]["token"].dims[0]]
            cache = graphs[spec.asset["step"]]["past_mask"].dims[1]
        except (KeyError, IndexError) as problem:
            raise CaptureError(
                f"{source.name}: its generation asset names graph {spec.asset['first']} with input tokens and graph "
                f"{spec.asset['step']} with inputs token and past_mask; {problem} is missing"
            ) from problem
        batch = max(d.min for d in leading), min(d.max for d in leading)
        return cls(batch, min(int(spec.asset["max_length"]), cache.max + 1))


def _fitting(source: Source, spec: GenerationSpec, room: _Room, seed: int) -> list[Prompt]:
    """Prompts that the graphs take, of several seeds."""
    graphs = {g.name: g for g in source.graphs}
    name = spec.asset["encoder"] or spec.asset["first"]
    found: list[Prompt] = []
    refused: InputError | None = None
    for number in range(4):
        for prompt in spec.prompts(seed + number):
            prompt = reference_generation.together([prompt], spec.asset["pad"])
            own = [i for i in graphs[name].inputs if spec.asset["encoder"] or i.name in ("tokens", "tokens_mask")]
            shapes = {n: (str(v.dtype).removeprefix("torch."), tuple(v.shape)) for n, v in prompt.items()}
            try:
                check_shapes(own, shapes, f"prompt of {source.name}")
            except InputError as problem:
                refused = problem
                continue
            if "tokens" not in prompt or prompt["tokens"].shape[1] < room.tokens:
                found.append(prompt)
    if not found:
        raise CaptureError(f"no prompt of {source.name} fits its graphs{f': {refused}' if refused else ''}")
    return found[: USUAL.candidates]


@torch.no_grad()
def _reading_once(
    source: Source, spec: GenerationSpec, prompts: Sequence[Prompt], tolerance: Tolerance
) -> GenerationSpec:
    """The same, without `read` where it is no way to ask this model: its logits are not those of all that is asked at once."""
    if spec.read is None or spec.asset["encoder"] is None:
        return spec
    longest = max(prompts, key=lambda p: next(iter(p.values())).shape[-1])
    batch = reference_generation.together([longest, prompts[0]], spec.asset["pad"])
    tokens = torch.tensor([[*begin_of(spec.asset), *range(3)]]).repeat(2, 1)
    expected = spec.logits(source.module, batch, tokens)
    try:
        found = spec.logits(source.module, spec.read(source.module, batch), tokens)
    except Exception:  # whatever a model's own code raises
        return replace(spec, read=None)
    same = compare("logits", expected.numpy(), found.numpy(), tolerance).passed
    return spec if same else replace(spec, read=None)


@torch.no_grad()
def _seconds(source: Source, spec: GenerationSpec, prompts: Sequence[Prompt], room: _Room) -> float:
    """What a forward takes, of one row that is half as long as an answer to the longest prompt gets."""
    prompt = max(prompts, key=lambda p: next(iter(p.values())).shape[-1])
    own = prompt.get("tokens", torch.zeros(1, 1, dtype=torch.int64))
    more = max(0, min(USUAL.tokens // 2, room.tokens - own.shape[1]))
    tokens = torch.cat([own, own.new_full((1, more), spec.asset["pad"])], 1)
    context = {} if spec.asset["encoder"] is None else prompt if spec.read is None else spec.read(source.module, prompt)
    taken: list[float] = []
    for _ in range(3):  # the first fills caches that all others find filled
        begun = time.thread_time()  # the same on a machine that is busy with something else
        spec.logits(source.module, context, tokens)
        taken.append(time.thread_time() - begun)
    return min(taken)


def _decode(
    source: Source, spec: GenerationSpec, prompt: Prompt, beams: int, most: int
) -> reference_generation.Decoded:
    if beams == 1:
        return reference_generation.greedy(source.module, spec, prompt, most, LENGTH_PENALTY)
    return reference_generation.beam(source.module, spec, prompt, beams, LENGTH_PENALTY, most)


def _case(
    name: str, source: Source, spec: GenerationSpec, prompts: Sequence[Prompt], beams: int, room: _Room, tolerance: Tolerance,
    budget: AnswerBudget,
) -> Written:  # fmt: skip
    longest = max(p["tokens"].shape[1] if "tokens" in p else len(begin_of(spec.asset)) for p in prompts)
    most = min(budget.tokens, room.tokens - longest)
    room_for = max(1, room.batch[1] // beams)
    # All in batches of as many rows as the graphs take; the rows that are chosen are then asked alone.
    answers: list[tuple[reference_generation.Decoded, int]] = []
    for at in range(0, len(prompts), room_for):
        part = prompts[at : at + room_for]
        answer = _decode(source, spec, reference_generation.together(part, spec.asset["pad"]), beams, most)
        answers += [(answer, row) for row in range(len(part))]
    margins = [answer.margins[row] for answer, row in answers]
    chosen = _widest(prompts, margins, max(1, min(budget.rows, len(prompts), room_for)))
    batch, answer = _chosen(spec, prompts, answers, chosen)
    largest = _largest_logit(source, spec, batch, answer, tolerance)
    # Rows that half precision can't decide leave the others undecided, for a case has one margin.
    wide = sum(m > 2 * _HALF_RTOL * largest for m in margins)
    if 2 <= wide < len(chosen):
        chosen = _widest(prompts, margins, wide)
        batch, answer = _chosen(spec, prompts, answers, chosen)
        largest = max(largest, _largest_logit(source, spec, batch, answer, tolerance))
    error = tolerance.limit(largest)
    stretch = max(1.0, ReferenceRules.of(spec.asset).penalty)
    mine = tuple(prompts[n] for n in chosen)
    found = Written(name, mine, batch, answer, (), beams, most, error, stretch)
    if not found.decided:
        return found
    return replace(found, alone=tuple(_decode(source, spec, prompt, beams, most) for prompt in mine))


def _chosen(
    spec: GenerationSpec, prompts: Sequence[Prompt], answers: Sequence[tuple[reference_generation.Decoded, int]],
    chosen: Sequence[int],
) -> tuple[dict[str, Tensor], reference_generation.Decoded]:  # fmt: skip
    """The chosen prompts as one batch, and the answers that they got among the others."""
    batch = reference_generation.together([prompts[n] for n in chosen], spec.asset["pad"])
    return batch, reference_generation.joined([answers[n] for n in chosen], spec.asset["pad"])


def _widest(prompts: Sequence[Prompt], margins: Sequence[float], rows: int) -> list[int]:
    """Numbers of the prompts with the widest margins, in their order, of two lengths at least where there are two: padding is
    proven by a batch that has some."""

    def length(number: int) -> int:
        return int(next(iter(prompts[number].values())).shape[1])

    order = sorted(range(len(prompts)), key=lambda n: -margins[n])
    chosen, others = order[:rows], order[rows:]
    if rows > 1 and len({length(n) for n in chosen}) == 1:
        other = next((n for n in others if length(n) != length(chosen[0])), None)
        chosen = chosen if other is None else [*chosen[:-1], other]
    return sorted(chosen)


@torch.no_grad()
def _largest_logit(
    source: Source, spec: GenerationSpec, batch: Prompt, answer: reference_generation.Decoded, tolerance: Tolerance
) -> float:
    if spec.asset["encoder"] is not None:
        begin = torch.tensor(begin_of(spec.asset)).repeat(len(answer.tokens), 1)
        tokens, context = torch.cat([begin, answer.tokens], 1), batch
    else:
        tokens, context = batch["tokens"], {}
    logits = spec.logits(source.module, context, tokens)
    return tolerance.largest("logits", logits.numpy()) if torch.isfinite(logits).any() else math.inf


def _same_alone(case: Written) -> None:
    """That PyTorch's own answer to a prompt does not depend on the rows beside it, or on padding."""
    for row, alone in enumerate(case.alone):
        _hold(
            case, row, alone, 0, "PyTorch, asked for a row alone,", "in a padded batch: its masks let padding through"
        )


def _same_with_cache(case: Written, source: Source, model: ModelSpec) -> None:
    together = reference_generation.cached(source.module, model, case.inputs, case.max_length, LENGTH_PENALTY)
    what, instead = "PyTorch with the cache of the exported graphs", "without a cache"
    for row, prompt in enumerate(case.prompts):
        _hold(case, row, together, row, what, instead)
        alone = reference_generation.cached(source.module, model, prompt, case.max_length, LENGTH_PENALTY)
        _hold(case, row, alone, 0, f"{what}, of the row alone,", instead)


def _hold(case: Written, row: int, got: reference_generation.Decoded, at: int, what: str, instead: str) -> None:
    """ParityError unless row `at` of `got` is row `row` of the case: the same tokens, and its score within tolerance."""
    if not case.decided:
        return
    expected = case.answer.tokens[row, : int(case.answer.lengths[row])].tolist()
    tokens = got.tokens[at, : int(got.lengths[at])].tolist()
    where = f"generated case {case.name}, row {row}"
    if tokens != expected:
        first = next((n for n, (a, b) in enumerate(zip(tokens, expected, strict=False)) if a != b), None)
        first = min(len(tokens), len(expected)) if first is None else first
        ends = [str(side[first]) if first < len(side) else "its end" for side in (tokens, expected)]
        raise ParityError(
            f"{where}: {what} writes {ends[0]} as token {first}, and {ends[1]} {instead}; the margin there is "
            f"{case.answer.margin:.2g} or more, so it is no rounding. Nothing was written."
        )
    off = float(np.abs(float(got.scores[at]) - float(case.answer.scores[row])))
    if not off <= case.tolerance:
        raise ParityError(
            f"{where}: {what} writes the same tokens, and scores them {off:.2g} off what it is {instead}, allowed "
            f"{case.tolerance:.2g}. Nothing was written."
        )
