"""Golden tensors: safetensors files read without trust and written without surprise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import BundleError, OutputError
from ..files import shown
from ..spec import DTYPES, Dim, TensorSpec, odd_bool

#: A header of 4096 tensors with long names stays under it; safetensors itself would parse 100 MB.
MAX_HEADER_BYTES = 4 * 2**20

_DTYPE_OF = {"F16": "float16", "F32": "float32", "F64": "float64", "BOOL": "bool"} | {
    f"{sign}{bits}": f"{'u' if sign == 'U' else ''}int{bits}" for sign in "IU" for bits in (8, 16, 32, 64)
}


def read_tensors(
    path: Path, specs: tuple[TensorSpec, ...], sizes: Mapping[str, int], where: str
) -> dict[str, NDArray[Any]]:
    """The tensors of `specs`, in their order, each of its spec's dtype and of the shape that `sizes` gives.

    A named dim that `sizes` lacks may have any size within its range. Every name, dtype and shape is checked before
    the first tensor is read, and no claim of the header makes this allocate more than the file's own size.
    Raises BundleError, opened by `where`.
    """
    advice = "re-export the bundle"
    try:
        with path.open("rb") as f:
            header = int.from_bytes(f.read(8), "little")
        if header > min(MAX_HEADER_BYTES, max(path.stat().st_size - 8, 0)):
            raise BundleError(
                f"{where}: {path.name} claims a header of {header} bytes in a file of {path.stat().st_size}, "
                f"at most {MAX_HEADER_BYTES} are accepted; {advice}"
            )
        with safe_open(path, framework="np") as tensors:
            found = set(tensors.keys())
            wanted = {spec.name for spec in specs}
            for problem, names in (("lacks", wanted - found), ("has unknown", found - wanted)):
                if names:
                    raise BundleError(
                        f"{where}: {path.name} {problem} {shown(sorted(names))}, "
                        f"the graph has {shown(sorted(wanted))}; {advice}"
                    )
            for spec in specs:
                part = tensors.get_slice(spec.name)
                dtype, shape = _DTYPE_OF.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape())
                if dtype != spec.dtype or not _fits(shape, spec, sizes):
                    raise BundleError(
                        f"{where}: {path.name}: tensor {shown(spec.name)} is {dtype} {list(shape)}, "
                        f"expected {_expected(spec, sizes)}; {advice}"
                    )
            read = {spec.name: tensors.get_tensor(spec.name) for spec in specs}
        for name, value in read.items():
            if (byte := odd_bool(value)) is not None:
                raise BundleError(
                    f"{where}: {path.name}: tensor {shown(name)} is bool and holds a byte {byte}, expected 0 and 1 alone; "
                    f"{advice}"
                )
        return read
    except SafetensorError as error:
        raise BundleError(f"{where}: {path.name} is no safetensors file: {shown(str(error), 160)}; {advice}") from None
    except OSError as error:
        raise BundleError(f"{where}: can't read {path.name}: {error.strerror or error}; {advice}") from None


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write `tensors` (numpy arrays of the manifest's dtypes, any memory layout) to a new safetensors file.

    Raises OutputError when the file can't be written, and ValueError for a dtype that no bundle holds.
    """
    for name, value in tensors.items():
        if value.dtype.name not in DTYPES:
            raise ValueError(f"tensor {name}: no bundle holds dtype {value.dtype.name}")
    try:
        # safetensors copies raw memory: a transposed view would be written as if it were contiguous.
        save_file({name: np.asarray(value, order="C") for name, value in tensors.items()}, path)
    except (SafetensorError, OSError) as error:
        raise OutputError(f"can't write {path.name}: {error}; free some space or choose another folder") from error


def _range(dim: Dim, sizes: Mapping[str, int]) -> tuple[int, int]:
    size = sizes.get(dim.name) if dim.name is not None else None
    return (dim.min, dim.max) if size is None else (size, size)


def _fits(shape: tuple[int, ...], spec: TensorSpec, sizes: Mapping[str, int]) -> bool:
    ranges = [_range(dim, sizes) for dim in spec.dims]
    return len(shape) == len(ranges) and all(low <= n <= high for n, (low, high) in zip(shape, ranges, strict=True))


def _expected(spec: TensorSpec, sizes: Mapping[str, int]) -> str:
    ranges = [_range(dim, sizes) for dim in spec.dims]
    return f"{spec.dtype} [{', '.join(str(low) if low == high else f'{low}..{high}' for low, high in ranges)}]"
