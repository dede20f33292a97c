"""What a pass of tests has besides what it does."""

from __future__ import annotations

from attn_export.onnx_graph.onnx_file import GraphInfo


class PlainPass:
    """Fits every graph, and promises nothing of what it makes."""

    name = "plain"
    summary = "for tests"

    def requires(self, before: GraphInfo) -> str:
        return ""

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return ""
