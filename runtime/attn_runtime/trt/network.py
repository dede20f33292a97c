"""Parse an ONNX file and build an engine from it, in this process. `compile.py` is what callers want.

The library answers None or False where it fails, and tells why in its log: every answer is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .flavour import Flavour
from .layers import Layer, layers_in, scratch_bytes

Shape = tuple[int, ...]
#: input name -> (min, opt, max) shape; one mapping is one optimization profile
Profile = Mapping[str, tuple[Shape, Shape, Shape]]


@dataclass(frozen=True)
class BuildOptions:
    """`workspace` in bytes, None for the library's own limit; `level` 0..5, None for its default; `decomposable` lets
    an ONNX Attention that has no fused kernel be taken apart instead of failing the build."""

    workspace: int | None = None
    level: int | None = None
    timing_cache: bytes | None = None
    decomposable: bool = False


@dataclass(frozen=True)
class ParserProblem:
    """One error of the ONNX parser. `node` and `operator` may be empty."""

    node: str
    operator: str
    text: str


@dataclass(frozen=True)
class Built:
    """What a build gave. `plan` is None when it failed; then `problems` and `errors` say why."""

    plan: bytes | None
    layers: tuple[Layer, ...] = ()
    scratch: int | None = None
    problems: tuple[ParserProblem, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    timing_cache: bytes | None = None


@dataclass
class Progress:
    """Where a build is: nested phases, outermost first, as (name, steps done, steps in all)."""

    phases: list[tuple[str, int, int]] = field(default_factory=list)


def build(
    flavour: Flavour,
    path: Path,
    profiles: Sequence[Profile],
    options: BuildOptions = BuildOptions(),
    on_progress: Callable[[Progress], bool] | None = None,
) -> Built:
    """Build a strongly typed engine from the ONNX file at `path`: every tensor has the dtype that the graph gives it.

    `on_progress` is called at every step; returning False cancels the build. Needs no GPU with `rtx`.
    """
    trt = flavour.api
    log = _logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)) if builder else None
    if network is None:
        return Built(None, errors=(*log.errors, "the library made no builder or network"))
    parser = trt.OnnxParser(network, log)
    # By path, not by bytes: external data is found beside the file.
    if not parser.parse_from_file(str(path)):
        found = [parser.get_error(i) for i in range(parser.num_errors)]
        return Built(None, problems=tuple(map(_problem, found)), errors=tuple(log.errors))
    if options.decomposable:
        _decompose(trt, network)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.level is not None:
        config.builder_optimization_level = options.level
    cache = None
    if options.timing_cache is not None and flavour.name != "rtx":  # RTX has none: its kernels are tuned on the device
        cache = config.create_timing_cache(options.timing_cache)
        config.set_timing_cache(cache, ignore_mismatch=False)
    if on_progress is not None and hasattr(trt, "IProgressMonitor"):
        monitor = _monitor(trt, on_progress)  # kept in a name: the library holds no reference to it
        config.progress_monitor = monitor
    for wanted in profiles:
        profile = builder.create_optimization_profile()
        for name, (low, opt, high) in wanted.items():
            profile.set_shape(name, low, opt, high)
        if config.add_optimization_profile(profile) < 0:
            return Built(None, errors=(*log.errors, f"the library refuses the profile {dict(wanted)}"))
    plan = builder.build_serialized_network(network, config)
    kept = config.get_timing_cache() if cache is not None else None
    return Built(
        bytes(memoryview(plan)) if plan is not None else None,
        layers_in(log.messages),
        scratch_bytes(log.messages),
        (),
        tuple(log.errors),
        tuple(log.warnings),
        bytes(memoryview(kept.serialize())) if kept is not None else None,
    )


def _decompose(trt: Any, network: Any) -> None:
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if layer.type == getattr(trt.LayerType, "ATTENTION_INPUT", None):
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True


def _problem(error: Any) -> ParserProblem:
    text = error.desc() if callable(error.desc) else error.desc
    node = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    return ParserProblem(str(node), str(operator), " ".join(str(text).split()))


def _logger(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps what the library says; the base class exists only once the library is imported."""

        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.messages.append(message)
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(" ".join(message.split()))

    return Log()


def _monitor(trt: Any, tell: Callable[[Progress], bool]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.progress = Progress()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.progress.phases.append((phase, 0, steps))

        def step_complete(self, phase: str, step: int) -> bool:
            phases = self.progress.phases
            for number, (name, _, steps) in enumerate(phases):
                if name == phase:
                    phases[number] = (name, step + 1, steps)
            return tell(self.progress)

        def phase_finish(self, phase: str) -> None:
            self.progress.phases[:] = [p for p in self.progress.phases if p[0] != phase]

    return Monitor()
