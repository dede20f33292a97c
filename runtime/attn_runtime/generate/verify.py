"""Generate here what PyTorch generated when the bundle was made, and compare: in a padded batch, and each row alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bundle import Bundle, to_fp16
from .generator import Generator, open_generator
from .options import GenerateOptions
from .recorded_cases import GeneratedCase, generated_cases
from .result import Generated


@dataclass(frozen=True)
class Replayed:
    """One case, generated again.

    row          which row of the case, alone; None for all of them in one padded batch
    same         whether the tokens are PyTorch's
    decided      whether they have to be: PyTorch's choices were further apart than twice the error that the precision allows.
                 Where they were not, other tokens are told, and are no failure if PyTorch's answer, followed here, scores as
                 it did there and each of its tokens (with one beam) is as good as the likeliest, within that error
    score_error  largest difference from PyTorch's scores, where the tokens are the same; allowed_error what it may be
    problem      what is wrong, in words; empty where nothing is
    drafted      how many tokens were guessed ahead and fed; None where it was written a token a step
    """

    case: str
    row: int | None
    beams: int
    same: bool
    decided: bool
    score_error: float | None
    allowed_error: float
    seconds: float
    problem: str = ""
    drafted: int | None = None

    @property
    def rows(self) -> str:
        """What was written, in words, as in "row 1 alone, 5 tokens guessed ahead"."""
        rows = "the batch" if self.row is None else f"row {self.row} alone"
        return rows if self.drafted is None else f"{rows}, {self.drafted} tokens guessed ahead"

    @property
    def passed(self) -> bool:
        return not self.problem

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "row": self.row,
            "beams": self.beams,
            "same_tokens": self.same,
            "decided": self.decided,
            "score_error": self.score_error,
            "allowed_error": self.allowed_error,
            "seconds": self.seconds,
            "problem": self.problem,
            "drafted": self.drafted,
            "passed": self.passed,
        }


def replay(
    path: str | os.PathLike[str] | Bundle,
    device: str = "auto",
    backend: str | None = None,
    *,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    on_result: Callable[[Replayed], None] | None = None,
    generator: Generator | None = None,
) -> list[Replayed]:
    """Every generated case of a bundle, in a padded batch and each row alone, and greedy ones with guesses too (`lookup` of
    GenerateOptions) where a graph reads several tokens; an empty list where it has none.

    With `generator`, which is not closed, that one generates, and the other parameters mean nothing.
    Raises what `open_generator` and `Generator.generate` raise, and BundleError for a damaged case.
    """
    bundle = path if isinstance(path, Bundle) else Bundle.open(path, paranoid=True)
    if not bundle.manifest.get("generation"):
        return []
    opened = generator or open_generator(bundle, device, backend, precision=precision, threads=threads, cache=cache)
    try:
        results: list[Replayed] = []
        extend = opened.wiring.extend
        of_steps = logit_error(bundle, opened)
        of_guesses = max(of_steps, _logit_error_of(bundle, opened, extend.name)) if extend else of_steps
        for case in generated_cases(bundle):
            for row, lookup in _tries(opened, case):
                results.append(_replay(opened, case, row, lookup, of_guesses if lookup else of_steps))
                if on_result is not None:
                    on_result(results[-1])
        return results
    finally:
        if opened is not generator:
            opened.close()


def replay_here(bundle: str, precision: str | None) -> dict[str, Any]:
    """A task of a child process: `replay` on the CPU, of a bundle that was just written; its results as JSON."""
    opened = Bundle.open(bundle, check_hashes=False)
    return {"results": [result.to_json() for result in replay(opened, "cpu", "ort", precision=precision)]}


def logit_error(bundle: Bundle, generator: Generator) -> float:
    """What the stored tolerance of the generator's precision allows a logit to be off, next to the largest golden
    logit of usual inputs."""
    graphs = generator.wiring.first, generator.wiring.step
    return max(_logit_error_of(bundle, generator, graph.name) for graph in graphs)


def _logit_error_of(bundle: Bundle, generator: Generator, name: str) -> float:
    graph = bundle.graphs[name]
    tolerance = graph.precisions[_precision(generator, name)].tolerance.of("logits")
    # Infinite or fills are the logits of tokens that a model never writes.
    largest = max((tolerance.largest("logits", case.outputs["logits"]) for case in graph.cases(None)), default=0.0)
    return tolerance.limit(largest)


def _tries(generator: Generator, case: GeneratedCase) -> Iterator[tuple[int | None, int]]:
    """Which row is written alone, None for all of them in a batch, and how many tokens are guessed ahead."""
    rows = range(len(case.lengths))
    yield from ((row, 0) for row in (None, *rows))
    if (most := generator.wiring.most_guessed) and case.beams == 1:
        together = () if generator.wiring.one_place and len(rows) > 1 else (None,)
        yield from ((row, most) for row in (*together, *rows))


def _replay(generator: Generator, case: GeneratedCase, row: int | None, lookup: int, logit_error: float) -> Replayed:
    rows = slice(None) if row is None else slice(row, row + 1)
    inputs = {name: value[rows] for name, value in case.inputs.items()}
    if any(spec.dtype == "float16" for spec in generator.inputs):
        inputs = to_fp16(inputs)
    if row is not None:
        inputs = _trimmed(inputs, generator)
    options = GenerateOptions(
        case.max_length, case.beams, case.length_penalty, False, sample=False, scores=True, lookup=lookup
    )
    found = generator.generate(inputs, options)
    lengths = case.lengths[rows]
    # A log probability is off by at most twice what logits are; a score adds up those of a whole answer.
    grown = float((np.maximum(lengths, 1) ** (1 - case.length_penalty)).max(initial=1.0))
    score_error = 2 * logit_error * grown * _stretch(generator)
    allowed = case.tolerance if _is_exact(generator) else max(case.tolerance, score_error)
    decided = case.margin > 2 * (logit_error if case.beams == 1 else max(score_error, case.tolerance))
    wrong = [n for n, tokens in enumerate(_rows(case, rows)) if found.row(n) != tokens]
    off = None
    problem = ""
    if wrong:
        number = wrong[0]
        at = f"row {number if row is None else row}" + (" alone" if row is not None else " of the batch")
        at += ", with guesses" if lookup else ""
        if decided:
            problem = f"{at}: {_first_difference(_rows(case, rows)[number], found, number)}"
        elif told := _undecided(generator, case, rows, inputs, logit_error, allowed):
            problem = f"{at}: {told}"
    else:
        assert found.scores is not None
        off = float(np.abs(found.scores - case.scores[rows]).max(initial=0.0))
        if not off <= allowed:
            problem = f"the tokens are PyTorch's, the scores are off by {off:.2g}, allowed {allowed:.2g}"
    return Replayed(case.name, row, case.beams, not wrong, decided, off, allowed, found.seconds, problem, found.drafted)


def _is_exact(generator: Generator) -> bool:
    """Whether it computes in float32 alone, so that scores are held to the tolerance that is stored of them."""
    name = generator.wiring.step.name
    found = generator.bundle.graphs[name].precisions[_precision(generator, name)]
    return found.type == "fp32" and found.quantised is None


def _stretch(generator: Generator) -> float:
    """What an error of a log probability grows by: the bundle's penalty of repetition multiplies it."""
    return max(1.0, generator.settings().repetition_penalty)


def _precision(generator: Generator, graph: str) -> str:
    """Which one a graph runs in: where none was asked for, its own first one."""
    found = generator.bundle.graphs[graph]
    asked = generator.precision
    return asked if asked is not None and asked in found.precisions else found.default_precision


def _undecided(
    generator: Generator, case: GeneratedCase, rows: slice, inputs: dict[str, Any], logit_error: float, allowed: float
) -> str:
    """What is wrong where other tokens may be as good; empty where they are.

    PyTorch's answer is followed through the cache here: its score has to be what it was there, and with one beam none of its
    tokens may stand further behind the likeliest one than two logits can be off.
    """
    lengths = case.lengths[rows]
    found = generator.follow(inputs, case.tokens[rows], lengths, case.length_penalty, case.max_length)
    off = np.abs(found.scores - case.scores[rows])
    number = int(np.argmax(~(off <= allowed)))
    if not off[number] <= allowed:
        return f"other tokens, and PyTorch's own score {off[number]:.2g} off what they did there, allowed {allowed:.2g}"
    number = int(np.argmax(found.behind))
    if case.beams == 1 and not found.behind[number] <= 2 * logit_error:
        return (
            f"other tokens, and one of PyTorch's is {found.behind[number]:.2g} behind the likeliest, allowed "
            f"{2 * logit_error:.2g}"
        )
    return ""


def _rows(case: GeneratedCase, rows: slice) -> list[list[int]]:
    return [t[:n].tolist() for t, n in zip(case.tokens[rows], case.lengths[rows], strict=True)]


def _trimmed(inputs: dict[str, Any], generator: Generator) -> dict[str, Any]:
    """A row alone, without the padding at its end that the longer rows beside it asked for."""
    masks = [spec for spec in generator.inputs if spec.dtype == "bool" and len(spec.dims) == 2]
    for mask in masks:
        axis = mask.dims[1].name
        length = max(int(inputs[mask.name].sum()), mask.dims[1].min, 1)
        for spec in generator.inputs:
            for place, dim in enumerate(spec.dims):
                if place > 0 and dim.name is not None and dim.name == axis:
                    inputs[spec.name] = np.take(inputs[spec.name], range(length), axis=place)
    return inputs


def _first_difference(wanted: list[int], found: Generated, number: int) -> str:
    got = found.row(number)
    at = next((n for n, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), min(len(wanted), len(got)))
    ends = [str(row[at]) if at < len(row) else "the end" for row in (got, wanted)]
    return f"token {at} is {ends[0]}, PyTorch's is {ends[1]} ({len(got)} and {len(wanted)} tokens)"
