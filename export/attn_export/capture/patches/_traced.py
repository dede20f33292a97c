"""What a program was traced with, before it is written anew."""

from __future__ import annotations

from typing import Any

import torch


def traced_inputs(program: torch.export.ExportedProgram) -> list[Any]:
    """What a program was traced with, in order of the user's inputs: fake tensors that know the symbols of their sizes."""
    placeholders = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    return [placeholders.get(str(name)) for name in program.graph_signature.user_inputs]
