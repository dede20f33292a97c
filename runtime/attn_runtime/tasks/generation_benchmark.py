"""How fast a generator writes on this machine, by batch size: time to the first token, and tokens per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import InputError, UsageError
from ..files import peak_memory, reset_peak_memory
from ..generate import GenerateOptions, Generator, open_generator
from ..random_inputs import draw_inputs
from ..session import remember_curve
from ..spec import check_shapes, named_dims
from .bench_parts import Report, batch_dim, batches_of, drawable

#: Tokens of an answer where nobody says how many, and measured answers.
_NEW_TOKENS, _RUNS = 32, 3


@dataclass(frozen=True)
class GenerationSize:
    """One batch size; times are in milliseconds.

    prompt             tokens of a row that are given: of a decoder-only model the prompt, else the encoder's input
    new_tokens         tokens that each row wrote
    runs               batches that were written
    first_p50_ms       from the call to the first token: the prompt, or the encoder, and one step; and the 90th percentile
    token_ms           mean time of each further token of a row; None where there was one token alone
    tokens_per_second  of all rows together, from the call to the last token; row_tokens_per_second of one of them
    peak_memory        as in SizeResult, with memory_source
    """

    batch: int
    sizes: Mapping[str, int]
    prompt: int
    new_tokens: int
    runs: int
    first_p50_ms: float
    first_p90_ms: float
    token_ms: float | None
    tokens_per_second: float
    row_tokens_per_second: float
    peak_memory: int
    memory_source: str


class GenerationBenchReport(Report[GenerationSize]):
    """What `bench` says of a generator. `call` is "generate": greedy, without stop tokens, so that each answer is as long as
    was asked for."""


@dataclass(frozen=True)
class Measure:
    """How long to measure: as in `bench`."""

    warmup_s: float
    measure_s: float
    min_runs: int | None
    seed: int


def bench_generator(
    bundle: Bundle,
    batches: Sequence[int],
    sizes: Mapping[str, int],
    new_tokens: int | None,
    measure: Measure,
    on_open: Callable[[bool], None] | None,
    on_size: Callable[[GenerationSize], None] | None,
    *,
    keep: bool,
    **where: Any,
) -> GenerationBenchReport:
    """`bench` of a bundle that generates; with `keep` the bundle keeps what was measured. `where` goes to `open_generator`."""
    if new_tokens is not None and new_tokens < 1:
        raise UsageError(f"new tokens: got {new_tokens}, expected 1 or more")
    with open_generator(bundle, **where) as generator:
        dims = named_dims(generator.inputs)
        lead, dim = generator.inputs[0].dims, batch_dim(generator)
        at = {name: dim.opt for name, dim in dims.items()} | dict(sizes)
        # What an answer and its prompt share room in is a decoder-only model's length; a prompt of half of it leaves some.
        length = lead[1].name if len(lead) > 1 and generator.wiring.encoder is None else None
        if length is not None and length not in sizes:
            at[length] = max(dims[length].min, min(dims[length].opt, generator.max_length // 2))
        results = []
        chosen = batches_of(generator, batches, sizes)
        if on_open:
            on_open(True)
        for batch in chosen:
            at |= {dim: batch} if dim else {}
            results.append(_measure(generator, batch, dict(at), new_tokens, measure))
            if on_size:
                on_size(results[-1])
        told, file = (generator.backend, generator.device, generator.choice), None
        if keep and generator.precision is not None:
            on = generator.precision, where["threads"], generator.backend, generator.device
            file = str(remember_curve(bundle, None, *on, "generate", [vars(each) for each in results]))
        return GenerationBenchReport(
            bundle.path.name, *told, "generate", dim, tuple(results), generator.passed_over, file
        )


def _measure(
    generator: Generator, batch: int, sizes: Mapping[str, int], new_tokens: int | None, measure: Measure
) -> GenerationSize:
    inputs = _inputs(generator, sizes, measure.seed)
    first = next(iter(inputs.values()))
    prompt = first.shape[1] if first.ndim > 1 else 1
    room = generator.max_length - (prompt if generator.wiring.encoder is None else 1)
    count = min(_NEW_TOKENS, room) if new_tokens is None else new_tokens
    if not 1 <= count <= room:
        raise InputError(
            f"new tokens: got {count}, expected 1..{room}: the model takes rows of up to {generator.max_length} tokens, of which "
            f"{generator.max_length - room} come before the answer; ask for fewer, or give a shorter prompt ({generator.where})"
        )
    options = GenerateOptions(count, beams=1, sample=False, stop=())
    memory_source = reset_peak_memory()
    until = time.perf_counter() + measure.warmup_s
    _write(generator, inputs, options)
    while time.perf_counter() < until:
        _write(generator, inputs, options)
    least = _RUNS if measure.min_runs is None else measure.min_runs
    times: list[tuple[float, float]] = []
    started = time.perf_counter()
    while len(times) < least or time.perf_counter() - started < measure.measure_s:
        times.append(_write(generator, inputs, options))
    firsts, wholes = np.array(times).T
    p50, p90 = (float(p) for p in np.percentile(firsts * 1000, [50, 90]))
    further = float((wholes - firsts).mean()) * 1000 / (count - 1) if count > 1 else None
    row_rate = count * len(times) / float(wholes.sum())
    return GenerationSize(
        batch, sizes, prompt, count, len(times), p50, p90, further, row_rate * batch, row_rate,
        peak_memory(memory_source), memory_source,
    )  # fmt: skip


def _write(generator: Generator, inputs: Mapping[str, Any], options: GenerateOptions) -> tuple[float, float]:
    """Seconds to the first token of all rows, and to the last."""
    first: list[float] = []

    def note(row: int, token: int) -> None:
        if not first:
            first.append(time.perf_counter())

    started = time.perf_counter()
    generator.generate(inputs, options, note)
    return first[0] - started, time.perf_counter() - started


def _inputs(generator: Generator, sizes: Mapping[str, int], seed: int) -> dict[str, NDArray[Any]]:
    """Drawn ones, without padding: every mask is true. Raises InputError for sizes out of range."""
    check_shapes(generator.inputs, {s.name: (s.dtype, s.shape(sizes)) for s in generator.inputs}, generator.where)
    # Tokens of a decoder-only model are of its vocabulary. What else a number means is not told; 0 and 1 mean something.
    high = generator.vocabulary if generator.wiring.encoder is None else 2
    inputs = draw_inputs([drawable(spec, high) for spec in generator.inputs], sizes, seed)
    return {name: np.ones_like(value) if value.dtype == bool else value for name, value in inputs.items()}
