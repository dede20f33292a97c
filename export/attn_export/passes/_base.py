"""What a pass is: a named change to a graph, with a contract that is checked around it.

A file `passes/NAME.py` that holds `PASS`, an object with the members of `Pass`, is usable as --pass NAME. To join the
default order is a deliberate line in the pipeline. A whole pass, to copy:

    class DropDropout:
        name = "dropout"
        summary = "leave Dropout out, which does nothing in inference"

        def requires(self, before: GraphInfo) -> str:  # precondition: why this graph can't be taken, or ""
            return "" if before.opset >= 13 else f"it needs opset 13 or later, and the graph has {before.opset}"

        def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
            model = load(source)
            for node in [node for node in model.graph if node.op_type == "Dropout"]:
                node.outputs[0].replace_all_uses_with(node.inputs[0])
                model.graph.remove(node, safe=True)
            ir.save(model, target)
            return PassResult(target)

        def ensures(self, before: GraphInfo, after: GraphInfo) -> str:  # postcondition: what was broken, or ""
            return "" if after.nodes <= before.nodes else f"the graph grew to {after.nodes} nodes"

Names, order, dtypes and axes of inputs and outputs must stay, which `run_pass` sees to; numbers are compared behind it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx_ir as ir
from attn_runtime.bundle import mark_of
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import AttnError, PassError, UsageError, did_you_mean

from .. import passes
from ..onnx_graph import GraphInfo, read_info


@dataclass(frozen=True)
class PassResult:
    """`path` is the graph to go on with: the source itself when nothing better came of it. `note` is for a person.

    `idle`: the graph has nothing of what the pass is for. An export does not speak of it, unless the pass was asked for.
    """

    path: Path
    note: str = ""
    idle: bool = False


@dataclass(frozen=True)
class Rewritten:
    """`changed` are the labels of what was rewritten; `notes` say of each other place why it was left."""

    changed: tuple[str, ...]
    notes: tuple[str, ...]

    def result(self, model: ir.Model, source: Path, target: Path, unchanged: str) -> PassResult:
        """Write the model to `target` where anything changed; `unchanged` is the note where nothing did."""
        if not self.changed:
            return PassResult(source, "; ".join(self.notes) or unchanged)
        ir.save(model, target)
        return PassResult(target, "; ".join((f"rewrote {', '.join(self.changed)}", *self.notes)))


class Pass(Protocol):
    """The contract: `requires` holds before, `ensures` after, and `run` is between."""

    name: str
    summary: str

    def requires(self, before: GraphInfo) -> str:
        """Why this pass can't work on such a graph; empty when it can."""

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        """Read `source`, write `target` beside it (they may share one data file); never change `source`."""

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        """What the pass broke of its promise; empty when it kept it. Numbers are compared elsewhere."""


@dataclass(frozen=True)
class Applied:
    """A pass that ran: facts of the graph before and after it."""

    name: str
    before: GraphInfo
    after: GraphInfo
    result: PassResult


def names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(passes.__path__) if not m.name.startswith("_"))


def get(name: str) -> Pass:
    if name not in names():
        raise UsageError(f'unknown pass "{name}"; {did_you_mean(name, names())}available: {", ".join(names())}')
    chosen: Pass = importlib.import_module(f"{passes.__name__}.{name}").PASS
    return chosen


def run_pass(
    chosen: Pass, source: Path, target: Path, isolated: ChildProcess, *, earlier: Sequence[str] = (),
    known: GraphInfo | None = None,
) -> Applied:  # fmt: skip
    """Run one pass between its conditions; `earlier` are the names of those that the graph has been through, `known` is what has
    been read of it already.

    Raises PassError, which names the pass and those before it: a condition did not hold, or the pass itself failed.
    """

    def error(problem: str) -> PassError:
        history = f" after {', '.join(earlier)}" if earlier else ""
        return PassError(f'pass "{chosen.name}"{history} {problem}. Leave it out with --skip-pass {chosen.name}.')

    before, was = known or read_info(source), mark_of(source.stat())
    if reason := chosen.requires(before):
        raise error(f"can't run: {reason}")
    try:
        result = chosen.run(source, target, isolated)
    except AttnError:
        raise
    except Exception as problem:
        raise error(f"failed: {type(problem).__name__}: {' '.join(str(problem).split())[:300]}") from problem
    if mark_of(source.stat()) != was:
        raise error("broke its contract: it wrote over the graph that it was given")
    after = before if result.path == source else read_info(result.path)
    if broken := (same_io(before, after) or chosen.ensures(before, after)):
        raise error(f"broke its contract: {broken}")
    return Applied(chosen.name, before, after, result)


def same_opset(before: GraphInfo, after: GraphInfo) -> str:
    """For passes that rewrite a graph in operators of its own opset."""
    return "" if after.opset == before.opset else f"the opset was {before.opset} and is {after.opset}"


def same_io(before: GraphInfo, after: GraphInfo) -> str:
    """No pass may change what callers see: names, order, dtypes and axes of inputs and outputs.

    An axis of an output may become a number where its name was none of the inputs' dims, nor made of them: the exporter
    invents names for sizes that it does not know, and a pass may find them out.
    """
    declared = {name for value in before.inputs for axis in value.axes for name in _names(axis)}
    for kind in ("inputs", "outputs"):
        old, new = getattr(before, kind), getattr(after, kind)
        if [b.name for b in old] != [b.name for b in new]:
            return f"{kind} were {', '.join(b.name for b in old)} and are {', '.join(b.name for b in new)}"
        for was, now in zip(old, new, strict=True):
            if was.dtype != now.dtype or len(was.axes) != len(now.axes):
                return f"{was.name} was {was.dtype}{list(was.axes)} and is {now.dtype}{list(now.axes)}"
            for position, (a, b) in enumerate(zip(was.axes, now.axes, strict=True)):
                if isinstance(b, int) and a != b and (isinstance(a, int) or kind == "inputs" or declared & _names(a)):
                    return f"{was.name}: axis {position} was {a} and is fixed at {b}"
    return ""


def _names(axis: int | str) -> set[str]:
    """The names in an axis, which may be an expression: "floor(T/2) + 1"."""
    return set(re.findall(r"[A-Za-z_]\w*", str(axis)))
