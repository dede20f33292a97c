"""Counters and latencies of what is open: recorded at a call, read as numbers, written for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .calls import CallRecorder, SessionStats
    from .histogram import Histogram, Latencies
    from .prometheus import Counts, Metric, metrics_of, prometheus_text
    from .requests import GeneratorStats, RequestRecorder

__all__ = [
    "CallRecorder",
    "Counts",
    "GeneratorStats",
    "Histogram",
    "Latencies",
    "Metric",
    "RequestRecorder",
    "SessionStats",
    "metrics_of",
    "prometheus_text",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "calls": ["CallRecorder", "SessionStats"],
        "histogram": ["Histogram", "Latencies"],
        "prometheus": ["Counts", "Metric", "metrics_of", "prometheus_text"],
        "requests": ["GeneratorStats", "RequestRecorder"],
    },
)
