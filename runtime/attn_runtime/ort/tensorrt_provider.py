"""What both TensorRT providers of ONNX Runtime are told before they build an engine: shapes, and a folder to keep it in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..bundle import sha256_of
from ..errors import BackendError, OutputError
from ..interface import GraphFile
from ..onnx_file import check_external_data
from ..spec import TensorSpec

# What has a meaning in the providers' "input:dim0xdim1,...".
_MARKS = (":", ",")


def profile_shapes(specs: Sequence[TensorSpec], where: str) -> dict[str, str]:
    """The shapes to build for, as both providers read them: {"min": "x:1x3x32x32,y:1x8", "opt": ..., "max": ...}.

    Every input with a named dim is in it, since an engine needs all of them or none; empty where no input has one, and
    for a graph outside a bundle, of whose ranges nothing is known. BackendError for a name that the form can't hold.
    """
    ranged = [spec for spec in specs if any(dim.name is not None for dim in spec.dims)]
    for spec in ranged:
        if any(mark in spec.name for mark in _MARKS):
            raise BackendError(
                f'{where}: the range of input "{spec.name}" can\'t be told to TensorRT inside ONNX Runtime, which reads '
                f'":" and "," as its own. Export it with another input name, or take backend ort.'
            )
    if not ranged:
        return {}
    return {
        end: ",".join(f"{spec.name}:{'x'.join(str(getattr(dim, end)) for dim in spec.dims)}" for spec in ranged)
        for end in ("min", "opt", "max")
    }


def tf32_note(note: str | None) -> str | None:
    """`note`, and that float32 is not float32 where nobody said so to TensorRT: no option of the providers does."""
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return note
    told = "may round float32 products to TF32; set NVIDIA_TF32_OVERRIDE=0 before the process starts to keep float32"
    return f"{note}; {told}" if note else told


def cache_folder(graph: GraphFile, cache: Path | None) -> Path | None:
    """The folder in `cache` for what is built from this very graph, made and found writable; None without a cache.

    It is named by the content: the providers name an engine by the graph's file name and nodes, and would take one that
    was built with other weights. Raises OutputError with the reason where it can't be written.
    """
    if cache is None:
        return None
    import tempfile

    folder = cache / _content_key(graph)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cache {cache}: can't be written ({error.strerror or error}); name a folder that can, or leave cache out "
            f"to build anew in every process"
        ) from error
    return folder.resolve()


def _content_key(graph: GraphFile) -> str:
    import hashlib

    files = [graph.file, *check_external_data(graph.file, graph.where)]
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()[:16]
