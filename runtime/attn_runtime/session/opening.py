"""Open a bundle, a plain ONNX file or a compiled engine on a backend: what is given is checked here, once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .. import arguments
from ..arguments import Kind
from ..bundle import MANIFEST, Arrays, Bundle, Case, Graph, Precision, with_bundle
from ..errors import BundleError, UsageError
from ..files import is_file
from ..interface import GraphFile, OpenOptions
from .backend_choice import Choice, open_engine
from .session import Session

_MOST_THREADS = 1024  # ONNX Runtime would start them all


def open_session(
    path: str | os.PathLike[str] | Bundle,
    device: str = "auto",
    backend: str | None = None,
    *,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cuda_graph: bool = False,
    cache: str | os.PathLike[str] | None = None,
    workspace: int | None = None,
    low_memory: bool = False,
    stop_spinning: bool = False,
    paranoid: bool = False,
    stats: bool = False,
) -> Session:
    """Open the bundle, plain ONNX file or compiled engine (NAME.engine, with its key) at `path`, or a bundle already open.

    device      "cpu", "cuda" or "cuda:1"; "auto" takes a GPU that really works, else the CPU. Named is meant: "cuda"
                never runs on the CPU.
    backend     a name from `attn_runtime.backends.names()`; None takes the best for the device. `Session.choice` tells.
    graph       which graph of a bundle; may be left out when there is one
    precision   which of its precisions; None takes fp32, or the first where there is no fp32
    threads     how many threads one node may use on the CPU; None takes the cores that are online and allowed, as far as the
                CPU quota of the control group goes. "auto" takes fewer while other processes want cores (on Linux; looked at
                four times a second): threads that wait for one whose core is taken lose more than half. Engines of fewer
                threads are opened beside the calls, once they are needed, each with its weights but with `low_memory`
    cuda_graph  on a GPU, replay a shape's calls as one CUDA graph; the CPU ignores it
    cache       folder for what an engine library makes of the graph on this machine (kernels, TensorRT engines inside ONNX
                Runtime; on the CPU a bundle's graph as ONNX Runtime optimised it, with its weights twice, which opens in half the
                time or less); None keeps it in memory
    workspace   bytes of scratch memory for a TensorRT build inside ONNX Runtime
    low_memory  on the CPU, read weights where they lie in the bundle's files, mapped into memory once for all sessions, instead
                of keeping a copy in an order that is faster to multiply with: as fast for one row, slower for a few
    stop_spinning  on the CPU, let the session's threads sleep as soon as a call is over. Otherwise they wait busily for the
                next one for some 40 ms, which makes that one faster, and others on the same cores slower: another session's
                call, or the application. Generators, whose graphs take turns, set it
    paranoid    read every file of a bundle for its hash, and believe nothing that is remembered of it (`Bundle.open`)
    stats       count calls, rows and times, for `Session.stats`; it costs a call 0.5 to 0.8 us

    A session belongs to one export: a bundle that is replaced while it is being opened is opened again, and one that was
    open before then must be what it was.

    Raises BundleError for a missing, damaged, hostile or replaced file, BackendError when nothing here can run it on that device,
    UsageError for an unknown name.
    """
    check_open(path, device, backend, graph, precision, threads, cache, workspace)
    arguments.expect(
        arguments.FLAG,
        cuda_graph=cuda_graph, low_memory=low_memory, stop_spinning=stop_spinning, paranoid=paranoid, stats=stats,
    )  # fmt: skip
    adapt = threads == "auto"
    count = None if threads is None or isinstance(threads, str) else threads
    if count is not None and not 1 <= count <= _MOST_THREADS:
        raise UsageError(f"threads: got {arguments.shown(threads)}, expected 1..{_MOST_THREADS}")
    if workspace is not None and workspace < 1:
        raise UsageError(f"workspace: got {arguments.shown(workspace)} bytes, expected 1 or more")
    kept = Path(cache).absolute() if cache is not None else None
    options = OpenOptions(count, cuda_graph, kept, workspace, low_memory, stop_spinning)
    if not isinstance(path, Bundle) and is_file(path):
        file = _plain(Path(path), graph, precision)
        by = backend or ("trt" if file.file.suffix == ".engine" else None)  # nothing else can read one
        return _session(open_engine(file, device, by, options, adapt), file.where, stats)

    def of_bundle(bundle: Bundle) -> Session:
        chosen, file = _of_bundle(bundle, graph, precision)
        made = bundle.files.read(file.files(), lambda: open_engine(file, device, backend, options, adapt))
        return _session(made, file.where, stats, bundle, chosen)

    return with_bundle(path, of_bundle, paranoid=paranoid)


def _session(
    made: Choice, where: str, stats: bool, bundle: Bundle | None = None, precision: str | None = None
) -> Session:
    kind = Session
    if stats:
        from .counted import CountedSession as kind  # who counts nothing does not load it
    return kind(
        made.backend, made.engine, made.text, where, bundle, precision,
        passed_over=made.passed_over, unused_gpu=made.unused_gpu,
    )  # fmt: skip


def check_open(
    path: object,
    device: object,
    backend: object,
    graph: object = None,
    precision: object = None,
    threads: object = None,
    cache: object = None,
    workspace: object = None,
) -> None:
    """UsageError for a parameter that all calls which open a session share, and that is of a wrong kind."""
    arguments.expect(arguments.PATH | Kind("an open Bundle", lambda value: isinstance(value, Bundle)), path=path)
    arguments.expect(arguments.TEXT, device=device)
    arguments.expect(arguments.TEXT | arguments.NONE, backend=backend, graph=graph, precision=precision)
    arguments.expect(arguments.THREADS, threads=threads)
    arguments.expect(arguments.WHOLE | arguments.NONE, workspace=workspace)
    arguments.expect(arguments.PATH | arguments.NONE, cache=cache)


def _of_bundle(bundle: Bundle, graph: str | None, precision: str | None) -> tuple[str, GraphFile]:
    found = bundle.graph(graph)
    where = bundle.label(found)
    chosen = found.chosen(precision, where)
    entry = found.precisions[chosen]
    inputs, outputs = found.borders(chosen)
    cases = partial(_cases, found, entry)
    return chosen, GraphFile(entry.file, where, inputs, outputs, cases, bundle, found.name, chosen)


def _cases(graph: Graph, entry: Precision) -> Iterator[Case[Arrays]]:
    """The golden cases as the file of a precision takes them."""
    cases = graph.cases(entry.held_to)
    return (case.to_fp16() for case in cases) if entry.half_io else cases


def _plain(path: Path, graph: str | None, precision: str | None) -> GraphFile:
    if path.name == MANIFEST:
        raise BundleError(f"{path}: a bundle is opened by its folder; take {path.parent}")
    if graph or precision:
        raise UsageError(f"{path.name} is one graph in one file: it has no graph or precision to choose from")
    return GraphFile(path.absolute(), f"file {path.name}")
