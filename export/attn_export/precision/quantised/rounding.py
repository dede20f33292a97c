"""A weight matrix as symmetric integers or 8-bit floats with scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

ROUNDINGS = ("nearest",)


@dataclass(frozen=True)
class Blocks:
    q: NDArray[Any]
    scales: NDArray[np.float32]
    block: int

    def dequantised(self) -> NDArray[np.float32]:
        k = self.q.shape[0]
        scales = np.repeat(self.scales, self.block, axis=0)[:k]
        return np.asarray(self.q.astype(np.float32) * scales, np.float32)


def quantise(
    w: NDArray[np.float32],
    bits: int,
    block: int | None,
    method: str = "nearest",
    second_moment: NDArray[Any] | None = None,
) -> Blocks:
    k, n = w.shape
    block = block or k
    count = -(-k // block)
    padded = np.zeros((count * block, n), np.float32)
    padded[:k] = w
    parts = padded.reshape(count, block, n)
    most = (1 << (bits - 1)) - 1
    scales = np.abs(parts).max(axis=1) / most
    scales = scales.astype(np.float16).astype(np.float32)
    scales[scales == 0] = 1.0
    q = np.rint(parts / scales[:, None]).clip(-most - (bits == 4), most).astype(np.int8)
    return Blocks(q.reshape(count * block, n)[:k], scales, block)


def fp8(w: NDArray[np.float32]) -> Blocks:
    scales = (np.abs(w).max(axis=0, keepdims=True) / 448.0).astype(np.float16).astype(np.float32)
    scales[scales == 0] = 1.0
    return Blocks((w / scales).astype(ml_dtypes.float8_e4m3fn), scales, w.shape[0])
