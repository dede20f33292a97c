"""The ranges of shapes that an engine is built for, in trtexec's grammar, held against what the graph takes.

    --minShapes x:1x3x32x32,y:2x3 --optShapes x:8x3x32x32,y:2x3 --maxShapes x:32x3x32x32,y:2x3
A scalar is `n:` or `n:scalar`. --optShapes alone fixes the shapes. Giving the options a second time makes a second
profile. Without them, one profile spans the ranges that the bundle was checked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ..errors import UsageError, did_you_mean
from ..spec import TensorSpec

Shape = tuple[int, ...]
#: input name -> (min, opt, max) shape; one mapping is one optimization profile
Profile = Mapping[str, tuple[Shape, Shape, Shape]]

_ENDS = ("min", "opt", "max")
_OPTIONS = ("--minShapes", "--optShapes", "--maxShapes")


@dataclass(frozen=True)
class Axis:
    """One axis of an input: min == max where it is fixed; all None where the file gives no range."""

    name: str | None
    min: int | None
    opt: int | None
    max: int | None

    def __str__(self) -> str:
        if self.min is None:
            return self.name or "?"
        return str(self.opt) if self.min == self.max else f"{self.name}={self.min}..{self.max}"


@dataclass(frozen=True)
class GraphInput:
    """An input of the graph that is compiled. `axes` is None where the file declares no shape."""

    name: str
    dtype: str
    axes: tuple[Axis, ...] | None

    @property
    def open(self) -> bool:
        """Whether its shape has to be given."""
        return self.axes is None or any(axis.min is None for axis in self.axes)

    @property
    def may_be_shape(self) -> bool:
        """Whether its values could decide shapes: then what is given for it may be values, told apart after parsing."""
        fixed = self.axes is not None and all(axis.min is not None and axis.min == axis.max for axis in self.axes)
        return fixed and len(self.axes or ()) < 2 and self.dtype in ("int32", "int64")

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.axes)) if self.axes is not None else '?'}]"


@dataclass(frozen=True)
class ShapeTexts:
    """trtexec's options, one text per profile each; all empty for the default profile."""

    min: tuple[str, ...] = ()
    opt: tuple[str, ...] = ()
    max: tuple[str, ...] = ()


def input_of(spec: TensorSpec) -> GraphInput:
    """A bundle's input, whose ranges are known."""
    return GraphInput(spec.name, spec.dtype, tuple(Axis(d.name, d.min, d.opt, d.max) for d in spec.dims))


def input_of_file(name: str, dtype: str, dims: Sequence[int | str | None] | None) -> GraphInput:
    """An input as a plain ONNX file declares it: named axes without ranges."""
    if dims is None:
        return GraphInput(name, dtype, None)
    axes = (Axis(None, d, d, d) if isinstance(d, int) else Axis(d, None, None, None) for d in dims)
    return GraphInput(name, dtype, tuple(axes))


def make_profiles(
    low: Sequence[str], opt: Sequence[str], high: Sequence[str], inputs: Sequence[GraphInput], where: str
) -> tuple[Profile, ...]:
    """One profile per repetition of the options, or the default one without them.

    Raises UsageError for text that does not parse, an unknown input, a shape that the graph does not take, and a
    dynamic input whose range nothing tells.
    """
    if not (low or opt or high):
        return (_complete({}, inputs, where),)
    if not opt or len({len(opt), *(len(texts) for texts in (low, high) if texts)}) > 1 or bool(low) != bool(high):
        given = ", ".join(f"{len(t)} {o}" for o, t in zip(_OPTIONS, (low, opt, high), strict=True))
        raise UsageError(
            f"got {given}; give --optShapes alone, or --minShapes, --optShapes and --maxShapes as often each, once per "
            "profile"
        )
    profiles = []
    for number, text in enumerate(opt):
        if not low:
            ends = [parse_shapes(text, "--optShapes")] * 3
        else:
            texts = (low[number], text, high[number])
            ends = [parse_shapes(t, option) for t, option in zip(texts, _OPTIONS, strict=True)]
            for option, t, shapes in zip(_OPTIONS, texts, ends, strict=True):
                if missing := sorted(set().union(*ends) - set(shapes)):
                    raise UsageError(f"{option} {t}: no shape for {', '.join(missing)}")
        profiles.append(_complete({name: tuple(e[name] for e in ends) for name in ends[0]}, inputs, where))
    return tuple(profiles)


def given_profiles(profiles: Sequence[Profile], inputs: Sequence[GraphInput], where: str) -> tuple[Profile, ...]:
    """Profiles that a program gives, checked and completed alike."""
    if not profiles:
        raise UsageError(f"{where}: got no profile, expected one or more")
    return tuple(_complete({n: tuple(map(tuple, s)) for n, s in one.items()}, inputs, where) for one in profiles)


def parse_shapes(text: str, option: str) -> dict[str, Shape]:
    """ "x:1x3,n:" -> {"x": (1, 3), "n": ()}. Quotes around a name, as trtexec wants them, are dropped."""
    shapes: dict[str, Shape] = {}
    for part in text.split(","):
        name, colon, sizes = part.strip().rpartition(":")
        name = name.strip("'\"")
        try:
            shape = () if sizes in ("", "scalar") else tuple(int(size) for size in sizes.lower().split("x"))
        except ValueError:
            shape = (-1,)
        if not colon or not name or any(size < 0 for size in shape):
            raise UsageError(f"{option}: got {part.strip()!r}, expected NAME:1x3x32x32 (a scalar is NAME:)")
        if name in shapes:
            raise UsageError(f"{option}: got a shape for {name} twice, expected one")
        shapes[name] = shape
    return shapes


def check_coverage(
    profiles: Sequence[Profile], specs: Sequence[TensorSpec], cases: Sequence[tuple[str, Mapping[str, int]]], where: str
) -> None:
    """UsageError unless every golden case (name, dim sizes) lies in one of the profiles: what was recorded could not
    be held against the engine."""
    for case, sizes in cases:
        wanted = {spec.name: spec.shape(sizes) for spec in specs}
        if not any(_covers(profile, wanted) for profile in profiles):
            shapes = ", ".join(f"{name} {list(shape)}" for name, shape in wanted.items())
            told = "no profile covers" if len(profiles) > 1 else "the profile does not cover"
            raise UsageError(
                f'{where}: {told} golden case "{case}" ({shapes}); widen --minShapes and --maxShapes, give a second '
                "profile, or export with narrower --dim ranges"
            )


def profile_text(profile: Profile) -> str:
    """ "image [1, 3, 32, 32]..[32, 3, 32, 32]", for people."""
    return ", ".join(
        f"{name} {list(low)}" + (f"..{list(high)}" if low != high else "") for name, (low, _, high) in profile.items()
    )


def _covers(profile: Profile, shapes: Mapping[str, Shape]) -> bool:
    return all(
        name not in profile
        or len(profile[name][0]) != len(shape)  # values of a shape input
        or all(a <= size <= b for a, size, b in zip(profile[name][0], shape, profile[name][2], strict=True))
        for name, shape in shapes.items()
    )


def _complete(given: Mapping[str, tuple[Shape, ...]], inputs: Sequence[GraphInput], where: str) -> Profile:
    """The profile with what was left out filled in: a dim that was given for one input holds for the others."""
    by_name = {i.name: i for i in inputs}
    for name in given:
        if name not in by_name:
            raise UsageError(
                f'{where}: unknown input "{name}"; {did_you_mean(name, by_name)}available: {", ".join(by_name)}'
            )
    seen: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, shapes in given.items():
        _check(by_name[name], shapes, seen, where)
    profile: dict[str, tuple[Shape, Shape, Shape]] = {}
    for i in inputs:
        if i.name in given:
            low, opt, high = given[i.name]
        elif i.may_be_shape:
            continue  # its shape is fixed; should its values matter, the build asks for them
        else:
            low, opt, high = (_default(i, end, seen, where) for end in range(3))
        profile[i.name] = (low, opt, high)
    return profile


def _check(i: GraphInput, shapes: tuple[Shape, ...], seen: dict[str, tuple[tuple[int, ...], str]], where: str) -> None:
    got = f'{where}: input "{i.name}": got {", ".join(f"{e} {list(s)}" for e, s in zip(_ENDS, shapes, strict=True))}'
    if len({len(shape) for shape in shapes}) > 1:
        raise UsageError(f"{got}; expected three shapes of one rank")
    for number, sizes in enumerate(zip(*shapes, strict=True)):
        if not sizes[0] <= sizes[1] <= sizes[2]:
            raise UsageError(f"{got}; axis {number} needs min <= opt <= max")
    if i.axes is None or i.may_be_shape:
        return
    if len(shapes[0]) != len(i.axes):
        raise UsageError(f"{got}; expected rank {len(i.axes)}: {i}")
    for number, (axis, sizes) in enumerate(zip(i.axes, zip(*shapes, strict=True), strict=True)):
        if axis.min is not None and axis.max is not None and not axis.min <= sizes[0] <= sizes[2] <= axis.max:
            if axis.min == axis.max:
                raise UsageError(f"{got}; axis {number} is fixed at {axis.min}: {i}")
            raise UsageError(
                f"{got}; dim {axis.name} was checked for {axis.min}..{axis.max}. Export again with "
                f"--dim {axis.name}={min(axis.min, sizes[0])}:{axis.opt}:{max(axis.max, sizes[2])}"
            )
        if axis.name is not None:
            before = seen.setdefault(axis.name, (sizes, i.name))
            if before[0] != sizes:
                raise UsageError(
                    f"{got}; dim {axis.name} is {_span(sizes)} here and {_span(before[0])} in input "
                    f'"{before[1]}", expected one size in both'
                )


def _default(i: GraphInput, end: int, seen: Mapping[str, tuple[tuple[int, ...], str]], where: str) -> Shape:
    if i.axes is None:
        _ask(i, where)
    sizes = []
    for axis in i.axes:
        given = seen.get(axis.name or "")
        size = given[0][end] if given else getattr(axis, _ENDS[end])
        if size is None:
            _ask(i, where)
        sizes.append(size)
    return tuple(sizes)


def _ask(i: GraphInput, where: str) -> NoReturn:
    sizes = ["1" if axis.min is None else str(axis.opt) for axis in i.axes or ()]
    example = f"{i.name}:{'x'.join(sizes)}"
    raise UsageError(
        f'{where}: input "{i.name}" is dynamic and the file gives no range: {i}. Give its shapes, as in '
        f"--minShapes {example} --optShapes {example} --maxShapes {example}"
    )


def _span(sizes: tuple[int, ...]) -> str:
    return ":".join(map(str, sizes))
