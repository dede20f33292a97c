"""A generator that is told each token before the next (teacher forcing): how many of PyTorch's recorded tokens are its own, and
how likely it finds texts.

An answer that goes another way once differs in all that is behind; here one other token is one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime import Generator, Session, open_session
from attn_runtime.bundle import Bundle
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.errors import PassError
from attn_runtime.generate import generated_cases
from attn_runtime.generate.graphs import GraphIO, Sessions
from safetensors.numpy import load_file

#: Windows that are read at a time; each has a cache of its own.
_ROWS = 4


@dataclass(frozen=True)
class Agreement:
    """Of `tokens` of PyTorch's greedy answers, each behind PyTorch's own tokens before it, `agreeing` are what the generator
    would choose there."""

    tokens: int
    agreeing: int

    @property
    def share(self) -> float:
        return self.agreeing / self.tokens

    def to_json(self) -> dict[str, int]:
        return {"tokens": self.tokens, "agreeing": self.agreeing}


@dataclass(frozen=True)
class Likelihood:
    """`loss` is the mean negative log probability of a token, in nats, over `tokens` of the first `windows` windows."""

    loss: float
    tokens: int
    windows: int

    @property
    def perplexity(self) -> float:
        """exp(loss), of Jelinek et al., 1977; infinite where that is beyond a float."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def has_answers(bundle: Bundle) -> bool:
    """Whether PyTorch's greedy answers are recorded in it, with a token at least."""
    return any(case.beams == 1 and case.lengths.any() for case in generated_cases(bundle))


def agreement(bundle: Path, files: Mapping[str, Path], isolated: ChildProcess, what: str) -> Agreement:
    """How many tokens of the recorded answers the graphs at `files` (by name; others are the bundle's in fp32) would write.

    The bundle's rules are followed, as they were when the answers were recorded. PassError where they can't be run.
    """
    found = _run(isolated, f"{__name__}:agreement_here", what, bundle=str(bundle), files=_named(files))
    return Agreement(found["tokens"], found["agreeing"])


def likelihood(
    bundle: Path, files: Mapping[str, Path], windows: Path, isolated: ChildProcess, what: str, most: int | None = None
) -> Likelihood:
    """How likely a decoder-only generator finds texts: the first `most` windows, or as many as a quarter of the time limit takes.

    windows   .safetensors with tokens int64 [windows, length] and lengths int64 [windows]

    A window is read alone. Its first tokens, as many as the prompt graph takes at least (one for most), are given and not
    counted; all others are, each behind those before it, through the cache. The bundle's rules, which are of writing, are left
    out. PassError where it can't be run.
    """
    found = _run(
        isolated, f"{__name__}:likelihood_here", what, bundle=str(bundle), files=_named(files), windows=str(windows),
        most=most, seconds=isolated.seconds / 4,
    )  # fmt: skip
    return Likelihood(found["loss"], found["tokens"], found["windows"])


def _named(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in files.items()}


def _run(isolated: ChildProcess, task: str, what: str, **arguments: Any) -> dict[str, Any]:
    try:
        return isolated.run(task, f"generation with {what}", **arguments)
    except TaskFailed as problem:
        raise PassError(f"{what} can't be run: {problem.reason}") from problem


# --- in the child process -------------------------------------------------------------------------------------------------


def agreement_here(bundle: str, files: dict[str, str]) -> dict[str, Any]:
    """The task of `agreement`."""
    opened = Bundle.open(bundle, check_hashes=False)
    tokens = agreeing = 0
    with _generator(opened, files) as generator:
        for case in generated_cases(opened):
            if case.beams == 1:
                found = generator.follow(case.inputs, case.tokens, case.lengths, max_length=case.max_length)
                tokens, agreeing = tokens + int(case.lengths.sum()), agreeing + int(found.own.sum())
    return {"tokens": tokens, "agreeing": agreeing}


def likelihood_here(
    bundle: str, files: dict[str, str], windows: str, most: int | None, seconds: float
) -> dict[str, Any]:
    """The task of `likelihood`."""
    opened = Bundle.open(bundle, check_hashes=False)
    stored = load_file(windows)
    lengths = stored["lengths"][:most]
    total, tokens, done = 0.0, 0, 0
    started = time.monotonic()
    with _generator(opened, files) as generator:
        rows_of_prompt, given = (dim.min for dim in generator.wiring.first.inputs["tokens"].dims)
        rows = min(max(_ROWS, rows_of_prompt), generator.most_rows)
        while done < len(lengths) and (not done or most is not None or time.monotonic() - started < seconds):
            part = np.arange(done, min(done + rows, len(lengths)))
            # A graph of two rows and more reads the last one again, which is not counted.
            fed = np.pad(part, (0, max(0, rows_of_prompt - len(part))), mode="edge")
            read, counted = stored["tokens"][fed, : lengths[fed].max()], lengths[fed] - given
            prompt = np.ascontiguousarray(read[:, :given])
            # To the power of 0: the sum.
            found = generator.follow({"tokens": prompt}, read[:, given:], counted, length_penalty=0.0, ruled=False)
            total -= float(found.scores[: len(part)].sum())
            tokens, done = tokens + int(counted[: len(part)].sum()), done + len(part)
    return {"loss": total / tokens, "tokens": tokens, "windows": done}


def _generator(bundle: Bundle, files: Mapping[str, str]) -> Generator:
    """The bundle's generator, with these files in place of its graphs in fp32."""
    wiring = GraphIO.of(bundle, "fp32")

    def open_one(graph: str, _: Session | None) -> Session:
        if graph in files:
            return open_session(files[graph], "cpu", "ort", stop_spinning=True)
        return open_session(bundle, "cpu", "ort", graph=graph, precision="fp32", stop_spinning=True)

    return Generator(bundle, wiring, Sessions.opened(wiring, open_one))
