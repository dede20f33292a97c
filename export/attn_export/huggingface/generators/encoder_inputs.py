"""What an encoder reads: text, a picture, features of sound or a waveform; its sizes, and samples of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn

#: Most tokens of a source, unless the model takes fewer.
_MOST_TOKENS = 512
#: Frames of features, and samples of a waveform, of a model that takes any number: least, usual, most.
_FRAMES, _SAMPLES = (16, 64, 256), (1600, 3200, 16000)


@dataclass(frozen=True)
class EncoderInputs:
    """The inputs of a graph `encoder`.

    argument    what the model's own encoder calls it: input_ids, pixel_values, input_features or input_values
    source      its spec, with the batch in front: int64 tokens or float32. It is called source, or as a front end says
    front_end   what makes it of a waveform, where the graph takes that instead
    """

    argument: str
    source: TensorSpec
    front_end: nn.Module | None = None

    @property
    def masked(self) -> bool:
        """Whether there is a source_mask: text is padded at the end, all else has one length a batch."""
        return self.argument == "input_ids"

    @property
    def dims(self) -> tuple[Dim, ...]:
        """Those behind the batch."""
        return self.source.dims[1:]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        if not self.masked:
            return (self.source,)
        meaning = "true at tokens of the source, false behind them"
        return (self.source, TensorSpec("source_mask", "bool", self.source.dims, meaning=meaning))

    def sample(self, rows: int, length: int | None = None, seed: int = 1) -> dict[str, Tensor]:
        """Random inputs by name: `length` tokens, or elements of the first dynamic dim; its usual size without it."""
        random = torch.Generator().manual_seed(seed)
        if self.masked:
            length = self.dims[0].opt if length is None else length
            source = drawn_tokens(rows, length, self.vocabulary, random)
            return {"source": source, "source_mask": torch.ones(rows, length, dtype=torch.bool)}
        sizes = [length if d.dynamic and length is not None else d.opt for d in self.dims]
        return {self.source.name: torch.randn(rows, *sizes, generator=random)}

    @property
    def vocabulary(self) -> int:
        return int(self.source.high or 0)

    def read(self, source: Tensor) -> Tensor:
        """What the model's own encoder takes, of what the graph takes."""
        return source if self.front_end is None else self.front_end(source)


def encoder_inputs(model: Any, batch: Dim, front_end: tuple[nn.Module, TensorSpec] | None = None) -> EncoderInputs:
    """The inputs of the encoder of `model`. `front_end` makes what it takes of a waveform of this spec, [B, samples].

    Raises UsageError for an encoder that takes anything else than text, pictures or sound.
    """
    argument = argument_of_encoder(model)
    if front_end is not None:
        module, waveform = front_end
        source = replace(waveform, dims=(batch, *waveform.dims[1:]))
        return EncoderInputs(argument, source, module.eval())
    dims = _dims(model, argument)
    if argument == "input_ids":
        encoder = model.get_encoder()
        words = (encoder if hasattr(encoder, "get_input_embeddings") else model).get_input_embeddings()
        high = int(words.weight.shape[0])
        return EncoderInputs(argument, TensorSpec("source", "int64", (batch, *dims), "tokens", low=0, high=high))
    return EncoderInputs(argument, TensorSpec("source", "float32", (batch, *dims)))


def argument_of_encoder(model: Any) -> str:
    """What the encoder of `model` calls what it reads. One that is a plain module reads what the whole model does."""
    return str(getattr(model.get_encoder(), "main_input_name", model.main_input_name))


def _dims(model: Any, argument: str) -> tuple[Dim, ...]:
    config = getattr(model.get_encoder(), "config", model.config)
    if argument == "input_ids":
        own = getattr(config, "max_position_embeddings", None) or getattr(
            config, "max_encoder_position_embeddings", None
        )
        most = min(own or _MOST_TOKENS, _MOST_TOKENS)
        return (Dim("source", 1, min(8, most), most),)
    if argument == "pixel_values":
        side = config.image_size
        height, width = (side, side) if isinstance(side, int) else side
        return tuple(Dim.fixed(n) for n in (config.num_channels, height, width))
    if argument == "input_features" and hasattr(config, "num_mel_bins") and hasattr(config, "max_source_positions"):
        return (Dim.fixed(config.num_mel_bins), Dim.fixed(2 * config.max_source_positions))
    if argument == "input_features" and (width := _width(config)):
        return (Dim("frames", *_FRAMES), Dim.fixed(width))
    if argument == "input_values":
        return (Dim("samples", *_SAMPLES),)
    raise UsageError(
        f"{type(model).__name__}: its encoder takes {argument}; expected input_ids, pixel_values, input_features of a "
        "known number of bins, or input_values. Export its graphs as a model of your own (docs/use/export.md)"
    )


def _width(config: Any) -> int | None:
    """Numbers of a frame of features, of a model that takes any number of frames."""
    channels = getattr(config, "input_channels", 1)
    per_channel = getattr(config, "input_feat_per_channel", None)
    if per_channel is not None:
        return int(per_channel * channels)
    return getattr(config, "feature_projection_input_dim", None) or getattr(config, "num_mel_bins", None)


def drawn_tokens(rows: int, length: int, vocabulary: int, random: torch.Generator) -> Tensor:
    """int64 [rows, length], without the first three where there are more: in most vocabularies those stand for no text."""
    return torch.randint(min(3, vocabulary - 1), vocabulary, (rows, length), generator=random)


def some(source_mask: Tensor) -> Tensor:
    """The first token always counts: a softmax over nothing is not a number."""
    return source_mask | (torch.arange(source_mask.shape[1]) == 0)
