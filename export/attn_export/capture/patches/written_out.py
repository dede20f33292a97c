"""written-out: operators that the exporter translates wrongly at some sizes or values are replaced by others.

The captured program is changed, between torch.export and torch.onnx: so functions, modules, tensor methods and the
operators of an exported program are all reached. Which operators, and when: capture/operators/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..equivalents import DataReads, decompositions, python_sizes
from ..operators import write_out
from ._patch import Effect, Patch, counted, traced_inputs
from ._replace import replaced


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    written: Counter[str] = Counter()

    def note(call: str) -> None:
        written[call] += 1

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def export(*args: Any, **kwargs: Any) -> torch.export.ExportedProgram:
            with DataReads(note):
                traced = original(*args, **kwargs)
            inputs = traced_inputs(traced)
            program, calls = write_out(traced)
            written.update(calls)
            # One that is traced again has lost its guards.
            setattr(program, "traced_inputs", inputs)  # noqa: B010  no attribute of the class
            return program

        return export

    with replaced(torch.export, "export", wrap), decompositions(), python_sizes(module, note):
        yield lambda: _sentence(written)


def _sentence(written: Counter[str]) -> str | None:
    parts = [counted(number, name) for name, number in sorted(written.items())]
    return f"wrote out {', '.join(parts)} that the exporter or TensorRT would get wrong" if parts else None


PATCH = Patch("written-out", _enter)
