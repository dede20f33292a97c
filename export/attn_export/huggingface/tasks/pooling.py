"""Folders of sentence-transformers: what modules.json puts behind the model becomes part of the graph.

Pooling as `sentence_transformers.models.Pooling` computes it, in its order where several are joined. Two numbers differ
where no text has a token: a row without any answers 0, not -1e9, which in a golden case would hide every other error.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from attn_runtime.errors import CheckpointError, UsageError
from attn_runtime.files import shown
from torch import Tensor, nn

from ...source.checkpoints import read_checkpoint
from .. import SavedModel, Weights, body_of, inside, load_weights, read_value

#: The poolings in the order in which they are joined, and the flag of each in a config.json.
_MODES = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU", "LeakyReLU", "ELU", "Mish", "Softplus")
_LOWEST = -1e4  # finite in float16, and below what any layer answers


class Pooled(nn.Module):
    """`model` (token ids and mask, both [batch, length], to last_hidden_state) and what follows: {"embeddings": [batch, n]}."""

    main_input_name = "input_ids"

    def __init__(self, model: Any, steps: list[nn.Module], max_seq_length: int | None) -> None:
        super().__init__()
        self.model, self.steps, self.config, self.max_seq_length = (
            model,
            nn.ModuleList(steps),
            model.config,
            max_seq_length,
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        x = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        for step in self.steps:
            x = step(x, attention_mask) if isinstance(step, Pooling) else step(x)
        return {"embeddings": x}

    def get_input_embeddings(self) -> nn.Module:
        found: nn.Module = self.model.get_input_embeddings()
        return found


class Pooling(nn.Module):
    """Tokens [batch, length, width] and their mask to [batch, width * modes]."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        self.modes = modes

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        weight = mask[..., None].to(tokens.dtype)
        return torch.cat([_POOL[mode](tokens, weight) for mode in self.modes], -1)


def _max(tokens: Tensor, weight: Tensor) -> Tensor:
    highest = tokens.masked_fill(weight == 0, _LOWEST).amax(1)
    return highest * weight.amax(1)  # 0 where there is no token


def _mean(tokens: Tensor, weight: Tensor) -> Tensor:
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


def _mean_sqrt(tokens: Tensor, weight: Tensor) -> Tensor:
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1).sqrt()


def _weighted_mean(tokens: Tensor, weight: Tensor) -> Tensor:
    rising = weight * torch.arange(1, tokens.shape[1] + 1, dtype=tokens.dtype)[None, :, None]
    return (tokens * rising).sum(1) / rising.sum(1).clamp(min=1)


def _last(tokens: Tensor, weight: Tensor) -> Tensor:
    places = torch.arange(tokens.shape[1])[None, :] * (weight[..., 0] > 0)
    last = places.amax(1)[:, None, None].expand(-1, 1, tokens.shape[2])
    return tokens.gather(1, last)[:, 0]


_POOL = {
    "cls": lambda tokens, weight: tokens[:, 0],
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}


class Normalize(nn.Module):
    """To length 1."""

    def forward(self, x: Tensor) -> Tensor:
        # The library's 1e-12 is 0 in float16; no embedding is as short as this either.
        return nn.functional.normalize(x, dim=-1, eps=1e-6)


def is_sentence_transformer(saved: SavedModel) -> bool:
    """Whether modules.json says that something follows the model. That of a CrossEncoder (6.x) names the model alone."""
    listed = read_value(saved.folder, "modules.json")
    return listed is not None and not (isinstance(listed, list) and len(listed) == 1)


def note_scores(saved: SavedModel) -> None:
    """Of a CrossEncoder: what the library puts behind the scores, which the graph does not."""
    told = saved.read_json("config_sentence_transformers.json").get("activation_fn")
    if told is not None and not str(told).endswith("Identity"):
        saved.notes.append(f"the scores are logits: sentence-transformers puts {shown(told)} behind them")


def load_sentence_transformer(saved: SavedModel) -> Weights:
    """The model of a folder of sentence-transformers with its pooling and what follows, as one `Pooled`.

    Raises UsageError for a module that is not known, by its name, and CheckpointError for weights that do not fit.
    """
    modules = _modules(saved)
    place = modules[0][1]
    settings = {
        **saved.read_json("sentence_bert_config.json"),
        **saved.read_json(_in(place, "sentence_bert_config.json")),
    }
    if (what := settings.get("transformer_task", "feature-extraction")) != "feature-extraction":
        raise UsageError(
            f"{saved.ref}: sentence_bert_config.json has transformer_task {shown(what)}; expected embeddings"
        )
    if settings.get("do_lower_case"):
        saved.notes.append("sentence_bert_config.json has do_lower_case: texts are to be given in lower case")
    weights = load_weights(body_of(saved), saved, inside(saved.folder, place))
    model = weights.model
    _note_prompts(saved)
    width = int(model.config.get_text_config().hidden_size)
    steps: list[nn.Module] = []
    for kind, folder in modules[1:]:
        step, width = _step(saved, kind, folder, width)
        if step is not None:
            steps.append(step)
    longest = settings.get("max_seq_length")
    pooled = Pooled(model, steps, longest if isinstance(longest, int) and longest > 0 else None)
    missing = tuple(f"model.{name}" for name in weights.missing)
    return Weights(pooled.eval().requires_grad_(False), missing, weights.file)


def _modules(saved: SavedModel) -> list[tuple[str, str]]:
    """(kind, folder) of each module, the model first, then at least a pooling."""
    listed = read_value(saved.folder, "modules.json")
    if not isinstance(listed, list) or not all(isinstance(m, dict) for m in listed):
        raise UsageError(f"{saved.ref}: modules.json is {shown(listed, 40)}; expected a list of modules")
    found = []
    for module in listed:
        kind, folder = str(module.get("type")), str(module.get("path") or "")
        if not re.fullmatch(r"sentence_transformers(\.\w+)+", kind):
            raise UsageError(
                f"{saved.ref}: modules.json has {shown(kind)}, code that is not of sentence-transformers and is not run; "
                "export the model without it: --task feature-extraction"
            )
        found.append((kind.rpartition(".")[2], folder))
    if [kind for kind, _ in found[:2]] != ["Transformer", "Pooling"]:
        raise UsageError(
            f"{saved.ref}: modules.json has {', '.join(kind for kind, _ in found) or 'no modules'}; expected Transformer, "
            "Pooling and what follows; export the model without them: --task feature-extraction"
        )
    return found


def _step(saved: SavedModel, kind: str, folder: str, width: int) -> tuple[nn.Module | None, int]:
    """The module that `kind` names, None for one that does nothing, and how wide its answers are."""
    settings = saved.read_json(_in(folder, "config.json"))
    if kind == "Pooling":
        modes = _pooling_modes(saved, settings)
        return Pooling(modes), width * len(modes)
    if kind == "Normalize":
        return Normalize(), width
    if kind == "Dropout":
        return None, width
    if kind == "Dense":
        dense = nn.Linear(width, int(settings.get("out_features", width)), bias=bool(settings.get("bias", True)))
        _fill(saved, folder, dense, "linear.")
        return nn.Sequential(dense, _activation(saved, settings)), dense.out_features
    if kind == "LayerNorm":
        norm = nn.LayerNorm(width)
        _fill(saved, folder, norm, "norm.")
        return norm, width
    raise UsageError(
        f"{saved.ref}: modules.json has the module {shown(kind)}, which has no graph here; known: Pooling, Dense, Normalize, "
        "LayerNorm, Dropout; export the model without it: --task feature-extraction"
    )


def _pooling_modes(saved: SavedModel, settings: dict[str, Any]) -> tuple[str, ...]:
    told = settings.get("pooling_mode")
    if told is None:
        modes = [mode for mode, flag in _MODES.items() if settings.get(flag)]
        unknown = [k for k, v in settings.items() if k.startswith("pooling_mode_") and v and k not in _MODES.values()]
    else:
        modes = [told] if isinstance(told, str) else list(told)
        unknown = [mode for mode in modes if mode not in _MODES]
    if unknown or not modes:
        raise UsageError(
            f"{saved.ref}: pooling {shown(unknown[0]) if unknown else 'of no kind'}; known: {', '.join(_MODES)}"
        )
    if settings.get("include_prompt") is False:
        saved.notes.append("include_prompt is off: the tokens of a prompt are pooled here, so give texts without one")
    return tuple(modes)


def _activation(saved: SavedModel, settings: dict[str, Any]) -> nn.Module:
    told = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = told.rpartition(".")[2]
    if not told.startswith("torch.nn.") or name not in _ACTIVATIONS:
        raise UsageError(
            f"{saved.ref}: Dense has the activation {shown(told)}; known: {', '.join(_ACTIVATIONS)} of torch.nn"
        )
    made: nn.Module = getattr(nn, name)()
    return made


def _fill(saved: SavedModel, folder: str, module: nn.Module, prefix: str) -> None:
    file = read_checkpoint(inside(saved.folder, folder))
    held = file.root if isinstance(file.root, dict) else {}
    state = {name: held.get(prefix + name) for name in module.state_dict()}
    for name, own in module.state_dict().items():
        given = state[name]
        if not isinstance(given, Tensor) or given.shape != own.shape:
            found = list(given.shape) if isinstance(given, Tensor) else "missing"
            raise CheckpointError(
                f"checkpoint {file.path}: {prefix}{name} is {found}; expected {list(own.shape)}, as config.json says"
            )
    module.load_state_dict({name: value.float() for name, value in state.items() if value is not None})


def _note_prompts(saved: SavedModel) -> None:
    settings = saved.read_json("config_sentence_transformers.json")
    prompts = settings.get("prompts")
    given = {k: v for k, v in prompts.items() if v} if isinstance(prompts, dict) else {}
    if given:
        named = ", ".join(f"{shown(k, 30)} {shown(v, 60)}" for k, v in list(given.items())[:3])
        default = settings.get("default_prompt_name")
        usual = f" (the library puts {shown(default, 30)} there by itself)" if default in given else ""
        saved.notes.append(f"prompts are not added, write them in front of a text: {named}{usual}")


def _in(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder else name
