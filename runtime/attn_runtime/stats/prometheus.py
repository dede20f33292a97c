"""Numbers in the text format of Prometheus, 0.0.4: what a scrape answers, and what the node exporter's textfile collector reads.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

from ..errors import UsageError
from ..escape import printable, prometheus_help, prometheus_label
from ..lazy import dataclass

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


class Counts(Protocol):
    """A histogram: `Latencies`, or another with these."""

    @property
    def seconds(self) -> float: ...
    @property
    def count(self) -> int: ...
    def cumulative(self) -> list[tuple[float, int]]: ...


@dataclass(frozen=True)
class Metric:
    """One number, or one histogram, with its labels.

    name    by Prometheus' conventions: base units (seconds, bytes), a counter's ends in _total
    kind    "counter", "gauge" or "histogram"
    about   what it is, in a sentence
    value   a number; of a histogram `Latencies`
    """

    name: str
    kind: str
    about: str
    value: float | Counts
    labels: Mapping[str, str]


def metrics_of(
    prefix: str, labels: Mapping[str, str], *told: tuple[str, str, str, float | Counts | None]
) -> tuple[Metric, ...]:
    """Metrics that share the beginning of their names, and their labels, from (name, kind, about, value); None is not told."""
    return tuple(
        Metric(f"{prefix}_{name}", kind, about, value, labels) for name, kind, about, value in told if value is not None
    )


class HasMetrics(Protocol):
    """SessionStats, GeneratorStats, or whatever else counts."""

    def metrics(self) -> tuple[Metric, ...]: ...


def prometheus_text(*sources: HasMetrics | Metric, labels: Mapping[str, str] | None = None) -> str:
    """All metrics of `session.stats()`, `generator.stats()` and single Metrics, as one text; `labels` are added to each.

    To be answered as text/plain; version=0.0.4. Raises UsageError for a name or label that Prometheus does not take, for one
    metric under two kinds, and for one that is given twice with the same labels.
    """
    families: dict[str, list[Metric]] = {}
    for source in sources:
        for metric in (source,) if isinstance(source, Metric) else source.metrics():
            families.setdefault(metric.name, []).append(metric)
    return "".join(f"{line}\n" for found in families.values() for line in _family(found, labels or {}))


def _family(metrics: list[Metric], further: Mapping[str, str]) -> Iterator[str]:
    first = metrics[0]
    if not _NAME.fullmatch(first.name):
        raise UsageError(f'metric "{printable(first.name)}": expected a name of letters, digits and _')
    yield f"# HELP {first.name} {prometheus_help(first.about)}"
    yield f"# TYPE {first.name} {first.kind}"
    seen = set()
    for metric in metrics:
        labels = {**metric.labels, **further}
        if metric.kind != first.kind:
            raise UsageError(
                f"metric {first.name}: got {printable(metric.kind)} and {printable(first.kind)}, expected one kind"
            )
        key = tuple(sorted(labels.items()))
        if key in seen:
            raise UsageError(
                f"metric {first.name}: given twice with the same labels; give each source a label of its own"
            )
        seen.add(key)
        yield from _samples(metric, labels)


def _samples(metric: Metric, labels: Mapping[str, str]) -> Iterator[str]:
    if isinstance(metric.value, int | float):
        yield f"{metric.name}{_braces(labels)} {_number(metric.value)}"
        return
    for bound, count in metric.value.cumulative():
        yield f"{metric.name}_bucket{_braces({**labels, 'le': _number(bound)})} {count}"
    yield f"{metric.name}_sum{_braces(labels)} {_number(metric.value.seconds)}"
    yield f"{metric.name}_count{_braces(labels)} {metric.value.count}"


def _braces(labels: Mapping[str, str]) -> str:
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise UsageError(f'label "{printable(name)}": expected a name of letters, digits and _, not begun with __')
    inside = ",".join(f'{name}="{prometheus_label(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"
