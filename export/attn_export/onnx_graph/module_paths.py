"""Which PyTorch module a node came from, as far as the exporter wrote it down."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import onnx_ir as ir

_SCOPES = "pkg.torch.onnx.name_scopes"


def module_path(nodes: Sequence[ir.Node]) -> str:
    """The innermost module that all of these nodes lie in, "encoder.layers.0"; "" for the model itself, or unknown.

    The dynamo exporter keeps the modules in each node's metadata, the torchscript exporter in its name.
    """
    paths = [p for p in map(_modules, nodes) if p is not None]
    if not paths:
        return ""
    shared = paths[0]
    for path in paths[1:]:
        same = 0
        while same < min(len(shared), len(path)) and shared[same] == path[same]:
            same += 1
        shared = shared[:same]
    return shared[-1] if shared else ""


def _modules(node: ir.Node) -> list[str] | None:
    """The modules around a node, outermost first, each by its whole path; None when nothing tells."""
    if _SCOPES in node.metadata_props:
        try:
            scopes = ast.literal_eval(node.metadata_props[_SCOPES])
        except (ValueError, SyntaxError):
            return None
        # The last one is the operator itself.
        return [str(s) for s in scopes[:-1]] if isinstance(scopes, list) else None
    name = node.name or ""
    if not name.startswith("/"):
        return None
    path = [""]
    for part in name.split("/")[1:-1]:
        # An item of a Sequential repeats the name of what it lies in: /net/net.0/MatMul.
        last = path[-1].rpartition(".")[2] if path[-1] else ""
        inside = path[-1][: -len(last)] if last and part.startswith(f"{last}.") else f"{path[-1]}." if path[-1] else ""
        path.append(inside + part)
    return path
