"""The smallest models that write: an encoder-decoder and a decoder-only one, each three graphs over one set of weights.

Both learn nothing: their random weights are scaled so that what is generated depends on the prompt, on every token
before, and on attention. `broken` names a fault of the cached step, which an export has to see:
    position   it takes the position before its own
    value      it reads zeros for the values of layer 0
    cross      it looks at the cross keys of another row
    mask       it sees what is not filled
"""

from __future__ import annotations

import torch
from attn_models.spec import Extension, GenerationSpec, GraphSpec, ModelSpec
from attn_runtime.compare import Tolerance
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn

VOCABULARY, WIDTH, HEADS, HEAD, LONGEST = 24, 32, 2, 16, 24
PAD, BEGIN, STOP = 0, 1, 2

BATCH, SOURCE, PROMPT, CACHE = (
    Dim("batch", 1, 2, 12),
    Dim("source", 1, 5, 12),
    Dim("prompt", 1, 4, 12),
    Dim("cache", 1, 8, 32),
)
ONE, HEADS_DIM, HEAD_DIM = Dim.fixed(1), Dim.fixed(HEADS), Dim.fixed(HEAD)


def _split(x: Tensor) -> Tensor:
    """[batch, length, width] -> [batch, heads, length, head]."""
    return x.unflatten(-1, (HEADS, HEAD)).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Softmax attention over what `seen` (bool, broadcast to the scores) allows; [batch, length, width]."""
    scores = (query @ key.transpose(-1, -2)) * HEAD**-0.5
    weights = scores.masked_fill(~seen, -1e4).softmax(-1)
    return (weights @ value).transpose(1, 2).flatten(2)


class Layer(nn.Module):
    def __init__(self, cross: bool) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH)
        if cross:
            self.cross_query, self.cross_key, self.cross_value, self.cross_out = (
                nn.Linear(WIDTH, WIDTH) for _ in range(4)
            )
            self.cross_norm = nn.LayerNorm(WIDTH)

    def look(self, x: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        """What cross attention adds."""
        return self.cross_norm(x + self.cross_out(_attend(_split(self.cross_query(x)), key, value, seen)))


class Writer(nn.Module):
    """Tokens -> logits, with `cross` over the memory of an encoder."""

    def __init__(self, cross: bool, layers: int = 2, seed: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.cross = cross
        self.embed, self.place = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LONGEST + 1, WIDTH)
        self.layers = nn.ModuleList(Layer(cross) for _ in range(layers))
        self.head = nn.Linear(WIDTH, VOCABULARY)
        self.encode = nn.Linear(WIDTH, WIDTH)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim == 2 and "layers" in name:
                    weight.mul_(2.0)
            self.head.weight.mul_(6.0)

    def memory(self, source: Tensor, source_mask: Tensor) -> Tensor:
        places = torch.arange(source.shape[1], device=source.device)
        x = self.embed(source) + self.place(places)
        keep = source_mask.unsqueeze(-1).to(x.dtype)
        mean = (x * keep).sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp(min=1)
        return torch.tanh(self.encode(x + mean))

    def cross_cache(self, memory: Tensor) -> list[Tensor]:
        return [
            t for layer in self.layers for t in (_split(layer.cross_key(memory)), _split(layer.cross_value(memory)))
        ]

    def forward(self, tokens: Tensor, memory: Tensor | None, source_mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """All tokens at once -> logits [batch, length, vocabulary], and keys and values of every layer."""
        length = tokens.shape[1]
        places = torch.arange(length, device=tokens.device)
        x = self.embed(tokens) + self.place(places)
        seen = places <= places.unsqueeze(-1)
        cache: list[Tensor] = []
        for layer in self.layers:
            key, value = _split(layer.key(x)), _split(layer.value(x))
            cache += [key, value]
            x = layer.norm(x + layer.out(_attend(_split(layer.query(x)), key, value, seen)))
            if memory is not None and source_mask is not None:
                cross_key, cross_value = _split(layer.cross_key(memory)), _split(layer.cross_value(memory))
                x = layer.look(x, cross_key, cross_value, source_mask[:, None, None, :])
        return self.head(x), cache


class Encoder(nn.Module):
    def __init__(self, model: Writer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return self.model.memory(source, source_mask)


class First(nn.Module):
    def __init__(self, model: Writer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, tokens: Tensor, tokens_mask: Tensor, memory: Tensor | None = None, source_mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        logits, cache = self.model(tokens, memory, source_mask)
        last = (tokens_mask.sum(1) - 1).clamp(min=0)
        chosen = logits.gather(1, last[:, None, None].expand(-1, 1, logits.shape[-1])).squeeze(1)
        return (chosen, *cache, *(self.model.cross_cache(memory) if memory is not None else ()))


class Step(nn.Module):
    def __init__(self, model: Writer, broken: str = "") -> None:
        super().__init__()
        self.model, self.broken = model, broken

    def forward(self, token: Tensor, position: Tensor, past_mask: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        model, several = self.model, len(self.model.layers)
        past, cross = rest[: 2 * several], rest[2 * several : 4 * several]
        x = model.embed(token) + model.place((position - 1).clamp(min=0) if self.broken == "position" else position)
        new: list[Tensor] = []
        for index, layer in enumerate(model.layers):
            past_key, past_value = past[2 * index], past[2 * index + 1]
            if self.broken == "value" and index == 0:
                past_value = past_value * 0
            query, key, value = _split(layer.query(x)), _split(layer.key(x)), _split(layer.value(x))
            before = (query @ past_key.transpose(-1, -2)) * HEAD**-0.5
            if self.broken != "mask":
                before = before.masked_fill(~past_mask[:, None, None, :], -1e4)
            own = (query * key).sum(-1, keepdim=True) * HEAD**-0.5
            weights = torch.cat([before, own], dim=-1).softmax(-1)
            attended = weights[..., :-1] @ past_value + weights[..., -1:] * value
            x = layer.norm(x + layer.out(attended.transpose(1, 2).flatten(2)))
            if cross:
                source_mask = rest[4 * several]
                cross_key, cross_value = cross[2 * index], cross[2 * index + 1]
                if self.broken == "cross":
                    cross_key = cross_key.flip(0)
                x = layer.look(x, cross_key, cross_value, source_mask[:, None, None, :])
            new += [key, value]
        return (model.head(x).squeeze(1), *new)


class Extend(Step):
    """As Step, of several tokens."""

    def forward(self, token: Tensor, position: Tensor, past_mask: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        model, several = self.model, len(self.model.layers)
        past, cross = rest[: 2 * several], rest[2 * several : 4 * several]
        number = torch.arange(token.shape[1], device=token.device)
        x = model.embed(token) + model.place(position + number)
        seen = torch.cat(
            [
                past_mask[:, None, None, :].expand(-1, -1, token.shape[1], -1),
                (number <= number[:, None]).expand(token.shape[0], 1, -1, -1),
            ],
            -1,
        )
        new: list[Tensor] = []
        for index, layer in enumerate(model.layers):
            query, key, value = _split(layer.query(x)), _split(layer.key(x)), _split(layer.value(x))
            keys, values = (torch.cat([a, b], 2) for a, b in ((past[2 * index], key), (past[2 * index + 1], value)))
            x = layer.norm(x + layer.out(_attend(query, keys, values, seen)))
            if cross:
                x = layer.look(x, cross[2 * index], cross[2 * index + 1], rest[4 * several][:, None, None, :])
            new += [key, value]
        return (model.head(x), *new)


def _kinds(layers: int) -> list[str]:
    return [f"{kind}_{n}" for n in range(layers) for kind in ("key", "value")]


def _float(name: str, *dims: Dim) -> TensorSpec:
    return TensorSpec(name, "float32", dims)


def _tokens(name: str, length: Dim) -> TensorSpec:
    return TensorSpec(name, "int64", (BATCH, length), low=0, high=VOCABULARY)


def _graphs(cross: bool, layers: int, broken: str) -> tuple[GraphSpec, ...]:
    mask = TensorSpec("source_mask", "bool", (BATCH, SOURCE))
    carried = tuple(_float(f"cross_{k}", BATCH, HEADS_DIM, SOURCE, HEAD_DIM) for k in _kinds(layers)) if cross else ()
    memory = _float("memory", BATCH, SOURCE, Dim.fixed(WIDTH))

    def new(length: Dim) -> tuple[TensorSpec, ...]:
        return tuple(_float(f"new_{k}", BATCH, HEADS_DIM, length, HEAD_DIM) for k in _kinds(layers))

    logits = _float("logits", BATCH, Dim.fixed(VOCABULARY))
    encoder = GraphSpec("encoder", (_tokens("source", SOURCE), mask), (memory,), Encoder)
    first = GraphSpec(
        "first",
        (
            _tokens("tokens", PROMPT),
            TensorSpec("tokens_mask", "bool", (BATCH, PROMPT)),
            *((memory, mask) if cross else ()),
        ),
        (logits, *new(PROMPT), *carried),
        First,
    )
    past = tuple(_float(f"past_{k}", BATCH, HEADS_DIM, CACHE, HEAD_DIM) for k in _kinds(layers))
    step = GraphSpec(
        "step",
        (
            _tokens("token", ONE),
            TensorSpec("position", "int64", (BATCH, ONE), low=0, high=LONGEST),
            TensorSpec("past_mask", "bool", (BATCH, CACHE)),
            *past,
            *carried,
            *((mask,) if cross else ()),
        ),
        (logits, *new(ONE)),
        lambda model: Step(model, broken),  # type: ignore[arg-type]
    )
    return (encoder, first, step) if cross else (first, step)


def _prompts(name: str) -> object:
    def draw(seed: int) -> list[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        found = []
        for length in (5, 2, 8):
            tokens = torch.randint(3, VOCABULARY, (1, length), generator=generator)
            masks = {f"{name}_mask": torch.ones(1, length, dtype=torch.bool)} if name == "source" else {}
            found.append({name: tokens, **masks})
        return found

    return draw


def _spec(cross: bool, layers: int, broken: str, seed: int) -> ModelSpec:
    def logits(module: nn.Module, prompt: dict[str, Tensor], tokens: Tensor) -> Tensor:
        assert isinstance(module, Writer)
        memory = module.memory(prompt["source"], prompt["source_mask"]) if cross else None
        found: Tensor = module(tokens, memory, prompt.get("source_mask"))[0]
        return found

    asset = {
        "encoder": "encoder" if cross else None,
        "first": "first",
        "step": "step",
        "cache": _kinds(layers),
        "begin": BEGIN if cross else None,
        "stop": [STOP],
        "pad": PAD,
        "max_length": LONGEST,
    }
    return ModelSpec(
        name="small-translator" if cross else "small-lm",
        task="text-generation",
        summary="a small generator",
        build=lambda: Writer(cross, layers, seed),
        graphs=_graphs(cross, layers, broken),
        tolerance=Tolerance(),
        generation=GenerationSpec(
            asset,
            logits,  # type: ignore[arg-type]
            _prompts("source" if cross else "tokens"),  # type: ignore[arg-type]
            extend=Extension(Extend),  # type: ignore[arg-type]
        ),
    )


def translator(layers: int = 2, broken: str = "", seed: int = 3) -> ModelSpec:
    """source, source_mask -> an answer of at most LONGEST - 1 tokens."""
    return _spec(True, layers, broken, seed)


def lm(layers: int = 2, broken: str = "", seed: int = 3) -> ModelSpec:
    """tokens -> more tokens."""
    return _spec(False, layers, broken, seed)
