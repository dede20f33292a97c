"""The axes of an interpolation, read from a call of an upsample operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import sympy  # type: ignore[import-untyped]
from torch.fx.experimental.symbolic_shapes import statically_known_true

from ..building_blocks import Size, bounds, function_of


@dataclass(frozen=True)
class Axis:
    """One axis that is resized.

    before  its size
    given   its size after, where the call says it; None where it is before * scale
    scale   the scale factor that the ratio of coordinates is taken from; None where it is taken from the sizes
    """

    before: Size
    given: Size | None
    scale: float | None = None

    @property
    def same(self) -> bool:
        kept = self.given is None or statically_known_true(self.before == self.given)
        return bool(kept) and self.scale in ((1.0,) if self.given is None else (None, 1.0))

    @property
    def static(self) -> bool:
        return isinstance(self.before, int) and isinstance(self.given, (int, type(None)))

    @property
    def known_ratio(self) -> np.float32 | None:
        """The ratio of coordinates in float32, where it is the same at all sizes (and corners are not aligned)."""
        if self.scale is not None:
            return np.float32(1.0 / self.scale)
        if isinstance(self.before, int) and isinstance(self.given, int):
            return np.float32(self.before) / np.float32(self.given)
        factor = self.factor
        return np.float32(1 / factor) if factor is not None else None

    @property
    def factor(self) -> Fraction | None:
        """By how much the axis grows, where that is one number at all sizes."""
        if self.scale is not None:
            return Fraction(self.scale)
        before, after = (s if isinstance(s, int) else s.node.expr for s in (self.before, self.given))  # type: ignore[union-attr]
        ratio = sympy.cancel(sympy.sympify(after) / sympy.sympify(before))
        return Fraction(int(ratio.p), int(ratio.q)) if ratio.is_Rational else None

    @property
    def exact(self) -> bool:
        """Whether the factor is a power of two or one over it: no coordinate is rounded, in any engine."""
        factor = self.factor
        return factor is not None and _power_of_two(factor.numerator) and _power_of_two(factor.denominator)

    @property
    def longest(self) -> int:
        """The greatest size after."""
        return grown(bounds(self.before)[1], self.scale) if self.given is None else bounds(self.given)[1]  # type: ignore[arg-type]

    @property
    def after(self) -> Size:
        """The size after, exact at every size before. Only while tracing: it may need nodes."""
        if self.given is not None:
            return self.given
        scale = self.scale
        assert scale is not None
        return self.before * int(scale) if scale == int(scale) else function_of(self.before, lambda n: grown(n, scale))


def grown(size: int, scale: float) -> int:
    """What PyTorch makes of a size (aten/src/ATen/native/UpSample.cpp, compute_output_size)."""
    return size * int(scale) if scale == int(scale) else int(size * scale)


def keeps_size(axis: Axis, times: int = 1) -> bool:
    """Whether a size of the range times its scale factor is that size again, or `times` it."""
    first, last = bounds(axis.before)
    scale = axis.scale
    # What a fraction of a scale factor leaves as it is are the smallest sizes: 1, 2 and 3 for 1.3.
    sizes = range(first, min(last, first + 9999) + 1)
    return scale is not None and any(grown(size, scale) == size * times for size in sizes)


def axes_of(
    sizes: Sequence[Size], output_size: Sequence[Size] | None, scales: Sequence[float | None] | None
) -> list[Axis]:
    """sizes: of the axes before. The size after comes from `output_size`, or from `scales` where that is None."""
    nothing = [None] * len(sizes)
    positive = [scale if scale and scale > 0 else None for scale in scales or nothing]
    return [Axis(*row) for row in zip(sizes, output_size or nothing, positive, strict=True)]


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
