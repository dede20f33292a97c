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
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attn_runtime.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import onnx
    from attn_runtime.child_process import ChildProcess
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


class Convert(Protocol):
    def __call__(
        self,
        source: Path,
        target: Path,
        scheme: Scheme,
        isolated: ChildProcess,
        *,
        fp32_nodes: Sequence[str] = (),
        saturate: Sequence[str] = (),
        half_io: bool = False,
    ) -> None:
        """Write `source` (fp32, every node named) to `target` as a strongly typed graph: no operator mixes types.

        fp32_nodes    the nodes that stay in fp32, beside those whose operator the type does not have and those with bodies
        saturate      tensors that are clipped to the type's range where they are cast to it
        half_io       make the float32 inputs and outputs float16

        Raises PassError with the reason when the graph can't be converted.
        """


class Emulate(Protocol):
    def __call__(self, typed: onnx.ModelProto, between: bool = True) -> onnx.ModelProto:
        """The fp32 graph that computes what a GPU computes of `typed`; see `_emulation.emulate`."""


@dataclass(frozen=True)
class Scheme:
    """A type to convert to, and how.

    name            of the precision in a bundle, and of its file: model.NAME.onnx
    type            what the manifest calls the element type of its arithmetic; a runtime that never heard of the scheme
                    goes by this
    onnx_type       the same as an onnx.TensorProto.DataType
    max_finite      the type's greatest number
    unit_roundoff   half the distance from 1 to the next number: the relative error of one rounding
    default_rtol    the error allowed where nobody says, of max|reference|
    runs_on_cpu     whether ONNX Runtime has kernels of the type for the CPU
    half_io         whether a graph can have float16 inputs and outputs, and `no_half_io` why not
    convert         from the fp32 graph to the typed one
    emulate         from the typed graph to the fp32 graph that is its judge
    require         raises BackendError where what `convert` needs is not installed
    warm_up         a task that imports it in the child process, "package.module:function", while others read and measure
    """

    name: str
    type: str
    onnx_type: int
    max_finite: float
    unit_roundoff: float
    default_rtol: float
    convert: Convert
    emulate: Emulate
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


def scheme_of(elements: Collection[int]) -> Scheme | None:
    """The scheme whose type is among these element types; None for a graph in fp32.

    Of several with one type, the one that is called by it: a plain file does not tell which of them made it.
    """
    return _plainest(scheme for scheme in map(get, names()) if scheme.onnx_type in elements)


def of_type(type: str) -> Scheme | None:
    """The same of a precision whose type the manifest gives; None for fp32."""
    return _plainest(scheme for scheme in map(get, names()) if scheme.type == type)


def _plainest(schemes: Iterable[Scheme]) -> Scheme | None:
    return min(schemes, key=lambda s: (s.name != s.type, s.name), default=None)
