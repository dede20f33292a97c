"""A model of a class of transformers with small sizes and weights that were drawn again, as a folder."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from attn_export.huggingface import SavedModel
from attn_export.huggingface.tasks.inputs import inputs_of
from attn_export.huggingface.tasks.probe import draw, small
from attn_runtime.errors import UsageError
from tiny_configs import tiny_configs
from torch import nn
from transformers import PreTrainedConfig

#: Most parameters of a model, and how many are made to find one that answers.
MOST, TRIALS = 60_000_000, 25
#: How large weights are drawn, until their answers are numbers: a detector's boxes are exponentials of what it says.
_SCALES, _LARGEST = (1.0, 0.5, 0.25), 1e5


class NotMade(Exception):
    """No small model of the class can be made here: what stands in the way is the message."""


def save_tiny_model(name: str, folder: Path) -> int:
    """Write a tiny model of the class `name` into `folder`, as save_pretrained does, and return its number of parameters.

    Weights are drawn again from a seed: as they are initialised (0.02), attention is all but even and every token all but
    equally likely, so that a wrong mask or position would not show.
    """
    model = _tiny_model(name)
    for scale in _SCALES:
        draw_again(model, scale=scale)
        if answers(model):
            break
    _leave_out_padding(model)
    model.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def _tiny_model(name: str) -> nn.Module:
    maker = getattr(transformers, name, None)
    if maker is None:
        raise NotMade(f"transformers {transformers.__version__} has no {name}")
    found, problem = None, "no configuration passes its own checks"
    least: int | None = None
    seen = 0
    for config in tiny_configs(maker.config_class):
        config.tie_word_embeddings = False
        if maker.can_generate():
            _write(config)
        try:
            with torch.device("meta"):
                size = sum(p.numel() for p in maker(config).parameters())
        except Exception as error:  # whatever a model's constructor raises
            problem = _line(error)
            continue
        least = size if least is None else min(size, least)
        if size > MOST or (found is not None and seen > TRIALS):
            continue
        torch.manual_seed(0)
        try:
            model: nn.Module = maker(config).eval()
        except Exception as error:
            problem = _line(error)
            continue
        seen += 1
        if answers(model):
            return model
        found = model if found is None else found
    if found is not None:
        return found
    raise NotMade(problem if least is None else f"the smallest that was found has {least / 1e6:.0f} million parameters")


def answers(model: nn.Module) -> bool:
    """Whether `model` answers drawn inputs, with numbers: the sizes of its configuration fit each other. Of what writes token by
    token, and of what takes inputs that can't be derived, nobody knows: then so.
    """
    if getattr(model, "can_generate", lambda: False)():
        return True
    try:
        inputs = inputs_of(model, SavedModel(Path("none"), None, None, model.config))
    except UsageError:
        return True
    one = small(inputs) | {"batch": 1, "images": 1}
    given = {name: v.long() if v.dtype == torch.bool else v for name, v in draw(inputs, one).items()}
    try:
        with torch.no_grad():
            found = model(**given)
    except Exception:  # whatever a model raises
        return False
    told = (value for value in found.values() if isinstance(value, torch.Tensor) and value.is_floating_point())
    return all(bool((value[value.isfinite()].abs() < _LARGEST).all()) and not value.isnan().any() for value in told)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _write(config: PreTrainedConfig) -> None:
    """What sees all tokens at once writes none: the part that writes sees those before, as where it was trained to write."""
    decoder = getattr(config, "decoder", None) if config.is_encoder_decoder else config
    if isinstance(decoder, PreTrainedConfig) and vars(decoder).get("is_decoder") is False:
        decoder.is_decoder = True
        if decoder is not config:
            decoder.add_cross_attention = True


def _leave_out_padding(model: nn.Module) -> None:
    """No trained model writes its padding. One of RoBERTa's kind that does counts it among the positions, but no longer when it
    reads the whole text again: its own answers with a cache and without one part there.
    """
    rules = getattr(model, "generation_config", None)
    if rules is None or rules.pad_token_id is None:
        return
    ends = rules.eos_token_id if isinstance(rules.eos_token_id, list) else [rules.eos_token_id]
    if rules.pad_token_id not in ends:
        rules.suppress_tokens = [rules.pad_token_id]


@torch.no_grad()
def draw_again(model: nn.Module, seed: int = 0, scale: float = 1.0) -> None:
    """Weights of a size that keeps the variance of what goes through, embeddings of 1, a head of 3: margins between tokens.

    scale   of all matrices
    """
    random = torch.Generator().manual_seed(seed)
    head = _head(model)
    for name, parameter in model.named_parameters():
        if not parameter.numel():
            continue
        if parameter.ndim < 2:
            drawn = torch.randn(parameter.shape, generator=random) * 0.1
            norms = "norm" in name.lower() or bool((parameter == 1).all())  # one of a norm stays near what it is
            parameter.copy_(parameter + drawn if norms else drawn)
            continue
        std = 1.5 * max(1, parameter[0].numel()) ** -0.5
        if parameter is head:
            std *= 2
        elif "embed" in name or "wte" in name or "shared" in name:
            std = 1.0
        parameter.copy_(torch.randn(parameter.shape, generator=random) * std * scale)


def _head(model: nn.Module) -> torch.Tensor | None:
    try:
        found = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return getattr(found, "weight", None)
