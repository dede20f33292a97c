"""What a session and a backend are to each other: the graph that is opened, how, and what comes back.

A backend module (one file of `backends`) holds the four names of `Backend`; what it opens is an `Engine`. Neither checks
names, dtypes or ranges: the session does that once, for all of them. A backend imports its engine library inside its
functions, so that importing the module costs nothing and works where the library is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from .errors import AttnError
from .lazy import dataclass
from .spec import TensorSpec

if TYPE_CHECKING:
    from .bundle import Arrays, Bundle, Case
    from .device import DeviceArray, DeviceTensor, Intake

Array = NDArray[Any]


@dataclass(frozen=True)
class GraphFile:
    """One graph in one precision, as a session hands it to a backend.

    `inputs` and `outputs` are None for an ONNX file outside a bundle: the engine reads them from the file. `where`
    names the graph in messages, as in ``bundle translate.attn``. `cases` yields the golden cases, where there are any.
    `bundle`, `graph` and `precision` tell where in a bundle it lies, for a backend that runs what was compiled from it.
    """

    file: Path
    where: str
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    cases: Callable[[], Iterable[Case[Arrays]]] | None = None
    bundle: Bundle | None = None
    graph: str | None = None
    precision: str | None = None

    def files(self) -> list[Path]:
        """Those that are read when it is opened. BundleError where a file outside a bundle names one that may not be read."""
        if self.bundle is not None and self.precision is not None:
            entry = self.bundle.graph(self.graph).precisions[self.precision]
            return [entry.file, *entry.data]
        from .onnx_file import check_external_data

        return [self.file, *check_external_data(self.file, self.where)]


@dataclass(frozen=True)
class OpenOptions:
    """How to run it. A backend that an option means nothing to ignores it, but one that can't do it raises.

    threads      that one node may use on the CPU; None takes the cores that this process may keep busy
    cuda_graph   on a GPU, capture each shape's calls as a CUDA graph and replay it (fixed shapes, no control flow)
    cache        folder for what an engine library makes of the graph on this machine; None keeps such things in memory
    workspace    bytes of scratch memory that a TensorRT build inside ONNX Runtime may take; None is the library's limit
    low_memory   on the CPU, read weights where they lie in the file, which all sessions of a process share, instead of keeping
                 a copy in an order that is faster to multiply with
    stop_spinning  threads sleep as soon as a call is over, instead of waiting busily for the next one
    share_cores  threads sleep between the nodes too, which get smaller pieces of work: slower on an idle machine, faster where
                 others want the cores; of a backend whose SHARES_CORES is True
    """

    threads: int | None = None
    cuda_graph: bool = False
    cache: Path | None = None
    workspace: int | None = None
    low_memory: bool = False
    stop_spinning: bool = False
    share_cores: bool = False


class Engine(Protocol):
    """An opened graph. `run` may be called from many threads at once; what `bind` returns belongs to one thread."""

    device: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    assets: Mapping[str, Any]

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Every output by name, for inputs that fit the specs."""

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Callable[[], object]:
        """A call that reads these C-contiguous buffers and fills those, which the caller keeps alive.

        What it raises goes through `explain`: a frame of Python around a small graph's call would be felt.
        """

    def explain(self, error: Exception) -> AttnError:
        """The InputError or BackendError that an error of the engine library amounts to."""


class DeviceEngine(Engine, Protocol):
    """What an engine with memory of its own may have as well; a session looks for each by name.

    intake  where tensors on the device are taken from; `run` and `run_on_device` then get DeviceTensors among the arrays
    note    what is not as it could be, for people
    """

    intake: Intake
    note: str | None

    def run_on_device(self, feed: Mapping[str, Array | DeviceTensor]) -> dict[str, DeviceArray]:
        """As `run`, with the outputs left where they are."""

    def buffer(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zeros in host memory that `bind` likes best."""

    def device_buffer(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """Zeros in device memory for `bind`, which takes them and numpy arrays, mixed as one likes."""

    def close(self) -> None:
        """Give the device's memory back, once running calls are done."""


class Backend(Protocol):
    """What a module of `backends` must hold. One with a RANK below 0 is tried before those without, whatever its name;
    one whose COMPUTES is False knows the golden cases alone, and can't answer anything new; one whose SHARES_CORES is True
    heeds `OpenOptions.share_cores`."""

    ABOUT: str
    AUTOMATIC: bool
    """Whether `backend=None` may take it; otherwise it has to be named."""

    def why_unavailable(self) -> str | None:
        """None when it can be used on this machine, else the reason and what to install, in one line."""

    def why_not(self, device: str) -> str | None:
        """None when it can use `device` ("cpu", "cuda", "cuda:1"), else the reason, in one line."""

    def open(self, graph: GraphFile, device: str, options: OpenOptions) -> Engine:
        """BundleError for a damaged or hostile file, BackendError when this machine can't run it on `device`."""
