"""A decoder-only language model as they are built today: rotary positions, RMSNorm, grouped-query attention, SwiGLU.

Tensor names end in the axes they have:
    B  batch              T  tokens of the text
    H  query heads        G  key-value heads                      R  H/G query heads that share a key-value head
    C  width              D  features of a head                   N  heads of several kinds in a row
    V  vocabulary         P  entries of the cache, filled and free

`LanguageModel.forward` reads a whole text, which is what training needs. To write, a runtime wants two graphs that share its
weights: `First` reads the prompt and hands out keys and values, `Step` reads one token and is given those of the past;
`Extend` reads several, for a runtime that guesses what comes.
Both must answer what `forward` answers. manifest.schema.json, $defs/generation, has the names they keep to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import END, PAD, UNKNOWN, draw_stories, encode, lexicon, padded, tokenizer
from ..recipe import Recipe, Split
from ..spec import AttentionAxis, AttentionSpec, Extension, GenerationSpec, GraphSpec, ModelSpec

IGNORED = -100  # the target behind a story's end
STORIES = 8_000  # that the model is trained on

LAYERS, WIDTH, HEADS, KV_HEADS, FEED_FORWARD, MAX_LENGTH = 3, 96, 4, 2, 192, 256


class RMSNorm(nn.Module):
    """x over its root mean square along the last axis, times a weight: `torch.nn.RMSNorm`, in steps.

    x is made smaller before it is squared: in float16 a square overflows from 256 on, and here from 256 * SMALLER on.
    The factor is in numerator and denominator and falls out.
    """

    SMALLER = 16.0  # a power of two, so that nothing is rounded

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps / self.SMALLER**2

    def forward(self, x_BTC: Tensor) -> Tensor:
        small_BTC = x_BTC / self.SMALLER
        normal_BTC = small_BTC / torch.sqrt(small_BTC.pow(2).mean(-1, keepdim=True) + self.eps)
        return normal_BTC * self.weight


def rotary_tables(head_size: int, max_length: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """cos and sin [max_length, D] for `rotate`, where row t turns what stands at position t.

    Rotary positions (Su et al. 2021, arXiv:2104.09864): features i and i + D/2 of a head are a point in a plane, which is
    turned by t * base ** (-2 i / D) radians. A query and a key that were turned differ by an angle of their distance alone.
    """
    angle = torch.outer(torch.arange(max_length), base ** -(torch.arange(0, head_size, 2) / head_size))
    # The sign of the turn is in the table: rotate has one thing less to do.
    return torch.cat([angle.cos(), angle.cos()], dim=1), torch.cat([-angle.sin(), angle.sin()], dim=1)


def rotate(x_BNTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x_BNTD.chunk(2, dim=-1)
    return x_BNTD * cos + torch.cat([high, low], dim=-1) * sin


class Attention(nn.Module):
    """Causal attention in which R query heads share the keys and values of one head (Ainslie et al. 2023, arXiv:2305.13245).

    The cache is R times smaller for it. Keys are cached after they were turned: nothing touches them again.
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.shared = heads, kv_heads, heads // kv_heads
        self.head_size = width // heads
        # One product for queries, keys and values: on a small model, calls cost more than arithmetic.
        self.project = nn.Linear(width, (heads + 2 * kv_heads) * self.head_size, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def look_for_alike(self) -> None:
        """Start with the keys of a group equal to its first queries: at first a token looks for others like itself.

        Looking back to what was said of the same word is learned about twice as fast from there as from nothing.
        """
        with torch.no_grad():
            query_key_value = self.project.weight.unflatten(0, (-1, self.head_size))
            query_key_value[self.heads : self.heads + self.kv_heads] = query_key_value[: self.heads : self.shared]

    def forward(self, x_BTC: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of a whole text, from position 0 on: (what attention adds [B, T, C], keys and values [B, G, T, D])."""
        query_BHTD, key_BGTD, value_BGTD = self.turned(x_BTC, cos_TD, sin_TD)
        out_BHTD = F.scaled_dot_product_attention(
            query_BHTD,
            key_BGTD.repeat_interleave(self.shared, dim=1),
            value_BGTD.repeat_interleave(self.shared, dim=1),
            is_causal=True,
        )
        return self.out(out_BHTD.transpose(1, 2).flatten(2)), key_BGTD, value_BGTD

    def step(
        self,
        x_B1C: Tensor,
        cos_B11D: Tensor,
        sin_B11D: Tensor,
        bias_B11P: Tensor,
        past_key_BGPD: Tensor,
        past_value_BGPD: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of one new token: (what attention adds [B, 1, C], its key and value [B, G, 1, D]). `bias` closes free entries.

        The past is not joined with the new entry, which would copy it at every step. Scores and sums are joined.
        """
        query_BH1D, key_BG1D, value_BG1D = self.turned(x_B1C, cos_B11D, sin_B11D)
        # The R heads that share a key lie along the axis of queries: one product serves them, and nothing is repeated.
        query_BGRD = query_BH1D.reshape(-1, self.kv_heads, self.shared, self.head_size) * self.head_size**-0.5
        past_BGRP = query_BGRD @ past_key_BGPD.transpose(-1, -2) + bias_B11P
        new_BGR1 = query_BGRD @ key_BG1D.transpose(-1, -2)
        # The new token is always seen, so no row is closed as a whole.
        weight_BGRP = torch.softmax(torch.cat([past_BGRP, new_BGR1], dim=-1), dim=-1)
        out_BGRD = weight_BGRP[..., :-1] @ past_value_BGPD + weight_BGRP[..., -1:] * value_BG1D
        return self.out(out_BGRD.reshape(-1, 1, self.heads * self.head_size)), key_BG1D, value_BG1D

    def extend(
        self,
        x_BTC: Tensor,
        cos_B1TD: Tensor,
        sin_B1TD: Tensor,
        bias_B11P: Tensor,
        past_key_BGPD: Tensor,
        past_value_BGPD: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of several new tokens: as `step`, with keys and values [B, G, T, D]. Each sees the past and those before it."""
        query_BHTD, key_BGTD, value_BGTD = self.turned(x_BTC, cos_B1TD, sin_B1TD)
        # As above, the queries of R heads one behind the other: those of a head are the tokens in their order.
        query_BGND = query_BHTD.unflatten(1, (self.kv_heads, self.shared)).flatten(2, 3) * self.head_size**-0.5
        past_BGNP = query_BGND @ past_key_BGPD.transpose(-1, -2) + bias_B11P
        place_T = torch.arange(x_BTC.shape[1], device=x_BTC.device)
        later_TT = torch.where(place_T[:, None] < place_T, -torch.inf, 0.0)
        new_BGNT = query_BGND @ key_BGTD.transpose(-1, -2) + later_TT.repeat(self.shared, 1)
        weight_BGNS = torch.softmax(torch.cat([past_BGNP, new_BGNT], dim=-1), dim=-1)
        entries = past_key_BGPD.shape[2]
        out_BGND = weight_BGNS[..., :entries] @ past_value_BGPD + weight_BGNS[..., entries:] @ value_BGTD
        out_BHTD = out_BGND.unflatten(2, (self.shared, -1)).flatten(1, 2)
        return self.out(out_BHTD.transpose(1, 2).flatten(2)), key_BGTD, value_BGTD

    def turned(self, x_BTC: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, H, T, D] and keys [B, G, T, D], turned to their positions, and values [B, G, T, D]."""
        heads_BNTD = self.project(x_BTC).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
        turned = self.heads + self.kv_heads
        query_key_BNTD = rotate(heads_BNTD[:, :turned], cos, sin)
        return query_key_BNTD[:, : self.heads], query_key_BNTD[:, self.heads :], heads_BNTD[:, turned:]


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202): one projection opens and closes the other."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        gate, up = self.gate_up(x_BTC).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class Block(nn.Module):
    def __init__(self, width: int, heads: int, kv_heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width)
        self.attention = Attention(width, heads, kv_heads)
        self.feed_forward_norm = RMSNorm(width)
        self.feed_forward = FeedForward(width, hidden)

    def forward(self, x_BTC: Tensor, *positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        added_BTC, key_BGTD, value_BGTD = self.attention(self.attention_norm(x_BTC), *positions)
        return self.feed(x_BTC + added_BTC), key_BGTD, value_BGTD

    def go_on(
        self, attend: Callable[..., tuple[Tensor, Tensor, Tensor]], x_BTC: Tensor, *positions_and_past: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Behind a past; `attend` is Attention.step or Attention.extend."""
        added_BTC, key_BGTD, value_BGTD = attend(self.attention, self.attention_norm(x_BTC), *positions_and_past)
        return self.feed(x_BTC + added_BTC), key_BGTD, value_BGTD

    def feed(self, x_BTC: Tensor) -> Tensor:
        fed: Tensor = x_BTC + self.feed_forward(self.feed_forward_norm(x_BTC))
        return fed


class LanguageModel(nn.Module):
    """Tokens int64 [batch, length] -> logits [batch, length, vocabulary] of the token that follows each.

    vocabulary  how many tokens there are to choose from
    max_length  most tokens of a row, prompt included
    tied        whether the head is the embedding table over again

    Rows of different lengths are padded at the end: attention only looks back, so no token sees the padding behind it.
    """

    cos_TD: Tensor
    sin_TD: Tensor

    def __init__(
        self,
        vocabulary: int = len(lexicon()),
        width: int = WIDTH,
        layers: int = LAYERS,
        heads: int = HEADS,
        kv_heads: int = KV_HEADS,
        feed_forward: int = FEED_FORWARD,
        max_length: int = MAX_LENGTH,
        tied: bool = True,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads or (width // heads) % 2:
            raise UsageError(f"width {width}, heads {heads}: expected a width of heads times an even number")
        if kv_heads < 1 or heads % kv_heads:
            raise UsageError(f"kv_heads: got {kv_heads}, expected a divisor of heads ({heads})")
        self.max_length = max_length
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads, feed_forward) for _ in range(layers))
        cos_TD, sin_TD = rotary_tables(width // heads, max_length)
        self.register_buffer("cos_TD", cos_TD, persistent=False)
        self.register_buffer("sin_TD", sin_TD, persistent=False)
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=width**-0.5)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.attention.look_for_alike()
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x_BTC, _ = self.read(tokens)
        logits_BTV: Tensor = self.head(self.norm(x_BTC))
        return logits_BTV

    def read(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last layer's features [B, T, C], and keys and values [B, G, T, D] of each layer in turn."""
        x_BTC, cache = self.embedding(tokens), list[Tensor]()
        length = tokens.shape[1]
        for block in self.blocks:
            x_BTC, key_BGTD, value_BGTD = block(x_BTC, self.cos_TD[:length], self.sin_TD[:length])
            cache += [key_BGTD, value_BGTD]
        return x_BTC, cache


class First(nn.Module):
    """The graph that reads prompts: what follows each row's last token, and the keys and values of all its tokens."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        assert isinstance(model, LanguageModel)
        self.model = model

    def forward(self, tokens: Tensor, tokens_mask: Tensor) -> tuple[Tensor, ...]:
        x_BTC, cache = self.model.read(tokens)
        place_T = torch.arange(tokens.shape[1], device=tokens.device)
        last_B = torch.where(tokens_mask, place_T, 0).amax(1)
        # The head is by far the largest product of a large vocabulary: the last token alone goes through it.
        last_BC = x_BTC.gather(1, last_B[:, None, None].expand(-1, -1, x_BTC.shape[2])).squeeze(1)
        return self.model.head(self.model.norm(last_BC)), *cache


class Step(nn.Module):
    """The graph that reads one token at `position`, given the keys and values of its past, layer by layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        assert isinstance(model, LanguageModel)
        self.model = model

    def forward(self, token: Tensor, position: Tensor, past_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        logits_B1V, cache = self.read(Attention.step, token, position, past_mask, past)
        return logits_B1V.squeeze(1), *cache

    def read(
        self,
        attend: Callable[..., tuple[Tensor, Tensor, Tensor]],
        token_BT: Tensor,
        place_BT: Tensor,
        past_mask: Tensor,
        past: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits [B, T, V], and the new keys and values [B, G, T, D]."""
        x_BTC, cache = self.model.embedding(token_BT), list[Tensor]()
        cos_B1TD, sin_B1TD = (F.embedding(place_BT, t).unsqueeze(1) for t in (self.model.cos_TD, self.model.sin_TD))
        bias_B11P = torch.where(past_mask, 0.0, -torch.inf)[:, None, None]
        for block, key_BGPD, value_BGPD in zip(self.model.blocks, past[::2], past[1::2], strict=True):
            assert isinstance(block, Block)
            x_BTC, *new = block.go_on(attend, x_BTC, cos_B1TD, sin_B1TD, bias_B11P, key_BGPD, value_BGPD)
            cache += new
        return self.model.head(self.model.norm(x_BTC)), cache


class Extend(Step):
    """The graph that reads several tokens, the first of them at `position`: logits and cache of each."""

    def forward(self, token: Tensor, position: Tensor, past_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        place_BT = position + torch.arange(token.shape[1], device=token.device)
        logits_BTV, cache = self.read(Attention.extend, token, place_BT, past_mask, past)
        return logits_BTV, *cache


def wake(module: nn.Module) -> str:
    """Give the norms of a fresh model weights that do something."""
    random = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, RMSNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=random)
    return "norm weights drawn from 0.5 to 1.5: they start at 1, and a product with 1 is left out of a graph"


def recipe() -> Recipe:
    """How the model is trained on the stories.

    The loss is over all tokens that a story has. Accuracy is over its questions alone: most other words, such as who the
    story is about, nobody could know.
    """

    def split(seed: int, count: int, held_out: bool) -> Split:
        rows = [[*encode(str(story)), END] for story in draw_stories(seed, count, held_out)]
        tokens, mask = padded(rows)
        return Split({"tokens": tokens[:, :-1]}, torch.where(mask, tokens, IGNORED)[:, 1:])

    def loss(logits_BTV: Tensor, targets_BT: Tensor, reduction: str = "sum") -> Tensor:
        return F.cross_entropy(logits_BTV.transpose(1, 2), targets_BT, ignore_index=IGNORED, reduction=reduction)

    return Recipe(
        train=split(seed=0, count=STORIES, held_out=False),
        validation=split(seed=1, count=500, held_out=True),
        test=split(seed=2, count=500, held_out=True),
        loss=loss,
        right=answered,
        units=lambda targets: (targets != IGNORED).sum(1),
        measure="held-out stories, by the share of questions answered right",
        epochs=6,
        batch_size=16,
        lr=5e-3,
        clip=1.0,
    )


def answered(predicted_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """[B]: of the questions in a text, the share whose answer is right in every word, given what stands before each word."""
    question, end = encode("? .")
    shares = []
    for predicted, targets in zip(predicted_BT.tolist(), targets_BT.tolist(), strict=True):
        answers = []
        for place, token in enumerate(targets):
            if token == question:
                answer = slice(place + 1, targets.index(end, place) + 1)
                answers.append(predicted[answer] == targets[answer])
        shares.append(sum(answers) / max(1, len(answers)))
    return torch.tensor(shares, device=targets_BT.device)


def assets() -> dict[str, Any]:
    return {
        "text.json": {"input": "tokens", "mask": "tokens_mask", "pad": PAD, "unknown": UNKNOWN},
        "tokenizer.json": tokenizer(),
    }


def logits(module: nn.Module, prompt: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    answer: Tensor = module(tokens)
    return answer


def prompts(seed: int, vocabulary: int, max_length: int) -> list[dict[str, Tensor]]:
    """Beginnings of different lengths: of held-out stories, or with another vocabulary than theirs of noise."""
    rows = []
    for story, share in zip(draw_stories(1000 + seed, 3, held_out=True), (0.1, 0.5, 1.0), strict=True):
        row = encode(" ".join(story.words[: int(share * story.answers[-1][0])]))[: max_length // 2]
        rows.append(row if vocabulary == len(lexicon()) else [token % vocabulary for token in row])
    return [{"tokens": torch.tensor([row])} for row in rows]


def graphs(vocabulary: int, layers: int, kv_heads: int, head_size: int, max_length: int) -> tuple[GraphSpec, ...]:
    """The graphs of a model of that size."""
    batch = Dim("batch", 1, 2, 32)
    prompt = Dim("prompt", 1, min(16, max_length), max_length)
    cache = Dim("cache", 1, min(64, max_length), 1 << (max_length - 1).bit_length())
    one = Dim.fixed(1)

    def heads_of(prefix: str, dim: Dim) -> tuple[TensorSpec, ...]:
        axes = (batch, Dim.fixed(kv_heads), dim, Dim.fixed(head_size))
        return tuple(TensorSpec(prefix + name, "float32", axes) for name in cache_names(layers))

    scores = TensorSpec(
        "logits", "float32", (batch, Dim.fixed(vocabulary)), meaning="score of each token as the next one"
    )
    filled = "true at tokens, false at padding, which stands at the end"
    return (
        GraphSpec(
            "first",
            (
                TensorSpec("tokens", "int64", (batch, prompt), meaning="the prompt", low=0, high=vocabulary),
                TensorSpec("tokens_mask", "bool", (batch, prompt), meaning=filled),
            ),
            (scores, *heads_of("new_", prompt)),
            First,
        ),
        GraphSpec(
            "step",
            (
                TensorSpec("token", "int64", (batch, one), meaning="the newest token", low=0, high=vocabulary),
                TensorSpec("position", "int64", (batch, one), meaning="its place in its row", low=0, high=max_length),
                TensorSpec("past_mask", "bool", (batch, cache), meaning="which places of the cache are filled"),
                *heads_of("past_", cache),
            ),
            (scores, *heads_of("new_", one)),
            Step,
        ),
    )


def cache_names(layers: int) -> list[str]:
    return [f"{kind}_{layer}" for layer in range(layers) for kind in ("key", "value")]


def of_size(
    vocabulary: int = len(lexicon()),
    width: int = WIDTH,
    layers: int = LAYERS,
    heads: int = HEADS,
    kv_heads: int = KV_HEADS,
    feed_forward: int = FEED_FORWARD,
    max_length: int = MAX_LENGTH,
    tied: bool = True,
) -> ModelSpec:
    """A language model of any size. One whose vocabulary is not the stories' has no words: it is for measuring."""
    config = {"vocabulary": vocabulary, "width": width, "layers": layers, "heads": heads, "kv_heads": kv_heads}
    config |= {"feed_forward": feed_forward, "max_length": max_length, "tied": tied}
    asset = {
        "encoder": None,
        "first": "first",
        "step": "step",
        "cache": cache_names(layers),
        "begin": None,
        "stop": [END],
        "pad": PAD,
        "max_length": max_length,
    }
    known = vocabulary == len(lexicon())
    tokens = AttentionAxis("tokens", of="tokens")
    return ModelSpec(
        name="lm",
        task="text-generation",
        summary="decoder-only language model: rotary positions, grouped-query attention, SwiGLU, a cache",
        build=lambda **other: LanguageModel(**{**config, **other}),
        graphs=graphs(vocabulary, layers, kv_heads, width // heads, max_length),
        wake=wake,
        generation=GenerationSpec(
            asset, logits, lambda seed: prompts(seed, vocabulary, max_length), extend=Extension(Extend)
        ),
        attention=(AttentionSpec(r"blocks\.\d+\.attention", query=tokens, key=tokens),),
        assets=assets if known else None,
        recipe=recipe if known else None,
    )


MODEL = of_size()
