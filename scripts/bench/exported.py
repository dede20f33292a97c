"""Bundles that benchmarks measure: exported by the command line as a user would, and kept for the next run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def export_command(source: str | Path, target: Path, dims: Sequence[str] = (), *more: str) -> list[str]:
    """`attn-export to-onnx SOURCE -o TARGET`, with a --dim each, and what else is to stand on the line."""
    given = [word for dim in dims for word in ("--dim", dim)]
    return [sys.executable, "-m", "attn_export", "to-onnx", str(source), "-o", str(target), "--quiet", *given, *more]


def exported(
    source: str | Path,
    target: Path,
    dims: Sequence[str] = (),
    *more: str,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """`target`, made where it is missing. Of sizes between the corners nothing is asked: the corners are proof enough here."""
    if not target.exists():
        print(f"  exporting {target.stem}", file=sys.stderr, flush=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(export_command(source, target, dims, "--sweep", "0", *more), check=True, env=environment)
    return target
