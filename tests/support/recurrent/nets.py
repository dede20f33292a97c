"""Small nets of recurrent layers, as people write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Layers(nn.Module):
    """One module of `kind`, 16 numbers a step; it answers all that the module does, and takes states where given."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.layers = getattr(nn, kind)(16, 24, **options)

    def forward(self, x: torch.Tensor, *state: torch.Tensor) -> Any:
        return self.layers(x, (state if isinstance(self.layers, nn.LSTM) else state[0]) if state else None)


class Reader(nn.Module):
    """Text recognition's kind: both directions, a projection, and attention on top."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(24, 32, num_layers=2, batch_first=True, bidirectional=True)
        self.lstm = nn.LSTM(64, 32, batch_first=True, proj_size=16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 11)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y, h = self.gru(x)
        y, (_, c) = self.lstm(y)
        attended, _ = self.attention(y, y, y, need_weights=False)
        return {"logits": self.head(y + attended), "h": h, "c": c}


class Packed(nn.Module):
    """Packed, run, changed step by step, padded again: to `total`, to the input's length ("input"), or the longest."""

    def __init__(
        self, kind: str, total: int | str | None = None, padding: float = 0.0, ordered: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.layers = getattr(nn, kind)(16, 24, **{"batch_first": True} | options)
        self.total, self.padding, self.ordered = total, padding, ordered
        directions = 2 if self.layers.bidirectional else 1
        states = directions * self.layers.num_layers
        width = self.layers.proj_size or 24
        self.head = nn.Linear(directions * width, 5)
        self.h, self.c = nn.Parameter(torch.randn(states, 1, width)), nn.Parameter(torch.randn(states, 1, 24))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> Any:
        first, rows = self.layers.batch_first, lengths.shape[0]
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=first, enforce_sorted=self.ordered)
        states = self.h.expand(-1, rows, -1), self.c.expand(-1, rows, -1)
        packed, last = self.layers(packed, states if isinstance(self.layers, nn.LSTM) else states[0])
        packed = PackedSequence(self.head(packed.data), *packed[1:])
        total = x.shape[1 if first else 0] if self.total == "input" else self.total
        return *pad_packed_sequence(packed, first, self.padding, total), last  # type: ignore[arg-type]


class BothWaysByHand(nn.Module):
    """A second direction by flipping each row within its length, as written before packing, and one by flip()."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.back = nn.LSTM(16, 24, batch_first=True), nn.LSTM(16, 24, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        step, last = torch.arange(x.shape[1]), lengths.unsqueeze(1) - 1
        mirrored = torch.where(step <= last, last - step, step).unsqueeze(-1)
        back, _ = self.back(x.gather(1, mirrored.expand(-1, -1, x.shape[2])))
        back = back.gather(1, mirrored.expand(-1, -1, back.shape[2]))
        return torch.cat([self.there(x)[0], back, self.there(x.flip(1))[0].flip(1)], -1)
