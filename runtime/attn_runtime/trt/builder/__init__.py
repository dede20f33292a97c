"""Building an engine from an ONNX graph, in a process of its own.

compile          the one public call, compile_engine
onnx_source      the file to build: a bundle's precision or a plain ONNX file, with what must be checked of it
preflight        what would fail or go wrong silently, found before the build
build_process    the child process that builds; parent's side and child's
network          parse and build, in this process; callbacks: the library's log and progress
parser_check     holds the parsed network against the graph; parser_rules: what is compared, operator by operator
quantised_products  which products the network quantises, for the audit
fp32_guard       keeps the library from computing in half precision what the graph has in float32
progress         how far a build is, and how long it will take
diagnose         what the library said, as node, module, source line and advice
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .compile import Compiled, compile_engine
    from .diagnose import CompilerFailure
    from .onnx_source import find_source
    from .preflight import check_for_provider, gpus_with_types, is_quantised
    from .progress import BuildProgress, seconds_text

__all__ = [
    "BuildProgress",
    "Compiled",
    "CompilerFailure",
    "check_for_provider",
    "compile_engine",
    "find_source",
    "gpus_with_types",
    "is_quantised",
    "seconds_text",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "compile": ["Compiled", "compile_engine"],
        "diagnose": ["CompilerFailure"],
        "onnx_source": ["find_source"],
        "preflight": ["check_for_provider", "gpus_with_types", "is_quantised"],
        "progress": ["BuildProgress", "seconds_text"],
    },
)
