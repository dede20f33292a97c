"""What this machine can run, what it can't and why, and the lines that would change that. Imports no engine itself."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from . import __version__, backends
from .choose import candidates
from .cuda import find_gpus
from .ort_providers import CUDA, ProviderState

_PACKAGES = ("numpy", "safetensors", "click", "onnxruntime", "onnxruntime-gpu", "pillow", "matplotlib")


@dataclass(frozen=True)
class BackendState:
    """`problems` is device -> why the backend can't use it here, or None where it can."""

    name: str
    about: str
    automatic: bool
    problems: Mapping[str, str | None]


@dataclass(frozen=True)
class Diagnosis:
    """`auto` is what device="auto" takes, None when nothing here can run a graph; `advice` is lines to act on."""

    attn_runtime: str
    python: str
    os: str
    cpu: str
    cores: int
    usable_cores: int
    gpus: tuple[str, ...]
    gpu_problem: str | None
    packages: Mapping[str, str | None]
    backends: tuple[BackendState, ...]
    providers: tuple[ProviderState, ...]
    auto: str | None
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "providers": [provider.to_json() for provider in self.providers]}


def diagnose() -> Diagnosis:
    """Look at this machine. Raises nothing: what can't be used is the answer."""
    gpus = find_gpus()
    packages = {name: _version(name) for name in _PACKAGES}
    states = []
    for name in backends.names():
        backend = backends.get(name)
        unavailable = backend.why_unavailable()
        problems = {device: unavailable or backend.why_not(device) for device in ("cpu", "cuda")}
        states.append(BackendState(name, backend.ABOUT, backend.AUTOMATIC, problems))
    providers = _providers()
    usable = (f"{name} on {device}" for name, device, _, problem in candidates("auto", None) if problem is None)
    auto = next(usable, None)
    cores = os.cpu_count() or 1
    return Diagnosis(
        __version__,
        f"{platform.python_version()} ({sys.executable})",
        f"{platform.platform()} ({platform.machine()})",
        _cpu_name(),
        cores,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores,
        gpus.names,
        gpus.problem,
        packages,
        tuple(states),
        providers,
        auto,
        tuple(_advice(packages, providers, bool(gpus.names))),
    )


def _providers() -> tuple[ProviderState, ...]:
    from .backends import ort

    return () if ort.why_unavailable() else tuple(ort.providers())


def _advice(packages: Mapping[str, str | None], providers: tuple[ProviderState, ...], gpu: bool) -> list[str]:
    lines = []
    jetson = Path("/etc/nv_tegra_release").exists()
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        keep = "gpu" if gpu else "cpu"
        lines.append(
            "onnxruntime and onnxruntime-gpu overwrite each other: pip uninstall -y onnxruntime onnxruntime-gpu && "
            f"pip install 'attn-runtime[{keep}]'"
        )
    elif not util.find_spec("onnxruntime"):
        if jetson:
            lines.append("to run graphs: pip install NVIDIA's onnxruntime-gpu wheel for this JetPack")
        else:
            lines.append(f"to run graphs: pip install 'attn-runtime[{'gpu' if gpu else 'cpu'}]'")
    elif gpu:
        lines += [f"to use the GPU: {state.problem}" for state in providers if state.name == CUDA and state.problem]
    if not util.find_spec("PIL"):
        lines.append("to run on image files: pip install 'attn-runtime[image]'")
    if not util.find_spec("matplotlib"):
        lines.append("for bench --plot: pip install 'attn-runtime[plot]'")
    return lines


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    """The diagnosis for a person."""
    yield f"attn-runtime  {found.attn_runtime}"
    yield f"python        {found.python}"
    yield f"system        {found.os}"
    yield f"cpu           {found.cpu}; {found.usable_cores} of {found.cores} cores usable"
    gpus = "; ".join(f"{number}: {name}" for number, name in enumerate(found.gpus))
    yield f"gpu           {gpus or f'none ({found.gpu_problem})'}"
    yield "packages      " + ", ".join(f"{name} {version or '-'}" for name, version in found.packages.items())
    yield ""
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
