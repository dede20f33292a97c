"""The C++ runtime, called through ctypes: what a C++ application runs, held to the same tests from Python.

It reads the bundle itself, and loads the libonnxruntime of the installed onnxruntime package.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import forks
from ..bundle import Bundle
from ..errors import AttnError, BackendError
from ..files import parse_json
from ..interface import Array, GraphFile, OpenOptions
from ..native import capi as native
from ..ort import CPU_NOTE

ABOUT = "the C++ runtime over ONNX Runtime, on the CPU"
AUTOMATIC = True
#: Before ort: a call costs two thirds (docs/decisions/0010-cpp-core.md). It is there where the library was built.
RANK = -0.5  # behind compiled engines

#: Sets of buffers that `run` keeps for shapes that come again, and the largest that are worth keeping: copying more than
#: this costs more than binding anew.
_MOST_SHAPES, _MOST_BYTES = 32, 1 << 20


def why_unavailable() -> str | None:
    return native.why_unavailable() or (
        None
        if native.onnxruntime_library()
        else "the onnxruntime package, whose library it loads, is not installed; pip install onnxruntime"
    )


def why_not(device: str) -> str | None:
    return None if device == "cpu" else "from Python it runs on the CPU alone"


def open(graph: GraphFile, device: str, options: OpenOptions) -> NativeEngine:
    """BundleError for what the C++ reader refuses, BackendError for a plain file and where ONNX Runtime can't run it."""
    if graph.bundle is None or graph.inputs is None or graph.outputs is None:
        raise BackendError(f"{graph.where}: the C++ runtime opens bundles alone; take backend ort")
    known = {dim.name for spec in graph.inputs for dim in spec.dims}
    for spec in graph.outputs:
        if any(dim.dynamic and dim.name not in known for dim in spec.dims):
            raise BackendError(
                f'{graph.where}: the shape of output "{spec.name}" follows from values; take backend ort'
            )
    asked = native.OpenOptions(
        device=b"cpu",
        backend=b"ort",
        graph=(graph.graph or "").encode(),
        precision=(graph.precision or "").encode(),
        threads=options.threads or 0,
        low_memory=int(options.low_memory),
        cache=None if options.cache is None else os.fsencode(options.cache),
        stop_spinning=int(options.stop_spinning),
        library=str(native.onnxruntime_library()).encode(),
    )
    asked.size = ctypes.sizeof(asked)
    engine = NativeEngine(graph, native.open_session(_BUNDLES.of(graph.bundle), asked))
    if graph.bundle.graph(graph.graph).precisions[graph.precision or ""].type == "fp16":
        engine.note = CPU_NOTE
    return engine


class _Bundles:
    """What the library has read of each `Bundle`, for as long as that lives: its sessions share one reading.

    The library reads the files for itself, but those that are known from Python's reading (`bundle.known_hashes`). A bundle
    that is opened again, as after another export, is read again.
    """

    def __init__(self) -> None:
        self._handles: WeakKeyDictionary[Bundle, native.Handle] = WeakKeyDictionary()
        self._opening: WeakKeyDictionary[Bundle, Lock] = WeakKeyDictionary()
        self._lock = forks.lock()
        forks.in_child(self._opening.clear)

    def of(self, bundle: Bundle) -> native.Handle:
        """Raises what `native.open_bundle` raises; nothing is remembered then."""
        with self._lock:
            opening = self._opening.setdefault(bundle, Lock())
        with opening:  # threads that want the same one wait for the first; other bundles are read meanwhile
            handle = self._handles.get(bundle)
            if handle is None:
                handle = native.open_bundle(bundle.folder, bundle.paranoid)
                if parse_json(native.manifest(handle), f"bundle {bundle.path.name}") != bundle.manifest:
                    raise bundle.files.replaced()
                with self._lock:
                    self._handles[bundle] = handle
            return handle


_BUNDLES = _Bundles()


class NativeEngine:
    """See `Engine`."""

    #: What the session's choice says beside the device.
    note: str | None = None

    def __init__(self, graph: GraphFile, session: native.Handle) -> None:
        assert graph.inputs is not None and graph.outputs is not None
        self.device, self.inputs, self.outputs = "cpu", graph.inputs, graph.outputs
        self.assets: Mapping[str, Any] = {}
        self._where, self._session = graph.where, session
        self._names = [spec.name for spec in graph.inputs]
        # Shapes -> bound calls that no thread is using. Taking from and giving back to a list is atomic.
        self._idle: dict[tuple[int, ...], list[_Bound]] = {}

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        shapes: tuple[int, ...] = ()
        for name in self._names:
            shapes += feed[name].shape
        idle = self._idle.get(shapes)
        if idle is None:
            return self._run_anew(shapes, feed)
        try:
            bound = idle.pop()
        except IndexError:  # in use by other threads
            bound = self._bound({name: np.empty(feed[name].shape, feed[name].dtype) for name in self._names})
        for name, buffer in bound.inputs:
            buffer[...] = feed[name]
        bound.call()
        answers = {name: buffer.copy() for name, buffer in bound.outputs}
        idle.append(bound)
        return answers

    def _run_anew(self, shapes: tuple[int, ...], feed: Mapping[str, Array]) -> dict[str, Array]:
        """Straight on the caller's arrays; of small ones, buffers are kept for the next call of these shapes."""
        # Not ascontiguousarray, which leaves data unaligned and makes a row of a number without axes.
        bound = self._bound({name: np.require(feed[name], requirements=["C", "A"]) for name in self._names})
        bound.call()
        if bound.bytes <= _MOST_BYTES and len(self._idle) < _MOST_SHAPES:
            self._idle[shapes] = [
                self._bound({name: np.empty(value.shape, value.dtype) for name, value in bound.inputs})
            ]
        return dict(bound.outputs)

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Callable[[], object]:
        binding = native.bind(
            self._session,
            [native.Tensor.of(name, value) for name, value in inputs.items()],
            [native.Tensor.of(name, value) for name, value in outputs.items()],
        )
        call = partial(native.library().attn_binding_run, binding.value)
        call.binding, call.buffers = binding, (inputs, outputs)  # type: ignore[attr-defined]  # live as long as the call
        return call

    def explain(self, error: Exception) -> AttnError:
        return error if isinstance(error, AttnError) else BackendError(f"{self._where}: {error}")

    def close(self) -> None:
        self._idle = {}

    def _bound(self, inputs: Mapping[str, Array]) -> _Bound:
        """A call on these arrays, with new ones for the outputs."""
        sizes = {
            dim.name: size
            for spec in self.inputs
            for dim, size in zip(spec.dims, inputs[spec.name].shape, strict=True)
            if dim.name is not None
        }
        outputs = {spec.name: np.empty(spec.shape(sizes), spec.dtype) for spec in self.outputs}
        return _Bound(self.bind(inputs, outputs), inputs, outputs)


class _Bound:
    __slots__ = ("bytes", "call", "inputs", "outputs")

    def __init__(self, call: Callable[[], object], inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        self.call, self.inputs, self.outputs = call, tuple(inputs.items()), tuple(outputs.items())
        self.bytes = sum(value.nbytes for value in (*inputs.values(), *outputs.values()))
