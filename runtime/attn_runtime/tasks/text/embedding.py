"""Embeddings of texts: a vector each, such that texts of like meaning have like ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import arguments
from ...errors import UsageError, did_you_mean
from ...files import check_file, write_whole
from ...session import RunReport, Session
from ...spec import TensorSpec
from .rows import Array, TextRow, all_texts, expect_finite, opened, read_texts

#: How the vectors of a text's tokens become one: of those that are not padding.
POOLINGS = ("mean", "first", "last")
#: What an output is called that is an embedding, and nothing else: of sentence-transformers, CLIP and SigLIP.
_NAMES = ("embeddings", "sentence_embedding", "text_embeds")


@dataclass(frozen=True)
class Embedding:
    """One text and its vector, float32 [size]."""

    given: str
    values: NDArray[np.float32]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Embeddings(RunReport):
    """`output` is the graph's output that they are, or are made of."""

    inputs: tuple[Embedding, ...]
    output: str

    @property
    def array(self) -> NDArray[np.float32]:
        """float32 [texts, size]"""
        return np.stack([each.values for each in self.inputs])

    def to_json(self) -> dict[str, Any]:
        inputs = [{"input": i.given, "embedding": i.values.tolist(), "notes": list(i.notes)} for i in self.inputs]
        return {"output": self.output, "inputs": inputs, **self.told()}


def embed(
    path: str | os.PathLike[str],
    texts: Sequence[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    file: str | os.PathLike[str] | None = None,
    of: str | None = None,
    pooling: str | None = None,
    normalize: bool = False,
    truncate: bool = False,
    output: str | os.PathLike[str] | None = None,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    stdin: bool = False,
) -> Embeddings:
    """Embed `texts` and the lines of `file` with the bundle at `path`.

    of         the output that is meant, where there are several
    pooling    one of POOLINGS, for an output [batch, length, size] with a vector for every token
    normalize  divide each vector by its length
    truncate   cut a text that is too long, as its notes then say; otherwise it is refused
    output     an .npy that gets float32 [texts, size], whole or not at all
    stdin      a text that is "-" stands for the lines of stdin

    Raises InputError for the first text that is empty or too long, and then nothing was run; UsageError where the bundle does not
    embed texts; OutputError; and what `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.TEXT | arguments.NONE, of=of, pooling=pooling)
    arguments.expect(arguments.PATH | arguments.NONE, output=output)
    arguments.expect(arguments.FLAG, normalize=normalize, truncate=truncate)
    if pooling is not None and pooling not in POOLINGS:
        raise UsageError(
            f'pooling: got "{pooling}", {did_you_mean(pooling, POOLINGS)}expected one of {", ".join(POOLINGS)}'
        )
    if output is not None and Path(output).suffix != ".npy":
        raise UsageError(f"output {output}: got suffix {Path(output).suffix or '(none)'}, expected .npy")
    if output is not None:
        check_file(Path(output))
    given = all_texts(texts, file, stdin, "embed")
    with opened(path, backend, device, graph, precision, threads, cache) as run:
        spec = embedding_output(run.session, of, pooling)
        rows = read_texts(run.session, run.text, given, truncate=truncate)
        found = []
        for row, outputs in run.rows(rows):
            values = pooled(row, outputs[spec.name].astype(np.float32), pooling)
            expect_finite(run.session, row, values)
            if normalize:
                values = values / max(float(np.linalg.norm(values)), 1e-12)
            found.append(Embedding(row.given, values, row.notes))
        done = Embeddings(inputs=tuple(found), output=spec.name, **run.report())
    if output is not None:
        array = done.array
        write_whole(Path(output), lambda path: _save(path, array))
    return done


def _save(path: Path, array: Array) -> None:
    with path.open("wb") as file:  # numpy.save gives a name without .npy one
        np.save(file, array, allow_pickle=False)


def embedding_output(session: Session, name: str | None, pooling: str | None) -> TensorSpec:
    """The output that is meant, of a bundle that embeds texts; UsageError where there is none, or more than one."""
    listed = ", ".join(map(str, session.outputs))
    rank = 2 if pooling is None else 3
    floats = [spec for spec in session.outputs if spec.dtype.startswith("float") and len(spec.dims) == rank]
    fitting = [spec for spec in floats if not spec.dims[-1].dynamic]  # a number for each token is no vector
    if name is not None:
        if found := [spec for spec in fitting if spec.name == name]:
            return found[0]
        names = [spec.name for spec in session.outputs]
        known = next((spec for spec in session.outputs if spec.name == name), None)
        if known is None:
            raise UsageError(f'of: got "{name}", {did_you_mean(name, names)}{session.where} answers {listed}')
        wanted = "give --pooling for a vector of each token" if len(known.dims) == 3 else "expected [batch, size]"
        raise UsageError(f"of: {known} is no vector for each text{' and --pooling' if pooling else ''}; {wanted}")
    if session.asset("labels") is not None:
        raise UsageError(f"{session.where}: has labels, and is a classifier; attn-run classify says what texts are")
    named = [spec for spec in fitting if spec.name in _NAMES]
    if len(named or fitting) == 1:
        return (named or fitting)[0]
    raise UsageError(
        f"{session.where}: which of its outputs is the embedding? It answers {listed}; name one with --of, and one of every "
        f"token with --pooling {'|'.join(POOLINGS)} too"
    )


def pooled(row: TextRow, values: Array, pooling: str | None) -> NDArray[np.float32]:
    """The vector of a row, of what the graph answers for it and its padding."""
    if pooling is None:
        return values
    own = values[: len(row.encoded.tokens)]
    return np.asarray(own.mean(axis=0) if pooling == "mean" else own[0 if pooling == "first" else -1], np.float32)
