"""ONNX Runtime: how its sessions are made, told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .cores import Cores, cpu_name, limit_openmp, usable_cores
    from .device_memory import on_gpu
    from .engine import OrtEngine, check_agreement, one_line
    from .file_answers import answer_files
    from .gpu_engine import GpuEngine
    from .placement import RECORD, check_on_gpu
    from .providers import CPU, CUDA, TENSORRT, GraphIds, ProviderState, provider_states, why_provider_fails
    from .saved_graphs import SavedGraph
    from .session_options import CPU_NOTE, NO_LOG, cpu_options, make_session, optimizer_options
    from .tensorrt_provider import cache_folder, profile_shapes, tf32_note

__all__ = [
    "CPU",
    "CPU_NOTE",
    "CUDA",
    "NO_LOG",
    "RECORD",
    "TENSORRT",
    "Cores",
    "GpuEngine",
    "GraphIds",
    "OrtEngine",
    "ProviderState",
    "SavedGraph",
    "answer_files",
    "cache_folder",
    "check_agreement",
    "check_on_gpu",
    "cpu_name",
    "cpu_options",
    "limit_openmp",
    "make_session",
    "on_gpu",
    "one_line",
    "optimizer_options",
    "profile_shapes",
    "provider_states",
    "tf32_note",
    "usable_cores",
    "why_provider_fails",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "cores": ["Cores", "cpu_name", "limit_openmp", "usable_cores"],
        "device_memory": ["on_gpu"],
        "engine": ["OrtEngine", "check_agreement", "one_line"],
        "file_answers": ["answer_files"],
        "gpu_engine": ["GpuEngine"],
        "placement": ["RECORD", "check_on_gpu"],
        "providers": ["CPU", "CUDA", "GraphIds", "ProviderState", "TENSORRT", "provider_states", "why_provider_fails"],
        "saved_graphs": ["SavedGraph"],
        "session_options": ["CPU_NOTE", "NO_LOG", "cpu_options", "make_session", "optimizer_options"],
        "tensorrt_provider": ["cache_folder", "profile_shapes", "tf32_note"],
    },
)
