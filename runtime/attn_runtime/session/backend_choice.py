"""Which backend runs a graph on which device, and why the others were passed over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

from .. import backends
from ..device import find_gpus
from ..errors import BackendError, BundleError, UsageError, did_you_mean
from ..interface import Backend, Engine, GraphFile, OpenOptions
from ..lazy import dataclass
from ..logs import Log
from ..ort import usable_cores
from .measured import fastest_measured

_log = Log(__name__)

_DEVICES = ("auto", "cpu", "cuda")
#: What "auto" tries, best first.
_AUTO = ("cuda", "cpu")


@dataclass(frozen=True)
class Choice:
    """What runs a graph.

    text         the backend, the device and the precision, what else is to be known of the answers, and whether there is a
                 GPU that "auto" had to leave unused; one line
    passed_over  why none of the others, a sentence each; none where there is no other
    unused_gpu   the name of that GPU; None where there is none, or where the CPU was asked for
    """

    backend: str
    engine: Engine
    text: str
    passed_over: tuple[str, ...] = ()
    unused_gpu: str | None = None


def check_device(device: str) -> None:
    """UsageError unless `device` is auto, cpu, cuda or cuda:N."""
    if device in _DEVICES or re.fullmatch(r"cuda:\d{1,3}", device):
        return
    near = "did you mean cuda? " if device.startswith(("gpu", "nvidia")) else did_you_mean(device, _DEVICES)
    raise UsageError(f'unknown device "{device}"; {near}available: auto, cpu, cuda, cuda:N')


def candidates(
    device: str, backend: str | None, fastest: str | None = None
) -> Iterator[tuple[str, str, Backend, str | None]]:
    """(backend, device, module, reason against it or None), best first, for what was asked.

    `fastest` comes first on the CPU where no backend was asked for, whether or not it is one that has to be named.
    Raises UsageError for an unknown name of either.
    """
    check_device(device)
    modules = {name: backends.get(name) for name in ([backend] if backend else backends.names())}
    modules = {name: module for name, module in modules.items() if backend or module.AUTOMATIC or name == fastest}
    modules = dict(sorted(modules.items(), key=lambda item: getattr(item[1], "RANK", 0)))
    # Each when its turn comes: to ask one may load its library.
    unavailable = cache(lambda name: modules[name].why_unavailable())
    for target in _AUTO if device == "auto" else (device,):
        names = sorted(modules, key=lambda name: name != fastest) if target == "cpu" else list(modules)
        for name in names:
            if target == "cpu" or backend or modules[name].AUTOMATIC:
                yield name, target, modules[name], unavailable(name) or modules[name].why_not(target)


def open_engine(
    graph: GraphFile, device: str, backend: str | None, options: OpenOptions, adapt: bool = False
) -> Choice:
    """The first candidate that opens the graph; with `adapt`, on the CPU, with as many threads as there are free cores.

    A device that was named is taken or refused with BackendError; with "auto", a GPU that can't be used is passed
    over, and the choice says so. An engine may have a `note`, what else is to be known of its answers.
    """
    passed_over: list[tuple[str, str, str]] = []
    check_device(device)
    fastest = fastest_measured(graph, options) if backend is None and device in ("auto", "cpu") else None
    for name, target, module, reason in candidates(device, backend, fastest):
        if reason is None:
            try:
                engine = module.open(graph, target, options)
                if adapt and target == "cpu":
                    engine = _as_free(engine, module, graph, options)
            except BackendError as error:
                reason = str(error)
            else:
                _log.info("%s: %s on %s", graph.where, name, engine.device)
                gpus = find_gpus().names if device == "auto" and target == "cpu" else ()
                unused = gpus[0] if gpus else None
                told = tuple(_reasons(passed_over, first=True) + _by_name_only(backend, name))
                measured = name == fastest and target == "cpu"
                return Choice(name, engine, _text(name, engine, graph.precision, measured, unused), told, unused)
        _log.info("%s: not %s on %s: %s", graph.where, name, target, reason)
        passed_over.append((name, target, reason))
    asked = f"backend {backend} can't" if backend else "no backend can"
    raise BackendError(
        f"{asked} run {graph.where} on {device}: {'; '.join(_reasons(passed_over))}. See attn-run doctor."
    )


def _as_free(engine: Engine, module: Backend, graph: GraphFile, options: OpenOptions) -> Engine:
    """The engine, and others of fewer threads when they are needed, as one; as it is where the process may keep one core busy."""
    from .free_cores import free_cores
    from .thread_choice import ThreadChoice, Way

    if (cores := usable_cores().usable) == 1:
        return engine
    again = _same_files(graph)

    def opened(way: Way) -> Engine:
        # With a number, ONNX Runtime pins no thread to a core, which would wait there for whoever has it.
        wanted = replace(options, threads=way.threads, share_cores=way.sleeping)
        return again(lambda: module.open(graph, engine.device, wanted))

    return ThreadChoice(engine, cores, getattr(module, "SHARES_CORES", False), opened, free_cores())


def _same_files(graph: GraphFile) -> Callable[[Callable[[], Engine]], Engine]:
    """Opens a graph again, from what was there when this was called. BundleError where it is another one by then."""
    if graph.bundle is not None:
        return partial(graph.bundle.files.read, graph.files())
    from ..bundle import mark_of

    def marks() -> list[object]:
        return [mark_of(file.stat()) if file.exists() else None for file in files]

    files = graph.files()
    known = marks()

    def unchanged(open_it: Callable[[], Engine]) -> Engine:
        made = open_it() if marks() == known else None
        if made is None or marks() != known:
            raise BundleError(f"{graph.where}: was replaced since it was opened; open it again")
        return made

    return unchanged


def _text(name: str, engine: Engine, precision: str | None, measured: bool, unused_gpu: str | None) -> str:
    note = getattr(engine, "note", None)
    return (
        f"{name} on {engine.device}"
        + (f", {precision}" if precision else "")
        + (f" ({note})" if note else "")
        + (", measured to be the fastest here" if measured else "")
        + (", though there is a GPU, which could not be used" if unused_gpu else "")
    )


def _reasons(passed_over: Sequence[tuple[str, str, str]], first: bool = False) -> list[str]:
    """Each reason once, with all the backends it holds for; with `first`, only the first reason of each backend."""
    together: dict[tuple[str, str], list[str]] = {}
    told: set[str] = set()
    for name, target, reason in passed_over:
        if first and name in told:
            continue
        told.add(name)
        together.setdefault((target, reason), []).append(name)
    return [f"{', '.join(names)} on {target} ({reason})" for (target, reason), names in together.items()]


def _by_name_only(backend: str | None, taken: str) -> list[str]:
    others = [] if backend else [n for n in backends.names() if n != taken and not backends.get(n).AUTOMATIC]
    return [f"{', '.join(others)} (only when asked for by name)"] if others else []
