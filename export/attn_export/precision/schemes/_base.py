"""What a precision scheme is: everything that a conversion has to know of the type it converts to.

A scheme file `schemes/NAME.py` holds one `SCHEME`; `--precision NAME` then converts to it (a "-" of the name is a "_" of
the file's). For example `schemes/fp16_loose.py`, float16 for a model whose users allow more error:

    from dataclasses import replace

    from .fp16 import SCHEME as FP16

    SCHEME = replace(FP16, name="fp16-loose", default_rtol=5e-2)

Nothing here imports onnx or numpy, so that the command line can list the names at once.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attn_runtime.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from attn_runtime.compare import Tolerance

_PACKAGE = __name__.rpartition(".")[0]
#: The absolute part of the limit, over that of the fp32 graph: where a reference is all zeros, half precision still rounds.
_ATOL_OVER_FP32 = 10.0


#: Schemes with a flag of their own, --NAME, beside --precision NAME.
FLAGS = ("fp16", "bf16")


def option(name: str) -> str:
    """How a user asks for the scheme `name` on a command line."""
    return f"--{name}" if name in FLAGS else f"--precision {name}"


def none_named(what: str) -> UsageError:
    """The error of `what`, an option or a command that needs a scheme where none was named."""
    return UsageError(
        f"{what}: to which precision? Give {' or '.join(map(option, FLAGS))}, or --precision NAME; available: "
        f"{', '.join(names())}"
    )


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A precision to convert to; of which kind, `HalfScheme` and `QuantisedScheme` say.

    name            of the precision in a bundle, and of its file: model.NAME.onnx
    type            what the manifest calls the element type of its arithmetic; a runtime that never heard of the scheme
                    goes by this
    default_rtol    the error allowed where nobody says, of max|reference|
    require         raises BackendError where what it converts with is not installed
    warm_up         a task that imports that in the child process, "package.module:function", while others read and measure
    runs_on_cpu     whether ONNX Runtime has kernels of the type for the CPU
    half_io         whether a graph can have float16 inputs and outputs, and `no_half_io` why not
    """

    name: str
    type: str
    default_rtol: float
    require: Callable[[], None]
    warm_up: str
    runs_on_cpu: bool = True
    half_io: bool = True
    no_half_io: str = ""

    def tolerance(self, rtol: float | None, fp32: Tolerance) -> Tolerance:
        """The limits of a graph whose fp32 graph has the limits `fp32`. UsageError for an rtol outside 0..1."""
        chosen = self.default_rtol if rtol is None else rtol
        if not 0 < chosen < 1:
            raise UsageError(f"--rtol {chosen:g}: expected a limit over 0 and under 1, as a share of max|reference|")
        return replace(fp32, atol=_ATOL_OVER_FP32 * fp32.atol, rtol=chosen)

    def check_half_io(self, half_io: bool) -> None:
        """UsageError where float16 inputs and outputs are asked for and can't be."""
        if half_io and not self.half_io:
            raise UsageError(
                f"--half-io with {option(self.name)}: {self.no_half_io}, so inputs and outputs stay float32. Leave "
                "--half-io out, or take --fp16"
            )


def names() -> list[str]:
    """Every scheme there is a file of, by name."""
    files = (m.name for m in pkgutil.iter_modules(sys.modules[_PACKAGE].__path__) if not m.name.startswith("_"))
    return sorted(name.replace("_", "-") for name in files)


def get(name: str) -> Scheme:
    """The scheme called `name`. UsageError with the nearest name and those there are otherwise."""
    if name not in names():
        raise UsageError(f'unknown precision "{name}"; {did_you_mean(name, names())}available: {", ".join(names())}')
    scheme: Scheme = importlib.import_module(f"{_PACKAGE}.{name.replace('-', '_')}").SCHEME
    return scheme


def _nothing() -> None:
    """Converting takes nothing that is not installed anyway."""


#: `require` and `warm_up` of a scheme that converts with what every user has.
NOTHING_NEEDED: dict[str, Any] = {"require": _nothing, "warm_up": "attn_export.precision.schemes._base:warm_up_here"}


def warm_up_here() -> dict[str, Any]:
    """A task that imports nothing."""
    return {}
