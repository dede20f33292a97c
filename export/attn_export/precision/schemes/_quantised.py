"""Schemes that quantise: weights, and in some activations, as integers or 8-bit floats with a scale."""

from __future__ import annotations

from dataclasses import dataclass

from ._base import Scheme


@dataclass(frozen=True, kw_only=True)
class QuantisedScheme(Scheme):
    """What the products of a graph are computed in; `type` is of the rest of the graph on the CPU.

    weights         "int8", "int4" or "fp8": symmetric, zero point 0, since TensorRT takes no other
    activations     "float" leaves them; "dynamic": uint8 by the range of each call; "static": the weights' type by a range
                    that was calibrated
    block           rows of a weight [K, N] that share a scale; None for one scale per output channel
    operators       which operators' weights are quantised
    rounding        how weights are rounded where nobody says, one of `quantised.ROUNDINGS`
    tensorrt        whether there is a form of it for TensorRT
    """

    weights: str
    activations: str
    block: int | None = None
    operators: tuple[str, ...] = ("MatMul", "Gemm")
    rounding: str = "nearest"
    tensorrt: bool = True
    half_io: bool = False
    no_half_io: str = "what it leaves is float32 on a CPU"

    @property
    def bits(self) -> int:
        """Of one weight."""
        return 4 if self.weights == "int4" else 8

    @property
    def held_to(self) -> str | None:
        """The type whose golden cases it is held to, as `attn_runtime.bundle.Precision.held_to` has it."""
        return None if self.calibrated else self.type

    @property
    def sampled(self) -> bool:
        """Whether it looks at samples of inputs: for ranges of activations, or for what rounding makes up for."""
        return self.calibrated or self.rounding == "gptq"

    @property
    def calibrated(self) -> bool:
        """Whether it needs ranges of activations."""
        return self.activations == "static"
