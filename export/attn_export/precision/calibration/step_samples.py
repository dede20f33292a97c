"""Rows of tokens as inputs of a generator's graphs: what the prompt graph reads, and the caches that it hands to the step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime import open_session
from attn_runtime.bundle import Arrays, Bundle, write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.errors import PassError
from attn_runtime.generate.graphs import GraphIO
from safetensors.numpy import load_file

from .samples import Samples
from .token_rows import Row

#: Tokens before a step, at most, and what all samples of the step may take of the disk: a cache is large.
_MOST_BEFORE, _MOST_BYTES = 128, 256 << 20


def generator_samples(
    bundle: Bundle, windows: Path, source: str, isolated: ChildProcess, work: Path
) -> dict[str, Samples]:
    """Samples of a generator without an encoder, by graph, of the rows in `windows`, as `write_windows` leaves them.

    The prompt graph reads each row, as far as it takes it. The step reads two places of each: one in the middle and the last
    one, behind caches that the fp32 prompt graph made of what is before them. `work` keeps the files. PassError where the graph
    can't be run.
    """
    folder = work / "samples"
    folder.mkdir()
    try:
        found = isolated.run(
            f"{__name__}:write_here", "the samples of the step", bundle=str(bundle.path), windows=str(windows), folder=str(folder)
        )  # fmt: skip
    except TaskFailed as problem:
        raise PassError(f"the fp32 graphs can't be run on {source}: {problem.reason}") from problem
    return {
        graph: Samples(source, len(files), partial(_read, [Path(file) for file in files]))
        for graph, files in found["files"].items()
        if files
    }


def _read(files: Sequence[Path]) -> Iterator[tuple[str, Arrays]]:
    for file in files:
        yield file.name, load_file(file)


def write_here(bundle: str, windows: str, folder: str) -> dict[str, Any]:
    """The task of the child process."""
    opened = Bundle.open(bundle, check_hashes=False)
    wiring = GraphIO.of(opened, "fp32")
    stored = load_file(windows)
    made: dict[str, list[str]] = {wiring.first.name: [], wiring.step.name: []}
    written = 0

    def keep(graph: str, arrays: Arrays) -> int:
        path = Path(folder) / f"{graph}.{len(made[graph])}.safetensors"
        write_tensors(path, arrays)
        made[graph].append(str(path))
        return sum(array.nbytes for array in arrays.values())

    rows, prompt = wiring.first.inputs["tokens"].dims
    most = min(prompt.max, _MOST_BEFORE, wiring.capacities[1])
    with open_session(opened, "cpu", "ort", graph=wiring.first.name, precision="fp32", low_memory=True) as session:
        for row, length in zip(stored["tokens"], stored["lengths"].tolist(), strict=True):
            # As many rows as a graph takes at least: they are the same.
            read = np.repeat(row[None, :length], rows.min, 0)
            if length >= prompt.min:
                keep(wiring.first.name, _of_first(read[:, : prompt.max]))
            for before in sorted({max(prompt.min, min(n, most)) for n in (length // 2, length - 1)}):
                if before < length and written < _MOST_BYTES:
                    answers = session.run(_of_first(read[:, :before]))
                    written += keep(wiring.step.name, _of_step(wiring, answers, read[:, before : before + 1], before))
    return {"files": made}


def _of_first(tokens: Row) -> Arrays:
    return {"tokens": np.ascontiguousarray(tokens), "tokens_mask": np.ones(tokens.shape, bool)}


def _of_step(wiring: GraphIO, answers: Arrays, token: Row, before: int) -> Arrays:
    """What the step is given for `token` [rows, 1] behind so many others, of which the prompt graph gave `answers`."""
    entries = max(before, wiring.capacities[0])
    mask = np.zeros((len(token), entries), bool)
    mask[:, :before] = True
    made: Arrays = {
        "token": np.ascontiguousarray(token),
        "position": np.full((1 if wiring.one_place else len(token), 1), before, np.int64),
        "past_mask": mask,
    }
    for name in wiring.cache:
        new = answers[f"new_{name}"]
        past = np.zeros((*new.shape[:2], entries, new.shape[3]), new.dtype)
        past[:, :, :before] = new
        made[f"past_{name}"] = past
    return {name: made[name] if name in made else answers[name] for name in wiring.step.inputs}
