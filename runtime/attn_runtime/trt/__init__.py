"""TensorRT and TensorRT-RTX: compile a typed ONNX graph, know what came out, run it. Needs no torch and no onnx.

Here, for both: which of the two libraries and its version (library, library_choice), the key beside an engine, where engines
lie and which fits this machine (engine_key, engine_files, machine), shapes as trtexec writes them (profiles), and what an engine
is made of: its layers, in which type they compute, and which attention blocks are one kernel (layers, precision_audit,
fused_attention).

builder   from an ONNX file to an engine; no GPU needed with TensorRT-RTX
run       from an engine to answers; the backend is backends/trt.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .collector import collector_paused
    from .engine_files import (
        ENGINES,
        KEY_SUFFIX,
        SUFFIX,
        EngineFile,
        EngineStaging,
        build_command,
        bundle_digest,
        check_engine_target,
        engine_place,
        file_digest,
        find_engine,
        find_engine_beside,
        key_path,
        key_paths,
        read_plan,
    )
    from .engine_key import EngineKey, Wanted, mismatch_text, mismatches, read_key
    from .fused_attention import HEAD_SIZES, BlockFusion, fusion
    from .layers import DTYPES, NODE, Layer, LayerTensor, layers_in, scratch_bytes
    from .library import Library, version_tuple
    from .library_choice import choose, gpus_to_build_for, portable_set
    from .machine import Machine, os_name, this_machine
    from .precision_audit import Audit, Quantised, audit
    from .profiles import (
        GraphInput,
        Profile,
        ShapeTexts,
        check_coverage,
        given_profiles,
        input_of,
        input_of_file,
        make_profiles,
        profile_text,
    )

__all__ = [
    "DTYPES",
    "ENGINES",
    "HEAD_SIZES",
    "KEY_SUFFIX",
    "NODE",
    "SUFFIX",
    "Audit",
    "BlockFusion",
    "EngineFile",
    "EngineKey",
    "EngineStaging",
    "GraphInput",
    "Layer",
    "LayerTensor",
    "Library",
    "Machine",
    "Profile",
    "Quantised",
    "ShapeTexts",
    "Wanted",
    "audit",
    "build_command",
    "bundle_digest",
    "check_coverage",
    "check_engine_target",
    "choose",
    "collector_paused",
    "engine_place",
    "file_digest",
    "find_engine",
    "find_engine_beside",
    "fusion",
    "given_profiles",
    "gpus_to_build_for",
    "input_of",
    "input_of_file",
    "key_path",
    "key_paths",
    "layers_in",
    "library",
    "library_choice",
    "make_profiles",
    "mismatch_text",
    "mismatches",
    "os_name",
    "portable_set",
    "profile_text",
    "read_key",
    "read_plan",
    "scratch_bytes",
    "this_machine",
    "version_tuple",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "collector": ["collector_paused"],
        "engine_files": [
            "ENGINES",
            "EngineFile",
            "EngineStaging",
            "KEY_SUFFIX",
            "SUFFIX",
            "build_command",
            "bundle_digest",
            "check_engine_target",
            "engine_place",
            "file_digest",
            "find_engine",
            "find_engine_beside",
            "key_path",
            "key_paths",
            "read_plan",
        ],
        "engine_key": ["EngineKey", "Wanted", "mismatch_text", "mismatches", "read_key"],
        "fused_attention": ["BlockFusion", "HEAD_SIZES", "fusion"],
        "layers": ["DTYPES", "Layer", "LayerTensor", "NODE", "layers_in", "scratch_bytes"],
        "library": ["Library", "version_tuple"],
        "library_choice": ["choose", "gpus_to_build_for", "portable_set"],
        "machine": ["Machine", "os_name", "this_machine"],
        "precision_audit": ["Audit", "Quantised", "audit"],
        "profiles": [
            "GraphInput",
            "Profile",
            "ShapeTexts",
            "check_coverage",
            "given_profiles",
            "input_of",
            "input_of_file",
            "make_profiles",
            "profile_text",
        ],
    },
)
