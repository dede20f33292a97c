"""Discrete Fourier transforms of all frequencies (fft, ifft, fftn ...) as products with the matrix of their roots of one.

The exporter writes DFT, which TensorRT's parser does not know, and which ONNX Runtime (1.31) answers at lengths that are no
power of 2 with some twenty times PyTorch's rounding. The matrix has n * n numbers for a length of n.
"""

from __future__ import annotations

import math

import torch

from .building_blocks import Call, CanNotWrite, Form, Size, arguments, as_tensor, bounds, count_to, quotient, value

#: The longest axis: 16 MB for its two matrices.
_MOST = 1 << 11


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    name = node.target._schema.name.removeprefix("aten::fft_")  # type: ignore[union-attr]
    x = value(given["self"])
    dims = given["dim"] if given["dim"] is not None else list(range(x.dim()))
    dims = [dims] if isinstance(dims, int) else list(dims)
    cut = given.get("n") if "n" in given else given.get("s")
    if cut is not None or x.dtype not in (torch.float32, torch.complex64) or not all(_short(x.shape[d]) for d in dims):
        return None
    inverse = name.startswith("i")
    scaled = {"ortho": 0.5, "forward": 0.0 if inverse else 1.0}.get(given["norm"], 1.0 if inverse else 0.0)
    return Call(transformed, (given["self"], dims), {"inverse": inverse, "scaled": scaled})


def _short(size: Size) -> bool:
    try:
        return bounds(size)[1] <= _MOST
    except CanNotWrite:
        return False


def transformed(x: torch.Tensor, dims: list[int], *, inverse: bool, scaled: float) -> torch.Tensor:
    """x real or complex -> complex, along each of `dims`, divided by their lengths to the power of `scaled`."""
    pair = torch.view_as_real(x) if x.is_complex() else None
    real, imaginary = (x, None) if pair is None else (pair.select(-1, 0), pair.select(-1, 1))
    for dim in dims:
        real, imaginary = _along(real, imaginary, dim % x.dim(), inverse, scaled)
    return torch.complex(real, torch.zeros_like(real) if imaginary is None else imaginary)


def _along(
    real: torch.Tensor, imaginary: torch.Tensor | None, dim: int, inverse: bool, scaled: float
) -> tuple[torch.Tensor, torch.Tensor]:
    size = real.shape[dim]
    at = count_to(size)
    products = (at.unsqueeze(1) * at.unsqueeze(0)).reshape(-1)
    turns = products - size * quotient(products, as_tensor(size))
    turns = torch.where(turns * 2 > size, turns - size, turns)  # the smaller of both angles is rounded less
    angles = (turns.to(real.dtype) * (2 * math.pi) / size).reshape(size, size)
    length = torch.full((), size, dtype=real.dtype)
    cosines, sines = (part / length**scaled if scaled else part for part in (angles.cos(), angles.sin()))
    sines = sines if inverse else -sines

    def by(matrix: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        return part.transpose(dim, -1).matmul(matrix).transpose(dim, -1)

    if imaginary is None:
        return by(cosines, real), by(sines, real)
    return by(cosines, real) - by(sines, imaginary), by(sines, real) + by(cosines, imaginary)


FORM = Form(frozenset({"fft_fft", "fft_ifft", "fft_fftn", "fft_ifftn", "fft_fft2", "fft_ifft2"}), _write)
