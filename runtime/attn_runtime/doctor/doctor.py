"""What this machine can run, what it can't and why, and the lines that would change that. Imports no engine itself."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from .. import __version__, backends
from ..device import Jetpack, compute_capability, driver_version, find_gpus, read_jetpack
from ..ort import ProviderState, cpu_name, usable_cores
from ..session import candidates
from .install_hints import Found, install_lines
from .tensorrt import FlavourState, flavour_states

_PACKAGES = (
    "numpy", "safetensors", "click", "onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-nv-tensorrt-rtx-cu13",
    "openvino", "tensorrt", "tensorrt-rtx-cu13", "cuda-python", "pillow", "matplotlib",
)  # fmt: skip


@dataclass(frozen=True)
class GpuState:
    """`compute_capability` as in "8.9"; None where the driver does not tell."""

    name: str
    compute_capability: str | None


@dataclass(frozen=True)
class BackendState:
    """`problems` is device -> why the backend can't use it here, or None where it can."""

    name: str
    about: str
    automatic: bool
    problems: Mapping[str, str | None]


@dataclass(frozen=True)
class Diagnosis:
    """`driver` is the newest CUDA that the NVIDIA driver runs, None without one; `auto` is what device="auto" takes, None
    when nothing here can run a graph; `advice` is lines to act on. `usable_cores` is what a session takes threads for, and
    `cores_limit` what makes it fewer than `cores`, None where nothing does."""

    attn_runtime: str
    python: str
    os: str
    cpu: str
    cores: int
    usable_cores: int
    cores_limit: str | None
    driver: str | None
    gpus: tuple[GpuState, ...]
    gpu_problem: str | None
    jetpack: Jetpack | None
    packages: Mapping[str, str | None]
    tensorrt: tuple[FlavourState, ...]
    backends: tuple[BackendState, ...]
    providers: tuple[ProviderState, ...]
    auto: str | None
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "providers": [provider.to_json() for provider in self.providers]}


def diagnose(also: Sequence[str] = ()) -> Diagnosis:
    """Look at this machine; `also` names more distributions to tell the versions of.

    Raises nothing: what can't be used is the answer.
    """
    found = find_gpus()
    gpus = tuple(GpuState(name, compute_capability(number)) for number, name in enumerate(found.names))
    packages = {name: _version(name) for name in (*_PACKAGES, *also)}
    states = []
    for name in backends.names():
        backend = backends.get(name)
        unavailable = backend.why_unavailable()
        problems = {device: unavailable or backend.why_not(device) for device in ("cpu", "cuda")}
        states.append(BackendState(name, backend.ABOUT, backend.AUTOMATIC, problems))
    cores = usable_cores()
    jetpack, tensorrt = read_jetpack(), flavour_states()
    return Diagnosis(
        __version__,
        f"{platform.python_version()} ({sys.executable})",
        f"{platform.platform()} ({platform.machine()})",
        cpu_name(),
        cores.present,
        cores.usable,
        cores.limit,
        driver_version(),
        gpus,
        found.problem,
        jetpack,
        packages,
        tensorrt,
        tuple(states),
        _providers(),
        _auto(),
        tuple(
            install_lines(
                Found(
                    platform.machine(),
                    (sys.version_info.major, sys.version_info.minor),
                    tuple(gpu.compute_capability or "unknown" for gpu in gpus),
                    driver_version(),
                    jetpack,
                    packages,
                    _usable(states, tensorrt),
                )
            )
        ),
    )


def _usable(states: Sequence[BackendState], tensorrt: Sequence[FlavourState]) -> frozenset[str]:
    ort = next(state for state in states if state.name == "ort")
    devices = {device for device, problem in ort.problems.items() if problem is None}
    return frozenset(devices | {state.flavour for state in tensorrt if state.problem is None})


def _auto() -> str | None:
    """The backends that device="auto" tries, best first; one that runs compiled engines needs one that fits the graph."""
    usable = [f"{name} on {device}" for name, device, _, problem in candidates("auto", None) if problem is None]
    if not usable:
        return None
    first, *others = usable
    return f"{first} where an engine fits, else {others[0]}" if first.startswith("trt ") and others else first


def _providers() -> tuple[ProviderState, ...]:
    from ..backends import ort

    return () if ort.why_unavailable() else tuple(ort.providers())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    """The diagnosis for a person."""
    yield f"attn-runtime  {found.attn_runtime}"
    yield f"python        {found.python}"
    yield f"system        {found.os}"
    if found.jetpack is not None:
        yield f"jetson        {_jetson(found.jetpack)}"
    limit = f"({found.cores_limit})" if found.cores_limit else "usable"
    yield f"cpu           {found.cpu}; {found.usable_cores} of {found.cores} cores {limit}"
    yield f"driver        {f'for CUDA {found.driver}' if found.driver else f'none ({found.gpu_problem})'}"
    gpus = "; ".join(
        f"{number}: {gpu.name}, compute capability {gpu.compute_capability or 'unknown'}"
        for number, gpu in enumerate(found.gpus)
    )
    yield f"gpu           {gpus or f'none ({found.gpu_problem})'}"
    yield "packages      " + ", ".join(f"{name} {version or '-'}" for name, version in found.packages.items())
    yield ""
    for flavour in found.tensorrt:
        yield f"TensorRT flavour {flavour.flavour}: {flavour.version or f'no: {flavour.problem}'}"
        if flavour.problem is None:
            yield f"  builds engines here  {'yes' if flavour.why_no_build is None else f'no: {flavour.why_no_build}'}"
            yield f"  runs engines here    {'yes' if flavour.why_no_run is None else f'no: {flavour.why_no_run}'}"
    for state in found.backends:
        by_name = "" if state.automatic else " (only when asked for by name)"
        yield f"backend {state.name}: {state.about}{by_name}"
        for device, problem in state.problems.items():
            yield f"  {device:5} {'usable' if problem is None else f'no: {problem}'}"
    for provider in found.providers:
        listed = "listed" if provider.listed else "not listed"
        yield f"provider {provider.name}: {listed}, {f'no: {provider.problem}' if provider.problem else 'loads'}"
    yield ""
    yield f"device auto takes: {found.auto or 'nothing; no backend can run a graph here'}"
    yield from found.advice


def _jetson(jetpack: Jetpack) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in jetpack.packages.items())
    return (
        f"{jetpack.board or 'unknown board'}; JetPack {jetpack.version or 'unknown'}, L4T {jetpack.l4t or 'unknown'}; "
        f"{packages or 'no packages of JetPack'}"
    )
