"""The bundle: read without trust, written whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .attention_block import AttentionBlock
    from .known_hashes import hashes_agree, sha256_of
    from .manifest import ASSET_FORMS, MANIFEST, check_asset, form_problem
    from .onnx_metadata import KEY, read_embedded
    from .opened_files import OpenedFiles, ReplacedError, mark_of
    from .reader import (
        Arrays,
        Bundle,
        Case,
        GoldenRef,
        Graph,
        Precision,
        is_bundle,
        to_fp16,
        to_reference_dtype,
        with_bundle,
    )
    from .sizes import PrecisionSize, file_bytes, precision_sizes
    from .tensor_files import read_tensors, write_tensors
    from .writer import ENGINES, BundleWriter, OnnxWriter, check_target

__all__ = [
    "ASSET_FORMS",
    "ENGINES",
    "KEY",
    "MANIFEST",
    "Arrays",
    "AttentionBlock",
    "Bundle",
    "BundleWriter",
    "Case",
    "GoldenRef",
    "Graph",
    "OnnxWriter",
    "OpenedFiles",
    "Precision",
    "PrecisionSize",
    "ReplacedError",
    "check_asset",
    "check_target",
    "file_bytes",
    "form_problem",
    "hashes_agree",
    "is_bundle",
    "mark_of",
    "precision_sizes",
    "read_embedded",
    "read_tensors",
    "sha256_of",
    "to_fp16",
    "to_reference_dtype",
    "with_bundle",
    "write_tensors",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "attention_block": ["AttentionBlock"],
        "known_hashes": ["hashes_agree", "sha256_of"],
        "manifest": ["ASSET_FORMS", "MANIFEST", "check_asset", "form_problem"],
        "onnx_metadata": ["KEY", "read_embedded"],
        "opened_files": ["OpenedFiles", "ReplacedError", "mark_of"],
        "reader": [
            "Arrays",
            "Bundle",
            "Case",
            "GoldenRef",
            "Graph",
            "Precision",
            "is_bundle",
            "to_fp16",
            "to_reference_dtype",
            "with_bundle",
        ],
        "sizes": ["PrecisionSize", "file_bytes", "precision_sizes"],
        "tensor_files": ["read_tensors", "write_tensors"],
        "writer": ["BundleWriter", "ENGINES", "OnnxWriter", "check_target"],
    },
)
