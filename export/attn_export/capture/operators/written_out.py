"""A captured program whose operators are written out where the exporter would get them wrong."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from pathlib import Path

import torch
from attn_runtime.errors import CaptureError

from . import scalars
from .building_blocks import Call, CanNotWrite, Form

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def forms() -> dict[str, Form]:
    """The form of each operator, by its name below torch.ops.aten."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    files = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    modules = [importlib.import_module(f.name) for f in files if f.name != __name__]
    return {operator: m.FORM for m in modules if hasattr(m, "FORM") for operator in m.FORM.operators}


def write_out(program: torch.export.ExportedProgram) -> tuple[torch.export.ExportedProgram, Counter[str]]:
    """The program, and how many calls of each operator were written out; the program itself where there are none.

    `program` is changed and must not be used any more. Raises CaptureError where an operator is needed in a form that
    nothing here is right for.
    """
    by_operator = forms()
    written: Counter[str] = Counter()
    last: torch.fx.Node | None = None
    for graph_module in program.graph_module.modules():
        if not isinstance(graph_module, torch.fx.GraphModule):
            continue
        before = written.total()
        for node in list(graph_module.graph.nodes):
            try:
                name, call = _call(node, by_operator)
            except CanNotWrite as problem:
                raise _refusal(node, problem) from problem
            if call is not None:
                node.target, node.args, node.kwargs = call.function, call.args, call.kwargs
                written[name] += 1
                last = node
        if written.total() > before:
            graph_module.recompile()
    if last is None:
        return program, written
    try:
        return program.run_decompositions({}), written
    except Exception as problem:
        found: BaseException | None = problem
        while found is not None and not isinstance(found, CanNotWrite):
            found = found.__cause__ or found.__context__
        if isinstance(found, CanNotWrite):
            raise _refusal(last, found) from problem
        raise


def _call(node: torch.fx.Node, by_operator: dict[str, Form]) -> tuple[str, Call | None]:
    if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace == "aten":
        name = node.target._schema.name.removeprefix("aten::")
        return name, by_operator[name].write(node) if name in by_operator else None
    return "size", scalars.write(node)


def _refusal(node: torch.fx.Node, problem: CanNotWrite) -> CaptureError:
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    where = f" at {Path(frames[-1][0]).name}:{frames[-1][1]}" if frames else ""
    return CaptureError(
        f"{node.name}{where} can't be exported so that it equals PyTorch's at every size: {problem.why}. "
        "Compute sizes in integers, from one size at a time."
    )
