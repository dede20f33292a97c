"""The text format, held against the parser of Prometheus' own client."""

from __future__ import annotations

from typing import Any

import pytest
from attn_runtime import Metric, UsageError, prometheus_text
from attn_runtime.stats import Histogram
from prometheus_client.parser import text_string_to_metric_families


def parsed(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def counter(value: float = 3, name: str = "attn_rows_total", **labels: str) -> Metric:
    return Metric(name, "counter", "Rows.", value, labels)


def test_a_histogram_is_one_to_its_parser() -> None:
    histogram = Histogram()
    histogram.add([0.002, 0.004, 5000.0])
    text = prometheus_text(Metric("attn_call_seconds", "histogram", "Time.", histogram.read(), {"backend": "ort"}))
    family = parsed(text)["attn_call_seconds"]
    assert (family.type, family.documentation) == ("histogram", "Time.")
    values = {(s.name, s.labels.get("le")): s.value for s in family.samples}
    assert all(sample.labels["backend"] == "ort" for sample in family.samples)
    assert values["attn_call_seconds_sum", None] == 5000.006 and values["attn_call_seconds_count", None] == 3
    assert values["attn_call_seconds_bucket", "+Inf"] == 3 and values["attn_call_seconds_bucket", "0.01"] == 2


@pytest.mark.parametrize("value", ['a "b"', "back\\slash", "two\nlines", "\\n", "é", "tab\t", "{a=b}", ""])
def test_any_text_is_a_labels_value(value: str) -> None:
    (sample,) = parsed(prometheus_text(counter(graph=value), labels={"host": "x"}))["attn_rows"].samples
    assert sample.labels == {"graph": value, "host": "x"} and sample.value == 3


def test_what_a_terminal_acts_on_is_no_part_of_it() -> None:
    assert "\x1b" not in prometheus_text(counter(graph="\x1b]0;x\x07"))


def test_one_metric_of_several_sources_is_one_family() -> None:
    text = prometheus_text(counter(1, graph="a"), counter(2.5, "attn_other_total"), counter(float("inf"), graph="b"))
    assert text.count("# TYPE attn_rows_total") == 1
    assert [s.value for s in parsed(text)["attn_rows"].samples] == [1.0, float("inf")]


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ([counter(), counter()], "given twice"),
        ([counter(), Metric("attn_rows_total", "gauge", "", 1, {"a": "b"})], "one kind"),
        ([counter(name="attn rows")], 'metric "attn rows"'),
        ([Metric("a", "gauge", "", 1, {"le-gal": ""})], 'label "le-gal"'),
        ([Metric("a", "gauge", "", 1, {"__name__": ""})], 'label "__name__"'),
    ],
)
def test_what_prometheus_would_not_take_is_refused(metrics: list[Metric], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        prometheus_text(*metrics)
