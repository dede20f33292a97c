"""Which of the two libraries builds and which runs here, and why not the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..device import compute_capability, find_gpus
from ..errors import BackendError, UsageError, did_you_mean
from . import library
from .library import Library


def choose(name: str, wanted: Sequence[str] = ()) -> Library:
    """The flavour `name`, or for "auto" `tensorrt` where it loads and has a GPU to build on, else `rtx`.

    `wanted` are compute capabilities to build for, which `rtx` alone can do. Raises UsageError for an unknown name or
    capability, BackendError with the install lines when the library can't build here.
    """
    names = ["auto", *library.names()]
    if name not in names:
        raise UsageError(
            f'unknown flavour of TensorRT "{name}"; {did_you_mean(name, names)}available: {", ".join(names)}'
        )
    if name != "auto":
        if wanted and name != "rtx":
            raise UsageError(
                f"--compute-capability: {name} builds for the GPU that is here; only rtx builds for others"
            )
        problem = why_not(name)
        if problem:
            raise BackendError(f"{name} can't build here: {problem}")
        return _checked(library.load(name), wanted)
    problems = {}
    for candidate in ("rtx",) if wanted else ("tensorrt", "rtx"):
        problem = why_not(candidate)
        if problem is None:
            return _checked(library.load(candidate), wanted)
        problems[candidate] = problem
    told = "; ".join(f"{candidate}: {problem}" for candidate, problem in problems.items())
    raise BackendError(f"no TensorRT can build here: {told}")


def why_not(name: str) -> str | None:
    """None when the flavour can build on this machine, else the reason and what would help."""
    problem = library.why_unavailable(name)
    if problem is None and name == "tensorrt" and (missing := find_gpus().problem):
        return f"it builds on a GPU, and {missing}"
    return problem


def capabilities(library: Library) -> dict[str, Any]:
    """The GPUs that this `rtx` builds for, "8.9" -> enum value, oldest first."""
    known = getattr(library.api, "ComputeCapability", None)
    members = getattr(known, "__members__", {})
    found = {f"{name[2:-1]}.{name[-1]}": value for name, value in members.items() if name.startswith("SM")}
    return dict(sorted(found.items(), key=lambda item: float(item[0])))


def portable_set(library: Library) -> tuple[str, ...]:
    """What an `rtx` engine runs on when no GPU is named: "8.0 and later", of those that it knows."""
    return tuple(text for text in capabilities(library) if float(text) >= 8.0)


def why_no_run(name: str, number: int = 0) -> str | None:
    """None when engines of the flavour run on GPU `number`, else the reason. Ask the driver first: this loads the library."""
    problem = library.why_unavailable(name)
    if problem is not None:
        return problem
    loaded = library.load(name)
    known, here = capabilities(loaded), compute_capability(number)
    if not known or here is None or here in known:
        return None
    return (
        f"TensorRT-RTX {loaded.version} runs on compute capability {', '.join(known)}, this GPU has {here}; "
        f"take the flavour tensorrt"
    )


def gpus_to_build_for(library: Library, requested: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """The compute capabilities to name to `rtx`: those `requested`; else none, which makes a portable engine, unless that
    would leave out the GPU that is here. Where nothing builds for that GPU, a note is added."""
    here = compute_capability() if library.name == "rtx" else None
    if requested or here is None or here in portable_set(library):
        return tuple(dict.fromkeys(requested))
    if here in capabilities(library):
        return (here,)
    notes.append(
        f"the engine is for other machines: {library.name} {library.version} builds for {', '.join(capabilities(library))}, "
        f"and the GPU here has {here}; for this one take --backend tensorrt"
    )
    return ()


def _checked(library: Library, requested: Sequence[str]) -> Library:
    known = capabilities(library)
    for text in requested:
        if text not in known:
            raise UsageError(
                f"--compute-capability {text}: {library.name} {library.version} builds for {', '.join(known)} only"
            )
    return library
