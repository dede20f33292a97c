"""Samples of a graph's inputs: the golden ones, or those that --calibrate names. Streamed: one is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Arrays, Graph, read_tensors
from attn_runtime.errors import UsageError
from attn_runtime.files import irregular, is_file, is_folder
from attn_runtime.spec import TensorSpec

from ...source import given_inputs
from .sample_files import folder_samples, stacked_samples
from .sample_function import function_samples

#: What --calibrate takes, for messages.
FORMS = "FOLDER, FILE.npz or package.module:callable"


@dataclass(frozen=True)
class Samples:
    """Inputs of one graph, each a dict of numpy arrays by input name. May be iterated over and over.

    source   what messages and the manifest call them: "the golden inputs", "folder calib", "calib.npz", "data.texts:samples"
    count    how many there are; None where only the end will tell
    read     begins anew from the first: what each is called in a message, and its arrays, which are trusted
    """

    source: str
    count: int | None
    read: Callable[[], Iterator[tuple[str, Arrays]]] = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[Arrays]:
        """The arrays of one sample after the other.

        Raises UsageError, naming source and sample, where one can't be read or is not what the graph declares, and where there
        is none at all; BundleError where a golden file is damaged.
        """
        none = True
        for _, arrays in self.read():
            none = False
            yield arrays
        if none:
            raise UsageError(
                f"--calibrate {self.source}: there are no samples in it, expected at least one; give {FORMS}"
            )


def open_samples(calibrate: str | None, graph: Graph, type: str | None = None) -> Samples:
    """The samples that --calibrate names for `graph`, as `named_samples` has them; None means its golden inputs.

    `type` is of the precision that is calibrated, as `Graph.golden_for` takes it: a case of inputs a hundred times the usual,
    which fp32 alone is held to, says nothing of ranges. None takes what every type is held to.

    Raises UsageError for what can't be opened, and where a graph has no golden cases to fall back on.
    """
    return _golden(graph, type) if calibrate is None else named_samples(calibrate, graph.inputs, graph.name)


def named_samples(calibrate: str, inputs: Sequence[TensorSpec], graph: str = "") -> Samples:
    """The samples that --calibrate names, for a graph of these inputs that is called `graph`.

    FOLDER holds one sample a file, .npz or .safetensors, taken in the order of their names; where it holds a folder that is
    called as the graph is, that one is meant. FILE.npz holds many samples: each array has one axis more than its input, and the
    samples lie along the first; or it has the axes of its input, and each sample takes as many rows of the first as the input
    declares at the least, one for most. A callable is called without arguments for each pass and gives an iterable of samples.

    Raises UsageError for what can't be opened.
    """
    path = Path(calibrate)
    if calibrate and is_folder(path):
        return _checked(f"folder {_name(path)}", inputs, *folder_samples(path, graph))
    if is_file(path):
        return _checked(path.name, inputs, *stacked_samples(path, inputs))
    module, colon, function = calibrate.partition(":")
    if colon and module and function and not irregular(path):
        return _checked(calibrate, inputs, None, function_samples(calibrate))
    found = (calibrate and irregular(path)) or "there is no such file or folder"
    raise UsageError(f"--calibrate {calibrate}: {found}; expected {FORMS}")


def samples_of_files(paths: Sequence[Path], inputs: Sequence[TensorSpec], source: str = "the drawn inputs") -> Samples:
    """The samples that lie in .safetensors files of a graph without a bundle, each checked against `inputs`.

    UsageError where there are none; BundleError, once they are read, for a file that does not hold them.
    """
    if not paths:
        raise UsageError(f"there are no inputs to calibrate with; give some with --calibrate {FORMS}")
    specs = tuple(inputs)

    def read() -> Iterator[tuple[str, Arrays]]:
        for path in paths:
            yield path.name, read_tensors(path, specs, {}, source)

    return Samples(source, len(paths), read)


def _golden(graph: Graph, type: str | None) -> Samples:
    refs = graph.golden_for(type)
    if not refs:
        raise UsageError(
            f"bundle {graph.bundle}: graph {graph.name} has no golden inputs to calibrate with; give some with "
            f"--calibrate {FORMS}"
        )

    def read() -> Iterator[tuple[str, Arrays]]:
        for ref in refs:
            where = f"bundle {graph.bundle}: golden case {ref.name}"
            inputs = partial(read_tensors, ref.inputs, graph.inputs, ref.sizes, where)
            yield ref.name, graph.files.read([ref.inputs], inputs)

    return Samples("the golden inputs", len(refs), read)


def _checked(
    source: str, specs: Sequence[TensorSpec], count: int | None, given: Callable[[], Iterator[tuple[str, Any]]]
) -> Samples:
    """Samples that somebody else gave, each held against `specs`."""

    def read() -> Iterator[tuple[str, Arrays]]:
        for label, arrays in given():
            yield label, given_inputs(f"--calibrate {source}, {label}", arrays, specs, "--calibrate", "mend the sample")

    return Samples(source, count, read)


def _name(folder: Path) -> str:
    return folder.name or folder.resolve().name
