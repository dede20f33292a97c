"""The exporter's pages of report in one line: the operator that ONNX has no translation for, and who called it."""

from __future__ import annotations

import re
from pathlib import Path

import torch

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def explain(problem: BaseException, program: torch.export.ExportedProgram | None = None) -> str:
    """One line for an exception of torch.onnx.export. `program`, what was exported, has the user's line of each node."""
    chain = [problem]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    text = " ".join(" ".join(str(p).split()) for p in chain)
    missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", text)
    if missing:
        reason = f"ONNX has no translation for {missing[1]}"
    else:
        reason = " ".join(str(chain[-1]).split())[:240] or type(chain[-1]).__name__
    node = re.search(r"translating node %(\w+)", text)
    where = user_line(program, node[1]) if program is not None and node else ""
    return (
        f"PyTorch could not translate the module{where}: {reason}. "
        "Replace that operation, read the exporter's own report with --verbose, or try --exporter torchscript "
        "(held to the same checks)."
    )


def user_line(program: torch.export.ExportedProgram, node: str) -> str:
    """``" at net.py:41"`` for a node of the program, or of what it decomposes to; empty when it is not known."""
    for graph in (program.graph, program.run_decompositions().graph):
        for candidate in graph.nodes:
            frames = _FRAME.findall(candidate.meta.get("stack_trace") or "") if candidate.name == node else []
            if frames:
                path, line = frames[-1]
                return f" at {Path(path).name}:{line}"
    return ""
