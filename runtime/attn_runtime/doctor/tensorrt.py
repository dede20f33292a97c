"""What of TensorRT is here: each flavour with its version, whether it builds engines on this machine and runs them."""

from __future__ import annotations

from dataclasses import dataclass

from ..device import cuda_device, gpus
from ..trt import library as flavour
from ..trt import library_choice


@dataclass(frozen=True)
class FlavourState:
    """`problem` is None when the library loads, and then `version` is set; `why_no_build` and `why_no_run` are None where
    it builds and runs engines here, else the reason."""

    flavour: str
    version: str | None
    problem: str | None
    why_no_build: str | None
    why_no_run: str | None


def flavour_states() -> tuple[FlavourState, ...]:
    """Every flavour that there is. Loads those that are installed; raises nothing."""
    return tuple(map(_state, flavour.names()))


def _state(name: str) -> FlavourState:
    if problem := flavour.why_unavailable(name):
        return FlavourState(name, None, problem, problem, problem)
    loaded = flavour.load(name)
    no_gpu = gpus.find_gpus().problem
    # TensorRT times its kernels on the GPU that it builds for; RTX leaves that to the machine that runs the engine.
    no_build = no_gpu if name == "tensorrt" else None
    no_run = no_gpu or cuda_device.why_unavailable() or library_choice.why_no_run(name)
    return FlavourState(name, loaded.version, None, no_build, no_run)
