"""Every change that a node allows, of all kinds."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from . import activations, arithmetic, constants, indices, masks, shapes, weights
from ._edit import Change

_KINDS = (weights, constants, shapes, masks, indices, activations, arithmetic)


def changes(node: ir.Node) -> Iterator[Change]:
    """Of a node of an indexed graph (`onnx_graph.index`); those that come out as no graph at all are among them."""
    for kind in _KINDS:
        yield from kind.changes(node)
