"""The exporter's pages of report in one line: the operator that can't be translated, who called it, and what may help."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from attn_runtime.errors import AttnError

from .dynamic_shape_errors import is_model

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_TORCHSCRIPT_FRAME = re.compile(r"([^\s(]+\.py)[:(](\d+)")
_OPERATOR = re.compile(
    r"(?:No ONNX function found for <OpOverload\(op='|Exporting the operator '|ONNX export of operator )([\w.:]+)"
)
_NODE = re.compile(r"%(\w+) : \[num_users")


@dataclass(frozen=True)
class _Found:
    """A call: the operator as `aten.median`, the line ` at net.py:41`, the module ` in blocks.0 (Block)`; each may be empty."""

    operator: str = ""
    line: str = ""
    module: str = ""


def explain(problem: BaseException, program: torch.export.ExportedProgram | None = None) -> str:
    """One line for an exception of torch.onnx.export.

    `program`: what was exported; None where the TorchScript exporter was used. The other exporter is named as a way out
    only where it has a translation of the operator.
    """
    chain = [problem]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    if refusal := next((p for p in chain if isinstance(p, AttnError)), None):
        return str(refusal)
    text = " ".join(" ".join(str(p).split()) for p in chain)
    named = _OPERATOR.search(text)
    found = _in_program(program, text) if program is not None else _in_trace(problem, text)
    operator = _dotted(named[1]) if named else found.operator
    if program is not None and "No ONNX function found" in text:
        reason = f"ONNX has no translation for {operator}"
    elif "Exporting the operator" in text:
        reason = f"the TorchScript exporter has no translation for {operator}"
    else:
        reason = re.split(r"\. Please feel free| \[Caused by| Please open", _own_words(chain))[0][:240]
        reason += f" ({operator})" if operator and operator not in reason else ""
    change = f"Replace that operation{_other_exporter(operator, program is not None)}"
    return (
        f"PyTorch could not translate the module{found.line}{found.module}: {reason.rstrip('.')}. "
        f"{change}; --verbose has the exporter's own report."
    )


def _dotted(operator: str) -> str:
    """aten.lstm of aten::lstm, and of the LSTM that the TorchScript exporter speaks of."""
    dotted = operator.replace("::", ".")
    return dotted if "." in dotted else f"aten.{dotted.lower()}"


def _own_words(chain: list[BaseException]) -> str:
    """What the innermost exception says, or that it says nothing."""
    return " ".join(str(chain[-1]).split()) or type(chain[-1]).__name__


def _other_exporter(operator: str, dynamo: bool) -> str:
    """The exporter that was not used, as a way out, where it knows the operator."""
    if dynamo and _torchscript_has(operator):
        return ", or try --exporter torchscript (held to the same checks)"
    if not dynamo and _dynamo_has(operator):
        return ", or leave --exporter torchscript out"
    return ""


def _torchscript_has(operator: str) -> bool:
    try:
        importlib.import_module("torch.onnx.symbolic_opset20")  # fills the registry
        from torch.onnx._internal.torchscript_exporter.registration import registry
    except ImportError:  # private names
        return False
    return bool(registry.is_registered_op(operator.replace(".", "::"), 20))


def _dynamo_has(operator: str) -> bool:
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        return False
    packet = getattr(torch.ops.aten, operator.removeprefix("aten."), None) if operator.startswith("aten.") else None
    if packet is None:
        return not operator  # what failed is no operator: the other exporter goes another way
    registry = ONNXRegistry.from_torchlib()
    return any(registry.is_registered(getattr(packet, name)) for name in packet.overloads())


def _in_program(program: torch.export.ExportedProgram, text: str) -> _Found:
    name, operator = _NODE.search(text), _OPERATOR.search(text)
    calls = [n for n in _nodes(program) if n.op == "call_function"]
    named = [n for n in calls if name and n.name == name[1]]
    # Nodes are named anew where the exporter decomposes further: then the first call of the operator.
    named += [n for n in calls if operator and _plain(_name(n)) == _plain(operator[1])]
    if not named:
        return _Found()
    node = named[0]
    frames = [f for f in _FRAME.findall(node.meta.get("stack_trace") or "") if is_model(f[0])]
    modules = [path for path in (node.meta.get("nn_module_stack") or {}).values() if path[0]]
    return _Found(_name(node), _line(*frames[-1]) if frames else "", _module(*modules[-1]) if modules else "")


def _name(node: torch.fx.Node) -> str:
    return ".".join(str(node.target).split(".")[:2]) if isinstance(node.target, torch._ops.OpOverload) else ""


def _plain(operator: str) -> str:
    """What aten.erfinv and prims.erf_inv, aten.add and aten.add_ share."""
    return operator.rpartition(".")[2].replace("_", "")


def _nodes(program: torch.export.ExportedProgram) -> Iterator[torch.fx.Node]:
    """Of the program, and of what it decomposes to."""
    yield from program.graph.nodes
    try:
        yield from program.run_decompositions().graph.nodes
    except Exception:  # it is what failed
        return


def _in_trace(problem: BaseException, text: str) -> _Found:
    """In the graph that the TorchScript exporter was at work on, or in the frames that it names itself."""
    named = _OPERATOR.search(text)
    kind = _dotted(named[1]).replace(".", "::") if named else None
    graphs = [f.f_locals.get("graph") for f, _ in traceback.walk_tb(problem.__traceback__)]
    calls = [n for g in graphs if isinstance(g, torch._C.Graph) for n in g.nodes() if n.kind() == kind]
    ranges = " ".join(str(n.sourceRange()) for n in calls[:1]) or text
    lines = [f for f in _TORCHSCRIPT_FRAME.findall(ranges) if is_model(f[0])]
    # scopeName is `net.Net::/net.Block::blocks.0`: class and path of each module around the call
    scope = [part.partition("::") for part in calls[0].scopeName().split("/")] if calls else []
    inner: tuple[Any, ...] = next(((path, kind) for kind, _, path in reversed(scope) if path), ())
    return _Found("", _line(*lines[0]) if lines else "", _module(*inner) if inner else "")


def _line(path: str, line: str) -> str:
    return f" at {Path(path).name}:{line}"


def _module(path: str, kind: Any) -> str:
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    return f" in {path} ({name.rpartition('.')[2]})"
