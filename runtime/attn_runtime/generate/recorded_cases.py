"""What PyTorch generated when the bundle was made: manifest.json's `generation`, read without trust."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Arrays, Bundle, read_tensors
from ..errors import BundleError
from ..files import shown
from ..spec import Dim, TensorSpec
from .graphs import GraphIO

_ANY = 2**31 - 1
_ROWS = Dim("rows", 0, 0, _ANY)
_OUTPUTS = (
    TensorSpec("tokens", "int64", (_ROWS, Dim("length", 0, 0, _ANY))),
    TensorSpec("lengths", "int64", (_ROWS,)),
    TensorSpec("scores", "float32", (_ROWS,)),
)


@dataclass(frozen=True)
class GeneratedCase:
    """One batch of prompts, and PyTorch's answers.

    inputs     what `Generator.generate` takes, float32 where it is float
    tokens     int64 [rows, length], without begin and prompt, with the stop token, padded at the end
    lengths    int64 [rows]
    scores     float32 [rows]
    margin     least gap between what was chosen and what came next, in logits (one beam) or scores (beams); infinite where
               there was nothing to choose
    tolerance  of scores, absolute, in fp32
    """

    name: str
    inputs: dict[str, NDArray[Any]]
    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    scores: NDArray[np.float32]
    beams: int
    length_penalty: float
    max_length: int
    margin: float
    tolerance: float


def generated_cases(bundle: Bundle) -> Iterator[GeneratedCase]:
    """The cases in the manifest's order, one in memory at a time; none where the bundle has none.

    Raises BundleError where a file is damaged, or does not fit the graphs or itself.
    """
    found = bundle.manifest.get("generation", [])
    if not found:
        return
    wiring = GraphIO.of(bundle, _reference(bundle))
    for entry in found:
        where = f"bundle {bundle.path.name}: generated case {shown(entry['case'])}"
        files = bundle.file(entry["inputs"]), bundle.file(entry["outputs"])
        given, answers = bundle.files.read(files, partial(_read, files, wiring.inputs, where))
        rows = {len(array) for array in (*given.values(), *answers.values())}
        if len(rows) != 1:
            raise BundleError(
                f"{where}: its arrays have {sorted(rows)} rows, expected one number; re-export the bundle"
            )
        lengths = answers["lengths"]
        if lengths.size and not 0 <= lengths.min() <= lengths.max() <= answers["tokens"].shape[1]:
            raise BundleError(
                f"{where}: lengths of {lengths.min()}..{lengths.max()}, and tokens has {answers['tokens'].shape[1]}; "
                f"re-export the bundle"
            )
        yield GeneratedCase(
            entry["case"],
            given,
            answers["tokens"],
            lengths,
            answers["scores"],
            entry["beams"],
            float(entry["length_penalty"]),
            entry["max_length"],
            math.inf if entry["margin"] is None else float(entry["margin"]),
            float(entry["tolerance"]),
        )


def _read(files: tuple[Path, Path], inputs: tuple[TensorSpec, ...], where: str) -> tuple[Arrays, Arrays]:
    return read_tensors(files[0], inputs, {}, where), read_tensors(files[1], _OUTPUTS, {}, where)


def _reference(bundle: Bundle) -> str | None:
    """A precision whose inputs are as PyTorch's: one without float16 borders; None to take each graph's own first."""
    for name in next(iter(bundle.graphs.values())).precisions:
        if all(name in g.precisions and not g.precisions[name].half_io for g in bundle.graphs.values()):
            return name
    return None
