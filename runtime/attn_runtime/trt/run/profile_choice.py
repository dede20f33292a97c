"""Which of an engine's profiles a call runs with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...errors import InputError
from .. import Profile
from .executor import Shape


def choose_profile(profiles: Sequence[Profile], shapes: Mapping[str, Shape], where: str, command: str) -> int:
    """The number of the profile that covers `shapes` and was tuned for the nearest sizes; of several, the tightest.

    Raises InputError that names the input, the axis and what the profiles allow there, and how to build for more.
    """
    covering = [number for number, profile in enumerate(profiles) if _why_not(profile, shapes) is None]
    if covering:
        return min(covering, key=lambda n: (_distance(profiles[n], shapes), _room(profiles[n]), n))
    # The profile that fits best otherwise tells most: the one that fails at the last input or axis.
    told = [reason for profile in profiles if (reason := _why_not(profile, shapes))]
    name, axis = max(told)[2:]
    ranges = sorted({(profile[name][0][axis], profile[name][2][axis]) for profile in profiles})
    allowed = ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in ranges)
    raise InputError(
        f'input "{name}": got {list(shapes[name])}; axis {axis} is {shapes[name][axis]}, the engine was built for '
        f"{allowed}{' (in several profiles)' if len(profiles) > 1 else ''} ({where}). Build it for more: {command} "
        f"{_options(profiles, shapes)}"
    )


def _why_not(profile: Profile, shapes: Mapping[str, Shape]) -> tuple[int, int, str, int] | None:
    """(axes that fit, -position, input, axis) of the first axis that does not fit; None when all do."""
    fitting = 0
    first: tuple[int, str, int] | None = None
    for position, (name, (low, _, high)) in enumerate(profile.items()):
        for axis, size in enumerate(shapes[name]):
            if low[axis] <= size <= high[axis]:
                fitting += 1
            elif first is None:
                first = -position, name, axis
    return None if first is None else (fitting, *first)


def _distance(profile: Profile, shapes: Mapping[str, Shape]) -> float:
    """How far the sizes are from those that the profile was tuned for, in factors of two."""
    return sum(
        abs(math.log2((size + 1) / (best + 1)))
        for name, (_, opt, _) in profile.items()
        for size, best in zip(shapes[name], opt, strict=True)
    )


def _room(profile: Profile) -> float:
    return sum(math.log2(size + 1) for _, _, high in profile.values() for size in high)


def _options(profiles: Sequence[Profile], shapes: Mapping[str, Shape]) -> str:
    """The ranges that cover what the profiles cover and these shapes, in trtexec's words."""
    low, best, high = {}, {}, {}
    for name, shape in shapes.items():
        every = [profile[name] for profile in profiles]
        if all(shape == bound for one in every for bound in (one[0], one[2])):
            continue  # fixed
        low[name] = tuple(map(min, zip(shape, *(one[0] for one in every), strict=True)))
        best[name] = every[0][1]
        high[name] = tuple(map(max, zip(shape, *(one[2] for one in every), strict=True)))
    sides = {"--minShapes": low, "--optShapes": best, "--maxShapes": high}
    return " ".join(
        f"{option} {','.join(f'{name}:{_times(shape)}' for name, shape in side.items())}"
        for option, side in sides.items()
    )


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))
