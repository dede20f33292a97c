"""attn-export: PyTorch attention models to verified bundles.

Everything public is here, and is imported when it is first used: `import attn_export` loads no torch.

    export                    a model to a bundle or an .onnx, every form held against PyTorch; ExportOptions, ExportResult
    load_source               what a name, a module or a .pt2 file is, and the inputs it takes; `export` takes that, too
    verify, verify_against    a bundle against its golden cases and the living module
    convert                   another precision into a bundle, or of a plain .onnx; QuantiseOptions
    bisect                    the first node where two graphs of a model part
    diff                      what two bundles, or two precisions of one, differ in
    to_trt                    TensorRT engines
    inspect                   every attention block, and what became of it in the engines
    report                    a bundle as one page to look at; ReportPage
    deploy_bundle, deploy_jetson, deploy_triton    one precision alone; what a board and a server take
    built_in_models, diagnose       what is there
    surveyed_models, list_models    models of transformers and timm that were tried, and how far each came; either
    Console                   tells of each stage of a long run
    AttnError and its kinds   every failure that is not a bug, with its exit code
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attn_runtime
from attn_runtime.errors import (
    AttnError,
    BackendError,
    BundleError,
    CaptureError,
    CheckpointError,
    DifferenceError,
    EngineError,
    FusionError,
    InputError,
    OutputError,
    ParityError,
    PassError,
    PrecisionError,
    StageError,
    UsageError,
)
from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .attention import inspect
    from .console import Console
    from .deploy import deploy_bundle, to_trt
    from .deploy.jetson import JetsonOptions, deploy_jetson
    from .deploy.triton import TritonOptions, deploy_triton
    from .difference import diff
    from .doctor import diagnose
    from .parity import verify_against
    from .pipeline import ExportOptions, ExportResult, export
    from .precision import QuantiseOptions, bisect, convert
    from .report_page import ReportPage, report
    from .source import built_in_models, list_models, load_source, surveyed_models
    from .verification import verify


__version__ = attn_runtime.__version__

__all__ = [
    "AttnError",
    "BackendError",
    "BundleError",
    "CaptureError",
    "CheckpointError",
    "Console",
    "DifferenceError",
    "EngineError",
    "ExportOptions",
    "ExportResult",
    "FusionError",
    "InputError",
    "JetsonOptions",
    "OutputError",
    "ParityError",
    "PassError",
    "PrecisionError",
    "QuantiseOptions",
    "ReportPage",
    "StageError",
    "TritonOptions",
    "UsageError",
    "bisect",
    "built_in_models",
    "convert",
    "deploy_bundle",
    "deploy_jetson",
    "deploy_triton",
    "diagnose",
    "diff",
    "export",
    "inspect",
    "list_models",
    "load_source",
    "report",
    "surveyed_models",
    "to_trt",
    "verify",
    "verify_against",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "attention.inspection": ["inspect"],
        "console": ["Console"],
        "deploy.bundle_maker": ["deploy_bundle"],
        "deploy.jetson.folder_maker": ["JetsonOptions", "deploy_jetson"],
        "deploy.triton.repository_maker": ["TritonOptions", "deploy_triton"],
        "deploy.trt_engine": ["to_trt"],
        "difference.bundles": ["diff"],
        "doctor": ["diagnose"],
        "parity.against_module": ["verify_against"],
        "pipeline.model_export": ["ExportResult", "export"],
        "pipeline.types": ["ExportOptions"],
        "precision.bisect_bundle": ["bisect"],
        "precision.conversion": ["convert"],
        "precision.quantised.options": ["QuantiseOptions"],
        "report_page.writer": ["ReportPage", "report"],
        "source.built_in": ["built_in_models", "list_models"],
        "source.library_models.surveyed": ["surveyed_models"],
        "source.resolve": ["load_source"],
        "verification": ["verify"],
    },
)
