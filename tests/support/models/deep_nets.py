"""Transformers deep enough that 10 % of their arithmetic is a fair limit, each with one thing that half precision can't hold."""

from __future__ import annotations

import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class WrittenNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight + self.bias


class SelfAttention(nn.Module):
    def __init__(self, width, heads, temperature=None):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.scale = (width // heads) ** -0.5 if temperature is None else temperature

    def forward(self, x, mask=None):
        b, t, c = x.shape
        q, k, v = (m(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for m in (self.q, self.k, self.v))
        scores = q @ k.transpose(2, 3) * self.scale
        if mask is not None:
            scores = scores + mask
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c))


class Block(nn.Module):
    def __init__(self, width, heads, norm, temperature=None):
        super().__init__()
        self.norm1, self.norm2 = norm(width), norm(width)
        self.attention = SelfAttention(width, heads, temperature)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, mask=None):
        x = x + self.attention(self.norm1(x), mask)
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Net(nn.Module):
    """An encoder as BERT has it: embeddings of positions and types, six layers, a pooler, a head."""

    def __init__(self, width=64, heads=4, layers=6, norm=nn.LayerNorm):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([Block(width, heads, norm) for _ in range(layers)])
        self.first_norm, self.norm = norm(width), norm(width)
        self.pooler, self.head = nn.Linear(width, width), nn.Linear(width, 10)
        self.positions, self.kind = nn.Parameter(torch.randn(64, width)), nn.Parameter(torch.randn(width))

    def forward(self, x, mask=None):
        x = self.first_norm(x + self.positions[: x.shape[1]] + self.kind)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(torch.tanh(self.pooler(self.norm(x))))


class LargeLogits(Net):
    """One layer whose queries and keys have grown, with a temperature that has shrunk with them."""

    def __init__(self):
        super().__init__(layers=4)
        attention = self.layers[3].attention
        gain = 150.0
        with torch.no_grad():
            for m in (attention.q, attention.k):
                m.weight *= gain
                m.bias *= gain
        attention.scale /= gain**2


class LargeActivations(Net):
    """The last layers write large values into one channel; an RMSNorm written out squares them."""

    def __init__(self, norm=RMSNorm):
        super().__init__(norm=norm)
        with torch.no_grad():
            self.layers[-1].down.bias[7] += 3000.0


class LargeLayerNorm(LargeActivations):
    def __init__(self):
        super().__init__(norm=WrittenNorm)


class Padded(Net):
    """Padding masked as BERT does: (1 - keep) * the least float32. Two layers attend sharply, logits of +-40."""

    def __init__(self, layers=3):
        super().__init__(layers=layers)
        with torch.no_grad():
            for layer in self.layers[1:3]:
                for m in (layer.attention.q, layer.attention.k):
                    m.weight *= 6.0

    def forward(self, x, keep):
        mask = (1.0 - keep[:, None, None, :].to(x.dtype)) * torch.finfo(torch.float32).min
        return super().forward(x, mask)


class MaskInput(Padded):
    """The additive mask comes from the caller."""

    def __init__(self):
        super().__init__(layers=6)

    def forward(self, x, mask):
        return Net.forward(self, x, mask[:, None])


class Causal(Net):
    """What a position may not see is masked with the least float32; every row sees something."""

    def forward(self, x):
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        mask = torch.zeros(x.shape[1], x.shape[1]).masked_fill(future, torch.finfo(torch.float32).min)
        return super().forward(x, mask)


class Offset(Net):
    """Features on a large common offset, which the first norm takes away again."""

    def __init__(self):
        super().__init__(norm=WrittenNorm)
        self.embed, self.inner = nn.Linear(64, 64), WrittenNorm(64)
        with torch.no_grad():
            self.embed.bias += 3000.0

    def forward(self, x):
        return super().forward(self.inner(self.embed(x)))


class Chaotic(nn.Module):
    """Every step triples the distance between two numbers: what rounds away at the start is everything at the end."""

    def forward(self, x):
        for _ in range(8):
            x = torch.sin(3.0 * x)
        return x


class Small(nn.Module):
    """A classifier that half precision holds as it is."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.attention, self.head = SelfAttention(64, 4), nn.Linear(64, 10)

    def forward(self, x):
        return self.head((x + self.attention(x)).mean(1))
