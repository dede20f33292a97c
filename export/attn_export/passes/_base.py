"""What a pass is: a named change to a graph, with a contract that is checked around it.

A pass file `passes/NAME.py` holds `PASS`, an object with the members of `Pass`; it is then usable as --pass NAME.
Joining the default order is a deliberate line in pipeline.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import PassError, UsageError
from attn_runtime.suggest import did_you_mean

from .. import passes
from ..onnx_graph.onnx_file import GraphInfo, read_info


@dataclass(frozen=True)
class PassResult:
    """What a pass gave. `path` is the graph to go on with: the source itself when nothing better came of it."""

    path: Path
    note: str = ""


class Pass(Protocol):
    name: str
    summary: str

    def requires(self, before: GraphInfo) -> str:
        """Why this pass can't work on such a graph; empty when it can."""

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        """Read `source`, write `target` beside it (they may share one data file); never change `source`."""

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        """What the pass broke of its promise; empty when it kept it. Numbers are the judge's matter."""


@dataclass(frozen=True)
class Applied:
    """A pass that ran: facts of the graph before and after it."""

    name: str
    before: GraphInfo
    after: GraphInfo
    outcome: PassResult


def names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(passes.__path__) if not m.name.startswith("_"))


def get(name: str) -> Pass:
    if name not in names():
        raise UsageError(f'unknown pass "{name}"; {did_you_mean(name, names())}available: {", ".join(names())}')
    found: Pass = importlib.import_module(f"{passes.__name__}.{name}").PASS
    return found


def run_pass(chosen: Pass, source: Path, target: Path, isolated: ChildProcess) -> Applied:
    """Run one pass between its conditions. PassError names the pass and the condition that did not hold."""
    before = read_info(source)
    if reason := chosen.requires(before):
        raise PassError(f'pass "{chosen.name}" can\'t run: {reason}. Leave it out with --skip-pass {chosen.name}.')
    outcome = chosen.run(source, target, isolated)
    after = read_info(outcome.path)
    if broken := (same_border(before, after) or chosen.ensures(before, after)):
        raise PassError(
            f'pass "{chosen.name}" broke its contract: {broken}. Leave it out with --skip-pass {chosen.name}.'
        )
    return Applied(chosen.name, before, after, outcome)


def same_border(before: GraphInfo, after: GraphInfo) -> str:
    """No pass may change what callers see: names, order, dtypes and axes of inputs and outputs."""
    for kind in ("inputs", "outputs"):
        old, new = getattr(before, kind), getattr(after, kind)
        if [b.name for b in old] != [b.name for b in new]:
            return f"{kind} were {', '.join(b.name for b in old)} and are {', '.join(b.name for b in new)}"
        for was, now in zip(old, new, strict=True):
            if was.dtype != now.dtype or len(was.axes) != len(now.axes):
                return f"{was.name} was {was.dtype}{list(was.axes)} and is {now.dtype}{list(now.axes)}"
            for position, (a, b) in enumerate(zip(was.axes, now.axes, strict=True)):
                if isinstance(b, int) and a != b:
                    return f"{was.name}: axis {position} was {a} and is fixed at {b}"
    return ""
