"""What a pass of tests has besides what it does, and what a pass's rewriting makes of a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import onnx
import onnx_ir as ir
from attn_export.onnx_graph import load
from attn_export.onnx_graph.onnx_file import GraphInfo

Done = TypeVar("Done")


class PlainPass:
    """Fits every graph, and promises nothing of what it makes."""

    name = "plain"
    summary = "for tests"

    def requires(self, before: GraphInfo) -> str:
        return ""

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return ""


def rewritten(graph: onnx.ModelProto, path: Path, rewrite: Callable[[ir.Model], Done]) -> Done:
    """What `rewrite` says that it did; the graph is written to the path, and valid."""
    onnx.save(graph, path)
    made = load(path)
    done = rewrite(made)
    ir.save(made, path)
    onnx.checker.check_model(path, full_check=True)
    return done
