"""--inputs-from package.module:callable: a function of the user's that draws all inputs of a case together.

For inputs that depend on one another: tokens that stand for images and the images' patches, boundaries of packed
sequences and the sequences, boxes and the features they lie in. Drawn each by itself, a module refuses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import TensorSpec

from ..quiet import captured_output
from ..reference import Draw, Drawn
from .given_arrays import given_inputs
from .import_ref import import_attribute

#: What a bundle says drew its inputs where its source itself makes them fit: it does so again wherever the source is loaded.
OWN_FIT = "the fit of the source itself"
#: (sizes: dim -> elements, seed) -> one numpy array or torch tensor per input, by name.
UserDraw = Callable[[dict[str, int], int], Mapping[str, Any]]


def draw_with(function: str | UserDraw, specs: Sequence[TensorSpec]) -> tuple[str, Draw]:
    """What the function is called, and the draw that it is once everything that it returns is held against `specs`.

    `function` is the callable, or "package.module:callable", imported as SOURCE is. The sizes of a case are read off the
    arrays: a dim that follows from others need not be what was asked for, as long as it lies in its range. The draw raises
    UsageError, naming function, sizes and seed, for what it raises, for arrays that do not fit, and where it answers
    the same sizes and seed differently.
    """
    if isinstance(function, str):
        if ":" not in function:
            raise UsageError(f"--inputs-from {function}: expected package.module:callable")
        try:
            target = import_attribute(function)
        except UsageError as problem:
            raise UsageError(f"--inputs-from {problem}") from problem
        ref = function
    else:
        target, ref = function, f"{function.__module__}:{getattr(function, '__qualname__', type(function).__name__)}"
    if not callable(target) or isinstance(target, (type, torch.nn.Module)):
        kind = "class" if isinstance(target, type) else type(target).__name__
        raise UsageError(
            f"--inputs-from {ref}: got a {kind}, expected a function (sizes, seed) -> arrays by input name"
        )
    return ref, _Checked(ref, target, tuple(specs))


class _Checked:
    """A draw that trusts nothing of what the function returns."""

    def __init__(self, ref: str, function: UserDraw, specs: tuple[TensorSpec, ...]) -> None:
        self._ref, self._function, self._specs = ref, function, specs
        self._compared = False

    def __call__(self, sizes: Mapping[str, int], seed: int) -> Drawn:
        where = f"--inputs-from {self._ref} at {_shown(sizes)}seed {seed}"
        arrays = self._called(where, sizes, seed)
        if not self._compared:  # once: whoever draws from another source of chance does so each time
            again = self._called(where, sizes, seed)
            for name, value in arrays.items():
                if not _same(value, again[name]):
                    raise UsageError(
                        f'{where}: answers differently when asked twice, in input "{name}"; draw from the seed alone, as '
                        "with numpy.random.default_rng(seed)"
                    )
            self._compared = True
        found = {
            dim.name: size
            for spec in self._specs
            for dim, size in zip(spec.dims, arrays[spec.name].shape, strict=True)
            if dim.name is not None
        }
        return Drawn(arrays, found)

    def _called(self, where: str, sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray[Any, Any]]:
        try:
            with captured_output():
                returned = self._function(dict(sizes), seed)
        except (Exception, SystemExit) as problem:
            reason = (str(problem).strip().splitlines() or [""])[0][:300]
            raise UsageError(f"{where}: failed: {type(problem).__name__}: {reason}") from problem
        return given_inputs(where, returned, self._specs, "--inputs-from", "mend the function")


def _same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def _shown(sizes: Mapping[str, int]) -> str:
    return "".join(f"{name}={size}, " for name, size in sizes.items())
