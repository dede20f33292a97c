"""docs/measured/gpu.md: the rows, the machine, and what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version

from .timing import Row

PACKAGES = ("torch", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx-cu13", "cuda-python", "attn-runtime")


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown. The last column but one is the time over torch.compile's of the same model, precision and batch."""
    lines = [
        "| model | precision | batch | by | p50 ms | p99 ms | error, of max\\|PyTorch\\| | of torch.compile | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    compiled = {(row.model, row.precision, row.batch): row.p50_ms for row in rows if row.runner == "torch.compile"}
    for row in rows:
        about = f"| {row.model} | {row.precision} | {row.batch} | {row.runner} |"
        if row.problem or row.p50_ms is None:
            lines.append(f"{about} – | – | – | – | {row.problem.replace('|', '/')} |")
            continue
        judged = "" if row.matches else f" (allowed {row.limit:.1e})"
        peer = compiled.get((row.model, row.precision, row.batch))
        ratio = f"{row.p50_ms / peer:.2f}" if peer else "–"
        lines.append(f"{about} {row.p50_ms:.3f} | {row.p99_ms:.3f} | {row.error:.1e}{judged} | {ratio} | {row.note} |")
    return lines


def document(rows: Sequence[Row], calls: int, about: str, expected: str) -> str:
    """The page, whole: `about` says how it was measured and `expected` what was expected before."""
    from attn_runtime.device.gpus import compute_capability, driver_version, find_gpus

    installed = []
    for package in PACKAGES:
        try:
            installed.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    machine = f"{find_gpus().names[0]}, compute capability {compute_capability(0)}, driver for CUDA {driver_version()}"
    return "\n".join(
        [
            "# Latency on a GPU",
            "",
            f"Measured on {date.today().isoformat()} by `python scripts/bench/gpu_bench.py`, {calls} calls a row.",
            "",
            f"- {machine}",
            f"- {', '.join(installed)}",
            "",
            about.replace("\n", " "),
            "",
            expected.replace("\n", " "),
            "",
            *table(rows),
            "",
        ]
    )
