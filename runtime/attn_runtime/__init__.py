"""attn-runtime: open, run, verify and measure bundles. Needs neither torch nor onnx.

Everything public is here, and is imported when it is first used: `import attn_runtime` loads nothing heavy.

    open_session, Session, BoundCall    a graph on a backend: run it, or bind buffers and run it again and again
    open_generator, Generator           token by token, with the graphs of a bundle; GenerateOptions, Sample
    Bundle, Tolerance                   what a bundle holds, and how much an answer may differ from PyTorch's
    verify, bench                       hold a bundle against PyTorch's recorded answers; time it; latency_curves: what was kept
    compile_engines                     build TensorRT engines, one for each graph
    embed, tag, fill, answer            what a model of texts knows of them
    prometheus_text, Metric, SessionStats, GeneratorStats   what `stats()` of a session and a generator counted
    describe, run_file, classify, detect, transcribe, attention_maps, generate_texts, diagnose, set_up   what others call
    map_rows                            the same over whole tables and folders, into Parquet; TaskOptions, MapReport
    AttnError and its kinds             every failure that is not a bug, with its exit code
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import (
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
    RowsError,
    StageError,
    UsageError,
)
from .lazy import lazy

if TYPE_CHECKING:
    from .bundle import Bundle
    from .compare import Tolerance
    from .doctor import diagnose
    from .generate import GenerateOptions, Generator, Request, RequestLimits, Sample, generate_texts, open_generator
    from .jetson import SetupOptions, set_up
    from .session import BoundCall, Session, latency_curves, open_session
    from .stats import GeneratorStats, Metric, SessionStats, prometheus_text
    from .tasks import attention_maps, bench, classify, compile_engines, describe, run_file, verify
    from .tasks.mapping import MapReport, TaskOptions, map_rows
    from .tasks.pictures import detect
    from .tasks.text import answer, embed, fill, tag
    from .tasks.transcription import transcribe

#: Of both packages and of the C++ library, whose builds read it here.
__version__ = "0.1.0"

# From 1.29 on, ONNX Runtime tells Microsoft what it runs, by a thread that starts when it is imported. A child of a fork waits
# for that thread when it ends, for ever. Who sets the variable has the last word.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "AttnError",
    "BackendError",
    "BoundCall",
    "Bundle",
    "BundleError",
    "CaptureError",
    "CheckpointError",
    "DifferenceError",
    "EngineError",
    "FusionError",
    "GenerateOptions",
    "Generator",
    "GeneratorStats",
    "InputError",
    "MapReport",
    "Metric",
    "OutputError",
    "ParityError",
    "PassError",
    "PrecisionError",
    "Request",
    "RequestLimits",
    "RowsError",
    "Sample",
    "Session",
    "SessionStats",
    "SetupOptions",
    "StageError",
    "TaskOptions",
    "Tolerance",
    "UsageError",
    "answer",
    "attention_maps",
    "bench",
    "classify",
    "compile_engines",
    "describe",
    "detect",
    "diagnose",
    "embed",
    "fill",
    "generate_texts",
    "latency_curves",
    "map_rows",
    "open_generator",
    "open_session",
    "prometheus_text",
    "run_file",
    "set_up",
    "tag",
    "transcribe",
    "verify",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "bundle.reader": ["Bundle"],
        "compare": ["Tolerance"],
        "doctor.doctor": ["diagnose"],
        "generate": ["GenerateOptions", "Generator", "Request", "RequestLimits", "Sample", "open_generator"],
        "generate.text_generation": ["generate_texts"],
        "jetson.setup": ["SetupOptions", "set_up"],
        "session.curves": ["latency_curves"],
        "session.opening": ["open_session"],
        "session.session": ["BoundCall", "Session"],
        "stats": ["GeneratorStats", "Metric", "SessionStats", "prometheus_text"],
        "tasks.benchmark": ["bench"],
        "tasks.classification": ["classify"],
        "tasks.compilation": ["compile_engines"],
        "tasks.file_run": ["run_file"],
        "tasks.info": ["describe"],
        "tasks.mapping": ["MapReport", "TaskOptions", "map_rows"],
        "tasks.pictures.detection": ["detect"],
        "tasks.maps": ["attention_maps"],
        "tasks.text": ["answer", "embed", "fill", "tag"],
        "tasks.transcription": ["transcribe"],
        "tasks.verification": ["verify"],
    },
)
