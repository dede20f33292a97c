"""--example: files with the user's own inputs, each a case of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from attn_runtime.bundle import Arrays
from attn_runtime.errors import UsageError
from attn_runtime.files import irregular, is_file
from attn_runtime.spec import Dim, TensorSpec, check_shapes, odd_bool, signature


@dataclass(frozen=True)
class Example:
    """The arrays of one file, by input name."""

    path: Path
    arrays: Arrays


def load_example(path: Path) -> Example:
    """The arrays of an .npz (never unpickled) or .safetensors file. UsageError when it can't be read."""
    example = _read(path)
    for name, value in example.arrays.items():
        if (byte := odd_bool(value)) is not None:
            raise UsageError(f"--example {path}: {name} is bool and holds a byte {byte}, expected 0 and 1 alone")
    return example


def _read(path: Path) -> Example:
    if not is_file(path):
        raise UsageError(f"--example {path}: {irregular(path) or 'no such file'}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return Example(path, dict(load_file(path)))
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UsageError(f"--example {path}: one bare array; names are needed: np.savez(file, NAME=array)")
        with archive:
            return Example(path, {name: archive[name] for name in archive.files})
    except UsageError:
        raise
    except Exception as problem:
        raise UsageError(f"--example {path}: not an .npz or .safetensors file of plain arrays ({problem})") from problem


def specs_from_examples(examples: Sequence[Example], dims: Mapping[str, Dim]) -> tuple[TensorSpec, ...]:
    """Specs of the first example's own shapes; ``--dim INPUT.AXIS=min:opt:max`` makes one axis dynamic.

    An integer's range is that of all examples. UsageError, naming the file, for an axis of another size that no dim names;
    names, dtypes and ranks are for `check_example` to hold against the specs.
    """
    first, *others = examples
    specs: list[TensorSpec] = []
    addresses = {f"{name}.{axis}" for name, value in first.arrays.items() for axis in range(value.ndim)}
    for name in dims:
        if name not in addresses:
            raise UsageError(
                f"--dim {name}: with --example alone an axis is addressed as INPUT.AXIS; known: {', '.join(sorted(addresses))}"
            )
    for name, value in first.arrays.items():
        alike = [e for e in others if name in e.arrays and e.arrays[name].ndim == value.ndim]
        axes: list[Dim] = []
        for axis, size in enumerate(value.shape):
            asked = dims.get(f"{name}.{axis}")
            for example in (first, *alike):
                own = example.arrays[name].shape[axis]
                if asked is None and own != size:
                    least, most = sorted((own, size))
                    raise UsageError(
                        f"--example {example.path}: {name} has {own} on axis {axis}, and {first.path} has {size}; "
                        f"add --dim {name}.{axis}={least}:{size}:{most}"
                    )
                if asked is not None and not asked.min <= own <= asked.max:
                    raise UsageError(
                        f"--dim {asked.name}: the example has {own} there, outside {asked.min}..{asked.max} ({example.path})"
                    )
            axes.append(Dim.fixed(size) if asked is None else replace(asked, name=f"{name}_{axis}"))
        seen = [e.arrays[name] for e in (first, *alike) if e.arrays[name].size]
        integer = value.dtype.kind in "iu" and seen
        low, high = (min(int(a.min()) for a in seen), max(int(a.max()) for a in seen) + 1) if integer else (None, None)
        specs.append(TensorSpec(name, value.dtype.name, tuple(axes), low=low, high=high))
    return tuple(specs)


def check_example(specs: Sequence[TensorSpec], example: Example) -> None:
    """InputError, naming the file, where names, dtypes, ranks or sizes are not those of `specs`."""
    shapes = {name: signature(value) for name, value in example.arrays.items()}
    check_shapes(specs, shapes, f"--example {example.path}")
