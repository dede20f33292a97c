"""An encoder-decoder Transformer that translates English into French, word by word, with a cache.

Vaswani et al., "Attention Is All You Need" (2017), in the pre-norm form, with one embedding for both languages and the
output, as in Press and Wolf (2017). The encoder reads the whole source. The decoder writes the answer: every token looks
at those before it and at the source.

The module computes the logits of a whole answer at once, which is what training needs. Views of it, which share its
weights, generate (assets/generation.json says how they go together):
    encoder   the source -> memory, once
    first     the first tokens -> logits of the next one; their keys and values, and those of the source, for the cache
    step      one more token and the cache -> logits of the next one, and the key and value to add to the cache
    extend    the same of several tokens at once, for a runtime that guesses what comes

Tensor names end in the axes they have:
    B  batch              T  tokens of the answer            S  tokens of the source, or keys and values in general
    D  width              H  heads                           E  D/H, the size of a head
    V  vocabulary         C  places of the cache
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from .. import reference_generation
from ..data.translation import BEGIN, END, LONGEST, PAD, text
from ..layers import Past, attend_to_past
from ..recipe import Inputs, Recipe, Split
from ..spec import AttentionAxis, AttentionSpec, Extension, GenerationSpec, GraphSpec, ModelSpec

MAX_LENGTH = 32  # tokens of a source, and of an answer with the token that begins it
MAX_BATCH = 32


class Attention(nn.Module):
    """Tokens [B, T, D] attend to keys and values [B, H, S, E]: -> [B, T, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        # No bias: it would add the same number to every score of a query, and softmax takes that out again.
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def split(self, x_BTD: Tensor) -> Tensor:
        x_BTHE: Tensor = x_BTD.unflatten(-1, (self.heads, -1))
        return x_BTHE.transpose(1, 2)

    def keys_values(self, x_BSD: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.key(x_BSD)), self.split(self.value(x_BSD))

    def forward(
        self, x_BTD: Tensor, key_BHSE: Tensor, value_BHSE: Tensor, allowed: Tensor | None, past: Past | None = None
    ) -> Tensor:
        """`allowed`, bool, broadcasts to [B, H, T, S]. With `past`, new tokens also see the filled places of it."""
        query_BHTE = self.split(self.query(x_BTD))
        if past is None:
            attended_BHTE = F.scaled_dot_product_attention(query_BHTE, key_BHSE, value_BHSE, attn_mask=allowed)
        else:
            attended_BHTE = attend_to_past(query_BHTE, key_BHSE, value_BHSE, past, allowed)
        mixed_BTD: Tensor = self.out(attended_BHTE.transpose(1, 2).flatten(2))
        return mixed_BTD


class FeedForward(nn.Sequential):
    """Two layers on every token by itself: [B, T, D] -> the same shape."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))


class EncoderLayer(nn.Module):
    """Source tokens attend to each other: [B, S, D] -> the same shape."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor, allowed_B11S: Tensor) -> Tensor:
        normed_BSD = self.norm1(x_BSD)
        key_BHSE, value_BHSE = self.attention.keys_values(normed_BSD)
        x_BSD = x_BSD + self.dropout(self.attention(normed_BSD, key_BHSE, value_BHSE, allowed_B11S))
        mixed_BSD: Tensor = x_BSD + self.dropout(self.feed_forward(self.norm2(x_BSD)))
        return mixed_BSD


class DecoderLayer(nn.Module):
    """Answer tokens attend to those before them, then to the source: [B, T, D] -> the same, and their keys and values."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BTD: Tensor,
        causal_TT: Tensor | None,
        cross_key_BHSE: Tensor,
        cross_value_BHSE: Tensor,
        allowed_B11S: Tensor,
        past: Past | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed_BTD = self.norm1(x_BTD)
        key_BHTE, value_BHTE = self.self_attention.keys_values(normed_BTD)
        x_BTD = x_BTD + self.dropout(self.self_attention(normed_BTD, key_BHTE, value_BHTE, causal_TT, past))
        attended_BTD = self.cross_attention(self.norm2(x_BTD), cross_key_BHSE, cross_value_BHSE, allowed_B11S)
        x_BTD = x_BTD + self.dropout(attended_BTD)
        return x_BTD + self.dropout(self.feed_forward(self.norm3(x_BTD))), key_BHTE, value_BHTE


class Embedding(nn.Module):
    """Tokens and where they stand: int64 [B, T] twice -> [B, T, D]. Its table also says which token an output is."""

    def __init__(self, vocabulary: int, width: int, max_length: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        self.register_buffer("waves", waves(max_length, width), persistent=False)
        self.waves: Tensor

    def forward(self, token_BT: Tensor, position_BT: Tensor) -> Tensor:
        # The factor brings the tokens to the size of the waves.
        made_BTD: Tensor = self.table(token_BT) * self.waves.shape[1] ** 0.5 + self.waves[position_BT]
        return made_BTD

    def logits(self, x: Tensor) -> Tensor:
        return F.linear(x, self.table.weight)  # [..., D] -> [..., V]


def waves(length: int, width: int) -> Tensor:
    """Sines and cosines of falling frequency, by position: float32 [length, width]. Vaswani et al. (2017), section 3.5."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    angle = position * 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, layers: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, inner, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BSD: Tensor, allowed_B11S: Tensor) -> Tensor:
        for layer in self.layers:
            x_BSD = layer(x_BSD, allowed_B11S)
        memory_BSD: Tensor = self.norm(x_BSD)
        return memory_BSD


class Decoder(nn.Module):
    def __init__(self, width: int, heads: int, layers: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, inner, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def cross(self, memory_BSD: Tensor) -> list[Tensor]:
        """Key and value of the source for each layer, one after the other."""
        pairs = (layer.cross_attention.keys_values(memory_BSD) for layer in self.layers)  # type: ignore[union-attr, operator]
        return [tensor for pair in pairs for tensor in pair]

    def forward(
        self,
        x_BTD: Tensor,
        causal_TT: Tensor | None,
        cross: Sequence[Tensor],
        allowed_B11S: Tensor,
        past: Sequence[Past] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The last layer's output, not yet normed, and key and value of the new tokens for each layer."""
        new: list[Tensor] = []
        for n, layer in enumerate(self.layers):
            x_BTD, key_BHTE, value_BHTE = layer(
                x_BTD, causal_TT, cross[2 * n], cross[2 * n + 1], allowed_B11S, past[n] if past else None
            )
            new += [key_BHTE, value_BHTE]
        return x_BTD, new


class Translator(nn.Module):
    """source int64 [B, S], source_mask bool [B, S], target int64 [B, T] -> logits [B, T, V] of the token after each.

    Both are padded at the end. `target` starts with the token that begins an answer. A source without a token is read as
    if its first one counted: there must be something to look at.
    """

    def __init__(
        self,
        vocabulary: int = len(text.tokens()),
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        feed_forward: int = 256,
        max_length: int = MAX_LENGTH,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if heads < 1 or width % (2 * heads):
            raise UsageError(f"width {width}: expected a multiple of twice the heads, {2 * heads}")
        self.embedding = Embedding(vocabulary, width, max_length)
        self.encoder = Encoder(width, heads, layers, feed_forward, dropout)
        self.decoder = Decoder(width, heads, layers, feed_forward, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source: Tensor, source_mask: Tensor, target: Tensor) -> Tensor:
        return self.answer(self.memory(source, source_mask), source_mask, target)

    def memory(self, source: Tensor, source_mask: Tensor) -> Tensor:
        """What the encoder makes of a source: float32 [B, S, D]."""
        made_BSD: Tensor = self.encoder(self.dropout(self.embedding(source, places(source))), allow(source_mask))
        return made_BSD

    def answer(self, memory: Tensor, source_mask: Tensor, target: Tensor) -> Tensor:
        """The logits behind each token of the target."""
        x_BTD = self.dropout(self.embedding(target, places(target)))
        x_BTD, _ = self.decoder(x_BTD, causal(target), self.decoder.cross(memory), allow(source_mask))
        return self.embedding.logits(self.decoder.norm(x_BTD))


def places(token_BT: Tensor) -> Tensor:
    """Of tokens that stand at the beginning of their row: int64 [1, T]."""
    return torch.arange(token_BT.shape[1], device=token_BT.device)[None]


def causal(token_BT: Tensor) -> Tensor:
    """Which tokens a token sees, itself and those before it: bool [T, T]. Padding stands behind all that count."""
    place_T = places(token_BT)[0]
    return place_T[:, None] >= place_T


def allow(source_mask_BS: Tensor) -> Tensor:
    """What may be looked at: bool [B, 1, 1, S]. The first token always, for a softmax over nothing is not a number."""
    first_S = places(source_mask_BS)[0] == 0
    return (source_mask_BS | first_S)[:, None, None]


class EncoderView(nn.Module):
    """source, source_mask [B, S] -> memory [B, S, D]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        assert isinstance(model, Translator)
        self.embedding, self.encoder = model.embedding, model.encoder

    def forward(self, source: Tensor, source_mask: Tensor) -> Tensor:
        memory_BSD: Tensor = self.encoder(self.embedding(source, places(source)), allow(source_mask))
        return memory_BSD


class FirstView(nn.Module):
    """tokens, tokens_mask [B, T], memory [B, S, D], source_mask [B, S] -> logits [B, V] behind each row's last token,
    its cache (key and value of each layer [B, H, T, E]), and key and value of the source for each layer [B, H, S, E]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        assert isinstance(model, Translator)
        self.embedding, self.decoder = model.embedding, model.decoder

    def forward(self, tokens: Tensor, tokens_mask: Tensor, memory: Tensor, source_mask: Tensor) -> tuple[Tensor, ...]:
        cross = self.decoder.cross(memory)
        x_BTD = self.embedding(tokens, places(tokens))
        x_BTD, new = self.decoder(x_BTD, causal(tokens), cross, allow(source_mask))
        last_B = (tokens_mask.sum(1) - 1).clamp(min=0)
        last_BD = x_BTD.gather(1, last_B[:, None, None].expand(-1, 1, x_BTD.shape[2]))[:, 0]
        return self.embedding.logits(self.decoder.norm(last_BD)), *new, *cross


class StepView(nn.Module):
    """token, position [B, 1], past_mask [B, C], source_mask [B, S]; key and value of each layer, first those cached
    [B, H, C, E], then those of the source [B, H, S, E] -> logits [B, V], key and value of the token for each layer."""

    several = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        assert isinstance(model, Translator)
        self.embedding, self.decoder = model.embedding, model.decoder

    def forward(
        self, token: Tensor, position: Tensor, past_mask: Tensor, source_mask: Tensor, *keys_values: Tensor
    ) -> tuple[Tensor, ...]:
        half = len(keys_values) // 2
        cached, cross = keys_values[:half], keys_values[half:]
        past = [Past(past_mask, key, value) for key, value in zip(cached[::2], cached[1::2], strict=True)]
        causal_TT = causal(token) if self.several else None
        position = position + places(token) if self.several else position
        x_BTD, new = self.decoder(self.embedding(token, position), causal_TT, cross, allow(source_mask), past)
        return self.embedding.logits(self.decoder.norm(x_BTD if self.several else x_BTD[:, 0])), *new


class ExtendView(StepView):
    """As StepView, of several tokens [B, T], the first of them at `position`: logits [B, T, V] behind each."""

    several = True


def logits(module: nn.Module, prompt: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """Of all tokens, computed anew, without a cache: what the graphs are held against."""
    assert isinstance(module, Translator)
    if "memory" in prompt:
        return module.answer(prompt["memory"], prompt["source_mask"], tokens)
    found: Tensor = module(prompt["source"], prompt["source_mask"], tokens)
    return found


def read(module: nn.Module, prompt: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `logits` takes of a source that was read before."""
    assert isinstance(module, Translator)
    return {"memory": module.memory(prompt["source"], prompt["source_mask"]), "source_mask": prompt["source_mask"]}


def prompts(seed: int, vocabulary: int) -> list[dict[str, Tensor]]:
    """Sources of 1 to LONGEST tokens. With the vocabulary of the grammar they are sentences, with another one noise."""
    lengths = (5, 1, LONGEST, 8)
    if vocabulary == len(text.tokens()):
        sentences = [text.sentence(seed + n, length) for n, length in enumerate(lengths)]
        sources = [text.encode([s], len(text.tokenizer().encode(s).ids)) for s in sentences]
    else:
        random = Random(seed)
        sources = [torch.tensor([[random.randrange(END + 1, vocabulary) for _ in range(n)]]) for n in lengths]
    return [{"source": s, "source_mask": torch.ones_like(s, dtype=torch.bool)} for s in sources]


def recipe() -> Recipe:
    """How the translator is trained on the sentences of the grammar."""
    train, validation, test = (_split(part) for part in text.parts())
    return Recipe(
        train,
        validation,
        test,
        loss=_loss,
        units=lambda targets: (targets != PAD).sum(1),
        predict=_predict,
        measure="sentences",
        epochs=7,
        batch_size=64,
        lr=2e-3,
        weight_decay=0.01,
        betas=(0.9, 0.98),
        warmup=0.1,
        clip=1.0,
    )


def _split(pairs: Sequence[text.Pair]) -> Split:
    source = text.encode([p.english for p in pairs], LONGEST)
    target = text.encode([p.french for p in pairs], LONGEST + 1, end=True)
    shifted = torch.cat([torch.full((len(target), 1), BEGIN), target[:, :-1]], dim=1)
    return Split({"source": source, "source_mask": source != PAD, "target": shifted}, target)


def _loss(outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction=reduction)


@torch.no_grad()
def _predict(module: nn.Module, inputs: Inputs) -> Tensor:
    """Greedy answers, as they are generated: int64 [n, T]. Of `target` only the length is used."""
    length = inputs["target"].shape[1]
    prompt = {name: inputs[name] for name in ("source", "source_mask")}
    answer = reference_generation.cached(module, MODEL, prompt, length).tokens
    return F.pad(answer, (0, length - answer.shape[1]), value=PAD)


def graphs(vocabulary: int, width: int, heads: int, layers: int, max_length: int) -> tuple[GraphSpec, ...]:
    """The graphs of a translator of that size."""
    size = Dim.fixed(width // heads)
    batch, source = Dim("batch", 1, 1, MAX_BATCH), Dim("source", 1, min(8, max_length), max_length)
    prompt = Dim("prompt", 1, 1, max_length)
    cache = Dim("cache", 1, min(16, max_length), 1 << (max_length - 1).bit_length())
    kinds = [f"{kind}_{n}" for n in range(layers) for kind in ("key", "value")]

    def tokens(name: str, dim: Dim, meaning: str) -> TensorSpec:
        return TensorSpec(name, "int64", (batch, dim), meaning=meaning, low=0, high=vocabulary)

    def mask(name: str, dim: Dim, meaning: str) -> TensorSpec:
        return TensorSpec(name, "bool", (batch, dim), meaning=meaning)

    def heads_of(prefix: str, dim: Dim) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(prefix + kind, "float32", (batch, Dim.fixed(heads), dim, size)) for kind in kinds)

    source_mask = mask("source_mask", source, "true at tokens, false at padding, which stands at the end")
    memory = TensorSpec(
        "memory", "float32", (batch, source, Dim.fixed(width)), meaning="the source as the encoder read it"
    )
    scores = TensorSpec(
        "logits", "float32", (batch, Dim.fixed(vocabulary)), meaning="score of each token as the next one"
    )
    return (
        GraphSpec("encoder", (tokens("source", source, "English"), source_mask), (memory,), EncoderView),
        GraphSpec(
            "first",
            (
                tokens("tokens", prompt, "how the answer begins"),
                mask("tokens_mask", prompt, "true at tokens, false at padding, which stands at the end"),
                memory,
                source_mask,
            ),
            (scores, *heads_of("new_", prompt), *heads_of("cross_", source)),
            FirstView,
        ),
        GraphSpec(
            "step",
            (
                tokens("token", Dim.fixed(1), "the newest token"),
                TensorSpec(
                    "position",
                    "int64",
                    (batch, Dim.fixed(1)),
                    meaning="its place in the answer",
                    low=0,
                    high=max_length,
                ),
                mask("past_mask", cache, "which places of the cache are filled"),
                source_mask,
                *heads_of("past_", cache),
                *heads_of("cross_", source),
            ),
            (scores, *heads_of("new_", Dim.fixed(1))),
            StepView,
        ),
    )


def generation(vocabulary: int, layers: int, max_length: int) -> GenerationSpec:
    asset = {
        "encoder": "encoder",
        "first": "first",
        "step": "step",
        "cache": [f"{kind}_{n}" for n in range(layers) for kind in ("key", "value")],
        "begin": BEGIN,
        "stop": [END],
        "pad": PAD,
        "max_length": max_length,
    }
    return GenerationSpec(asset, logits, lambda seed: prompts(seed, vocabulary), read, Extension(ExtendView))


def of_size(
    vocabulary: int, width: int, heads: int, layers: int, feed_forward: int, max_length: int = MAX_LENGTH
) -> ModelSpec:
    """A translator of any size. One whose vocabulary is not the grammar's has no words: it is for measuring."""
    config = {"vocabulary": vocabulary, "width": width, "heads": heads, "layers": layers, "feed_forward": feed_forward}
    config["max_length"] = max_length
    spoken = vocabulary == len(text.tokens())
    source = AttentionAxis("tokens", of="source")
    return ModelSpec(
        name="translator",
        task="translation",
        summary="encoder-decoder Transformer, English to French, with a cache",
        build=lambda **other: Translator(**{**config, **other}),
        graphs=graphs(vocabulary, width, heads, layers, max_length),
        assets=text.assets if spoken else None,
        recipe=recipe if spoken else None,
        generation=generation(vocabulary, layers, max_length),
        attention=(
            AttentionSpec(r"encoder\.layers\.\d+\.attention", query=source, key=source),
            AttentionSpec(
                r"decoder\.layers\.\d+\.self_attention", AttentionAxis("generated"), key=AttentionAxis("generated")
            ),
            AttentionSpec(r"decoder\.layers\.\d+\.cross_attention", AttentionAxis("generated"), key=source),
        ),
    )


MODEL = of_size(len(text.tokens()), width=128, heads=4, layers=2, feed_forward=256)
