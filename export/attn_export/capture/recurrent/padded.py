"""Packed sequences, captured as what they were packed from: padded steps beside the length of each row.

While a model is captured, a PackedSequence holds `data` [T, B, ...], padded and time first, and `batch_sizes` int64 [B],
the lengths: rows are never sorted, as ONNX takes lengths in any order. What a model does to each element of `data`
means the same in both forms. Beyond the lengths anything may stand, until it is padded again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn.utils.rnn import PackedSequence


def pack(
    x: torch.Tensor, lengths: torch.Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """For torch.nn.utils.rnn.pack_padded_sequence: x [T, B, ...], or [B, T, ...] with batch_first; lengths [B]."""
    if not isinstance(lengths, torch.Tensor):
        lengths = torch.as_tensor(lengths, dtype=torch.int64)
    return PackedSequence(x.transpose(0, 1) if batch_first else x, lengths.to(torch.int64))


def unpack(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """For torch.nn.utils.rnn.pad_packed_sequence: padded to total_length, or else to the longest row."""
    data, lengths = sequence.data, sequence.batch_sizes
    steps, rank = data.shape[0], data.dim()
    inside = (torch.arange(steps).unsqueeze(-1) < lengths).reshape(*data.shape[:2], *[1] * (rank - 2))
    data = torch.where(inside, data, torch.full((), padding_value, dtype=data.dtype))
    if total_length is None:
        longest = lengths.max().item()
        torch._check(longest >= 1)
        torch._check(longest <= steps)
        data = data[:longest]
    elif not statically_known_true(total_length == steps):
        data = torch.nn.functional.pad(data, [*[0, 0] * (rank - 1), 0, total_length - steps], value=padding_value)
    return (data.transpose(0, 1) if batch_first else data), lengths
