"""What a patch is, and what patches share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

#: What a patch did since it was entered, in one sentence without its name, or None when it changed nothing.
Effect = Callable[[], str | None]


@dataclass(frozen=True)
class Patch:
    """`enter(module)` makes the change, yields its Effect and undoes the change on leaving.

    routine: applied to nearly every model and without any effect on its numbers, so that it belongs in the manifest
    and in verbose output and would be noise elsewhere.
    """

    name: str
    enter: Callable[[torch.nn.Module], AbstractContextManager[Effect]]
    routine: bool = False


@dataclass(frozen=True)
class Applied:
    """A patch that changed something, and what: one readable sentence."""

    name: str
    did: str
    routine: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.did}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "did": self.did}


class Tally:
    """Counts what a replaced function did.

    Code inside torch.cond is traced by dynamo, which refuses side effects: `note` runs as a constant of the trace.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

        def note(key: str) -> bool:
            self.counts[key] = self.counts.get(key, 0) + 1
            return True

        self.note: Callable[[str], bool] = torch.compiler.assume_constant_result(note)

    def __bool__(self) -> bool:
        return bool(self.counts)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def counted(number: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def traced_inputs(program: torch.export.ExportedProgram) -> list[Any]:
    """What a program was traced with, in order of the user's inputs: fake tensors that know the symbols of their sizes."""
    placeholders = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    return [placeholders.get(str(name)) for name in program.graph_signature.user_inputs]
