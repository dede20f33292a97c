"""What a command does, as one public call each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .backend_comparison import BackendTime, ComparisonReport
    from .benchmark import BenchReport, SizeResult, bench
    from .classification import Classification, classified_by, classify
    from .compilation import CompileReport, GraphBuild, compile_engines
    from .file_run import Classes, RunResult, run_file, scores_of, top_classes
    from .generation_benchmark import GenerationBenchReport, GenerationSize
    from .info import describe, info_lines
    from .maps import AttentionMap, AttentionMaps, Axis, attention_maps
    from .reports import CaseResult, VerifyReport
    from .verification import verify

__all__ = [
    "AttentionMap",
    "AttentionMaps",
    "Axis",
    "BackendTime",
    "BenchReport",
    "CaseResult",
    "Classes",
    "Classification",
    "ComparisonReport",
    "CompileReport",
    "GenerationBenchReport",
    "GenerationSize",
    "GraphBuild",
    "RunResult",
    "SizeResult",
    "VerifyReport",
    "attention_maps",
    "bench",
    "classified_by",
    "classify",
    "compile_engines",
    "describe",
    "info_lines",
    "run_file",
    "scores_of",
    "top_classes",
    "verify",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "backend_comparison": ["BackendTime", "ComparisonReport"],
        "benchmark": ["BenchReport", "SizeResult", "bench"],
        "classification": ["Classification", "classified_by", "classify"],
        "compilation": ["CompileReport", "GraphBuild", "compile_engines"],
        "file_run": ["Classes", "RunResult", "run_file", "scores_of", "top_classes"],
        "generation_benchmark": ["GenerationBenchReport", "GenerationSize"],
        "info": ["describe", "info_lines"],
        "maps": ["AttentionMap", "AttentionMaps", "Axis", "attention_maps"],
        "reports": ["CaseResult", "VerifyReport"],
        "verification": ["verify"],
    },
)
