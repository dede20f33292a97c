"""What two generators write to the prompts that were recorded with the first: the same tokens, or where they part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from attn_runtime.bundle import Arrays, Bundle, to_fp16
from attn_runtime.errors import BackendError, InputError, UsageError
from attn_runtime.escape import printable
from attn_runtime.generate import GeneratedCase, GenerateOptions, Generator, generated_cases, open_generator

from .answers import LIBRARY


@dataclass(frozen=True)
class WrittenCase:
    """One batch of prompts. `same` of `rows` got the same tokens; `parts` is the first token that is another, in the first row
    that has one, None where none has."""

    case: str
    rows: int
    same: int
    tokens: int
    parts: int | None

    @property
    def agree(self) -> bool:
        return self.same == self.rows


@dataclass(frozen=True)
class Written:
    """`why_not` says why nothing was compared; empty where something was, or where nothing is a generator."""

    cases: tuple[WrittenCase, ...] = ()
    why_not: str = ""

    @property
    def agree(self) -> bool:
        return not self.why_not and all(case.agree for case in self.cases)

    def lines(self) -> Iterator[str]:
        if self.why_not:
            yield f"generated tokens: not compared, {printable(self.why_not, None)}"
        for case in self.cases:
            told = f"{case.tokens} tokens, the same" if case.agree else f"{case.same} of {case.rows} rows the same"
            if case.parts is not None:
                told += f"; token {case.parts} is the first that differs"
            yield f"generated, case {printable(case.case)}: {told}"

    def to_json(self) -> dict[str, Any]:
        cases = [{**asdict(case), "agree": case.agree} for case in self.cases]
        return {"agree": self.agree, "why_not": self.why_not or None, "cases": cases}


def written(bundles: tuple[Bundle, Bundle], precisions: tuple[str | None, str | None]) -> Written:
    """Let both write here, on the CPU. Empty where neither bundle is a generator's. Raises what a damaged bundle raises."""
    generators = [bundle.asset("generation") is not None for bundle in bundles]
    if not any(generators):
        return Written()
    if not all(generators):
        return Written((), f"only {'A' if generators[0] else 'B'} is a generator's")
    if not bundles[0].manifest.get("generation"):
        return Written((), "A holds no prompts that PyTorch answered")
    try:
        with (
            open_generator(bundles[0], "cpu", LIBRARY, precision=precisions[0]) as one,
            open_generator(bundles[1], "cpu", LIBRARY, precision=precisions[1]) as other,
        ):
            return Written(tuple(_case(one, other, case) for case in generated_cases(bundles[0])))
    except (BackendError, InputError, UsageError) as problem:
        return Written((), str(problem))


def _case(one: Generator, other: Generator, case: GeneratedCase) -> WrittenCase:
    rows = [_rows(generator, case) for generator in (one, other)]
    parts = [_first_difference(a, b) for a, b in zip(*rows, strict=True)]
    first = next((at for at in parts if at is not None), None)
    return WrittenCase(case.name, len(parts), sum(at is None for at in parts), sum(map(len, rows[0])), first)


def _rows(generator: Generator, case: GeneratedCase) -> list[list[int]]:
    inputs: Arrays = case.inputs
    if any(spec.dtype == "float16" for spec in generator.inputs):
        inputs = to_fp16(inputs)
    options = GenerateOptions(case.max_length, case.beams, case.length_penalty, False, sample=False)
    found = generator.generate(inputs, options)
    return [found.row(number) for number in range(len(case.lengths))]


def _first_difference(a: list[int], b: list[int]) -> int | None:
    if a == b:
        return None
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
