"""Samples in files: a folder with one sample each, and an .npz in which they are stacked."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from attn_runtime.bundle import Arrays
from attn_runtime.errors import UsageError
from attn_runtime.files import is_folder, open_regular, reason
from attn_runtime.spec import TensorSpec

Read = Callable[[], Iterator[tuple[str, Arrays]]]
SUFFIXES = (".npz", ".safetensors")
#: What reading a damaged file raises.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


# --- a folder -----------------------------------------------------------------------------------------------------------


def folder_samples(folder: Path, graph: str) -> tuple[int, Read]:
    """How many samples `folder`, or the folder in it that is called as the graph is, holds, and what reads them.

    UsageError for a folder without .npz and .safetensors files; while they are read, for one that can't be.
    """
    if graph and is_folder(folder / graph):
        folder = folder / graph
    try:
        files = sorted((f for f in folder.iterdir() if f.suffix in SUFFIXES), key=lambda file: file.name)
    except OSError as problem:
        raise UsageError(f"--calibrate {folder}: can't be read: {reason(problem)}; check its permissions") from problem
    if not files:
        raise UsageError(
            f"--calibrate {folder}: there is no .npz and no .safetensors file in it; expected one sample a file, saved with "
            "numpy.savez(file, INPUT=array, ...)"
        )

    def read() -> Iterator[tuple[str, Arrays]]:
        for file in files:
            yield file.name, _one_sample(file)

    return len(files), read


def _one_sample(file: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        with open_regular(file) as stream:
            if file.suffix == ".safetensors":
                return dict(load(stream.read()))
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name; save it with numpy.savez(file, INPUT=array)")
            return {name: found[name] for name in found.files}
    except (*_DAMAGED, SafetensorError) as problem:
        raise UsageError(f"--calibrate {file}: can't be read as {file.suffix}: {reason(problem)}") from problem


# --- an .npz in which samples are stacked --------------------------------------------------------------------------------


def stacked_samples(file: Path, specs: Sequence[TensorSpec]) -> tuple[int, Read]:
    """How many samples an .npz holds, and what reads them, one after the other, without reading the rest.

    An array of one axis more than its input has the samples along the first; one of as many axes is cut along the first into
    pieces of the input's smallest size there. UsageError for a file that is none of both.
    """
    where = f"--calibrate {file}"
    if file.suffix != ".npz":
        raise UsageError(f"{where}: got suffix {file.suffix or '(none)'}, expected FILE.npz, or a folder of samples")
    with ExitStack() as stack:
        counts = {m.name: m.samples for m in _members(file, specs, where, stack)}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UsageError(
            f"{where}: its arrays hold different numbers of samples: {told}; expected as many of each input"
        )
    count = next(iter(counts.values()))

    def read() -> Iterator[tuple[str, Arrays]]:
        with ExitStack() as stack:
            members = _members(file, specs, where, stack)
            for number in range(count):
                try:
                    yield f"sample {number}", {member.name: member.next() for member in members}
                except _DAMAGED as problem:
                    raise UsageError(f"{where}, sample {number}: can't be read: {reason(problem)}") from problem

    return count, read


class _Member:
    """One array of an .npz, read from its beginning, sample by sample, whether it is compressed or not."""

    def __init__(self, name: str, stream: IO[bytes], spec: TensorSpec) -> None:
        self.name, self._stream = name, stream
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"{name} is of format {version}, expected 1.0 or 2.0; save it with numpy.savez")
        shape, fortran, self._dtype = _HEADERS[version](stream)
        if self._dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which are never unpickled; save plain arrays")
        if fortran and len(shape) > 1:
            raise ValueError(f"{name} is stored column by column; save numpy.ascontiguousarray of it")
        rank = len(spec.dims)
        if not shape or len(shape) not in (rank, rank + 1):
            raise ValueError(
                f"{name} has shape {list(shape)}, expected {rank + 1} axes, samples along the first, or {rank}: {spec}"
            )
        rows = 1 if len(shape) > rank else max(1, spec.dims[0].min)
        if shape[0] % rows:
            raise ValueError(f"{name} has {shape[0]} rows, expected a multiple of {rows}, which a sample takes: {spec}")
        self.samples = shape[0] // rows
        self._shape = shape[1:] if len(shape) > rank else (rows, *shape[1:])

    def next(self) -> np.ndarray[Any, Any]:
        size = math.prod(self._shape) * self._dtype.itemsize
        found = self._stream.read(size)
        if len(found) < size:
            raise EOFError(f"{self.name} ends early")
        return np.frombuffer(found, self._dtype).reshape(self._shape)


def _members(file: Path, specs: Sequence[TensorSpec], where: str, stack: ExitStack) -> list[_Member]:
    """The arrays of `file`, each at its first sample; `stack` closes them."""
    known = {spec.name: spec for spec in specs}
    try:
        archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(open_regular(file))))
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if sorted(names) != sorted(known):
            raise UsageError(f"{where}: it holds the arrays {', '.join(names)}; expected {', '.join(known)}")
        return [_Member(name, stack.enter_context(archive.open(f"{name}.npy")), known[name]) for name in names]
    except _DAMAGED as problem:
        raise UsageError(f"{where}: can't be read as .npz: {reason(problem)}") from problem
