"""Rows of tokens that a model continues: texts that --calibrate names, or arrays of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from attn_runtime.bundle import Bundle, write_tensors
from attn_runtime.errors import InputError, UsageError
from attn_runtime.files import is_folder, open_regular, reason
from attn_runtime.generate.graphs import GraphIO
from attn_runtime.preprocess import Text, open_text
from attn_runtime.spec import Dim, TensorSpec
from numpy.typing import NDArray

from .sample_files import SUFFIXES
from .samples import named_samples

Row = NDArray[np.int64]
#: Tokens that are taken, at most, and how many of them are read in one go.
MOST_TOKENS, WINDOW = 8192, 512
#: Of a text file so much is read; more would hardly be taken.
_MOST_BYTES = 1 << 20
_SUFFIX = ".txt"
_ANY = 2**31 - 1


@dataclass(frozen=True)
class TokenRows:
    """Rows of tokens, each int64 [length], read one at a time. `source` is what messages and the manifest call them."""

    source: str
    read: Callable[[], Iterator[Row]] = field(repr=False, compare=False)

    def windows(self, length: int, least: int) -> list[Row]:
        """The rows in pieces of `length` tokens or fewer, one behind the other, up to MOST_TOKENS in all.

        Pieces of fewer than `least` are left out. UsageError where none is left, and where a row can't be read.
        """
        found: list[Row] = []
        room = MOST_TOKENS
        for row in self.read():
            for start in range(0, len(row), length):
                piece = row[start : start + min(length, room)]
                if len(piece) >= least:
                    found.append(piece)
                    room -= len(piece)
            if room < least:
                break
        if not found:
            raise UsageError(
                f"--calibrate {self.source}: no row in it has {least} tokens or more; give longer texts, or leave it out"
            )
        return found


def write_windows(path: Path, windows: Sequence[Row]) -> Path:
    """A .safetensors file of them: tokens int64 [windows, longest], padded at the end, and lengths int64 [windows]."""
    lengths = np.array([len(one) for one in windows], np.int64)
    tokens = np.zeros((len(windows), int(lengths.max())), np.int64)
    for row, one in zip(tokens, windows, strict=True):
        row[: len(one)] = one
    write_tensors(path, {"tokens": tokens, "lengths": lengths})
    return path


def is_text_folder(calibrate: str) -> bool:
    """Whether --calibrate names a folder of texts: it holds .txt files, and no samples of another kind."""
    if not calibrate or not is_folder(Path(calibrate)):
        return False
    suffixes = {file.suffix for file in _listed(Path(calibrate))}
    return _SUFFIX in suffixes and not suffixes & {*SUFFIXES}


def open_token_rows(calibrate: str, bundle: Bundle) -> TokenRows | None:
    """The rows that --calibrate names for a generator without an encoder; None where it holds inputs of single graphs.

    A folder of .txt files has one text a file, in the order of their names, made to tokens as `attn-run generate` does, of which
    the first MiB is read. Anything else that `named_samples` takes holds an array `tokens`, int64 [rows, length], without
    padding. Inputs of single graphs lie in a folder's folders, which are called as the graphs are.

    Raises UsageError for what can't be opened, for texts where the bundle has no tokenizer, and for a model that continues none.
    """
    path = Path(calibrate)
    texts = is_text_folder(calibrate)
    asset = bundle.asset("generation")
    if asset is None or asset["encoder"] is not None:
        if texts:
            raise UsageError(
                f"--calibrate folder {path.name}: it holds texts, which are for a model that continues texts, and bundle "
                f"{bundle.path.name} is none; give samples of its inputs, one a file ({', '.join(SUFFIXES)})"
            )
        return None
    if is_folder(path) and any(is_folder(path / name) for name in bundle.graphs):
        return None
    spec = _spec(bundle)
    if texts:
        if missing := [name for name in ("text", "tokenizer") if bundle.asset(name) is None]:
            raise UsageError(
                f"--calibrate folder {path.name}: it holds texts, and bundle {bundle.path.name} has no tokenizer for them (no "
                f"asset {' and no asset '.join(missing)}); give rows of tokens: an .npz with tokens, int64 [rows, length]"
            )
        return TokenRows(f"folder {path.name}", partial(_rows_of_texts, path, open_text(bundle), spec))
    samples = named_samples(calibrate, (spec,))
    return TokenRows(samples.source, lambda: (row for arrays in samples for row in arrays["tokens"]))


def _spec(bundle: Bundle) -> TensorSpec:
    """Of rows of any length, each of tokens that the graphs have."""
    wiring = GraphIO.of(bundle, "fp32")
    table = wiring.first.inputs["tokens"].high
    high = wiring.vocabulary if table is None else min(table, wiring.vocabulary)
    return TensorSpec("tokens", "int64", (Dim("rows", 1, 1, _ANY), Dim("length", 1, 1, _ANY)), low=0, high=high)


def _rows_of_texts(folder: Path, text: Text, spec: TensorSpec) -> Iterator[Row]:
    for file in sorted((f for f in _listed(folder) if f.suffix == _SUFFIX), key=lambda file: file.name):
        where = f"--calibrate folder {folder.name}, {file.name}"
        content = _content(file, where)
        if not content.strip():
            continue
        try:
            row = text.all_tokens(content)
        except InputError as problem:
            raise UsageError(f"{where}: {problem}") from problem
        assert spec.high is not None
        if row.max() >= spec.high:
            raise UsageError(
                f"{where}: the bundle's tokenizer makes token {row.max()} of it, and the graphs have 0..{spec.high - 1}; give "
                "rows of tokens in an .npz, or re-export the bundle"
            )
        yield row


def _content(file: Path, where: str) -> str:
    """As much as is read of it, without half a character at its end."""
    try:
        with open_regular(file) as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as problem:
        raise UsageError(f"{where}: can't be read: {reason(problem)}; check its permissions") from problem
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(data) > _MOST_BYTES and error.start >= len(data) - 4:
            return data[: error.start].decode("utf-8-sig")
        raise UsageError(f"{where}: is no UTF-8 text (byte {error.start}); convert it") from error


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as problem:
        raise UsageError(f"--calibrate {folder}: can't be read: {reason(problem)}; check its permissions") from problem
