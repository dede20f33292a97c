"""What `bench --remember` stored is shown, of every machine, and nothing that is not of its form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attn_export.report_page.latency import told
from attn_runtime.bundle import Bundle
from attn_runtime.session import measured, remember_curve
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.pages.page_tags import PageTags


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.open(make_valid_bundle(tmp_path / "gemm.attn"))


def stored(bundle: Bundle, backend: str, ms: float) -> Path:
    points = [{"batch": n, "p50_ms": n * ms, "p99_ms": 2 * n * ms, "throughput": 1000 / ms} for n in (1, 8)]
    return remember_curve(bundle, "model", "fp32", 3, backend, "cpu", "bound", points)


def test_nothing_was_measured(bundle: Bundle) -> None:
    assert told(bundle) == ""


def test_curves_of_every_machine_and_backend(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend, ms in (("ort", 1.0), ("openvino", 0.5)):
        stored(bundle, backend, ms)
    other = measured.machine() | {"cores": 64}
    monkeypatch.setattr(measured, "machine", lambda: other)
    stored(bundle, "ort", 0.25)
    page = told(bundle)
    assert (
        page.count("<polyline") == 3 and "ort: 8 at 8" in page and "openvino: 4 at 8" in page and "ort: 2 at 8" in page
    )
    text = PageTags(page).text
    assert "model, fp32, 3 threads" in text and "64 cores" in text and "1000.0 rows" in text and "16.000" in text


def test_a_name_stays_text_and_what_is_not_of_that_form_draws_nothing(bundle: Bundle) -> None:
    file = stored(bundle, "ort", 1.0)
    content = json.loads(file.read_text())
    content["curves"][0]["hardware"] = "<script>alert(1)</script>"
    file.write_text(json.dumps(content))
    assert "<script" not in told(bundle) and "&lt;script" in told(bundle)
    content["curves"][0]["results"] = [{"batch": True, "p50_ms": 0}, {"batch": 0, "p50_ms": 1}]
    file.write_text(json.dumps(content))
    assert told(bundle) == ""
    file.write_text("{")
    assert told(bundle) == ""
