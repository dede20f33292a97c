"""--calibrate package.module:callable: a function of the user's that gives samples, called again for every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attn_runtime.errors import AttnError, UsageError

from ...quiet import captured_output
from ...source import import_attribute

_END = object()


def function_samples(ref: str) -> Callable[[], Iterator[tuple[str, Any]]]:
    """What begins anew with the samples of "package.module:callable", imported as SOURCE is.

    Taken are a generator function, and what else gives an iterable when it is called without arguments: a function that returns
    a list or a torch DataLoader, ONNX Runtime's CalibrationDataReader. An iterable that is none of its own end (a list, a
    DataLoader) may be named itself. UsageError for anything else, and for what it raises.
    """
    try:
        target = import_attribute(ref)
    except UsageError as problem:
        raise UsageError(f"--calibrate {problem}") from problem
    if not callable(target) and (not hasattr(target, "__iter__") or hasattr(target, "__next__")):
        kind = type(target).__name__
        raise UsageError(
            f"--calibrate {ref}: got a {kind}, expected a function without arguments that gives samples, anew at each call"
        )

    def read() -> Iterator[tuple[str, Any]]:
        samples, number = _guarded(ref, lambda: _iterator(ref, target)), 0
        while (sample := _guarded(f"{ref}, sample {number}", lambda: next(samples, _END))) is not _END:
            yield f"sample {number}", sample
            number += 1

    return read


def _iterator(ref: str, target: Any) -> Iterator[Any]:
    found = target() if callable(target) else target
    if hasattr(found, "__iter__"):
        return iter(found)
    if callable(getattr(found, "get_next", None)):  # a CalibrationDataReader by its shape alone, which None ends
        return iter(found.get_next, None)
    raise UsageError(f"--calibrate {ref}: it returned a {type(found).__name__}, expected an iterable of samples")


def _guarded(what: str, step: Callable[[], Any]) -> Any:
    """What `step` returns; what code that is not ours raises becomes one line, and what it prints is not the command's."""
    try:
        with captured_output():
            return step()
    except AttnError:
        raise
    except (Exception, SystemExit) as problem:
        said = (str(problem).strip().splitlines() or [""])[0][:300]
        raise UsageError(f"--calibrate {what}: failed: {type(problem).__name__}: {said}") from problem
