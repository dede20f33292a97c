"""What `bench --remember` stored is shown, of every machine, and whatever further fields there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attn_export.report_page.latency import told
from attn_runtime.bundle import Bundle
from attn_runtime.session import remember
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.pages.page_tags import PageTags


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.open(make_valid_bundle(tmp_path / "gemm.attn"))


def stored(bundle: Bundle, name: str, content: Any) -> None:
    (bundle.folder / "engines").mkdir(exist_ok=True)
    (bundle.folder / "engines" / f"measured-{name}.json").write_text(json.dumps(content))


def test_nothing_was_measured(bundle: Bundle) -> None:
    assert told(bundle) == ""


def test_what_remember_writes_is_shown(bundle: Bundle) -> None:
    remember(bundle, None, "fp32", 3, {"ort": 2.0, "openvino": 1.5})
    text = PageTags(told(bundle)).text
    assert "model, fp32, 3 threads" in text and text.index("openvino1.500") < text.index("ort2.000")


TIMES = {"ort": 1, "trt": 0.5}  # milliseconds of each row of a batch


@pytest.mark.parametrize(
    "entry",
    [
        {"results": [{"backend": name, "batch": n, "p50_ms": n * ms} for name, ms in TIMES.items() for n in (1, 8)]},
        {"backends": {name: {"sizes": [{"batch": n, "p50_ms": n * ms} for n in (1, 8)]} for name, ms in TIMES.items()}},
    ],
)
def test_curves_are_drawn_where_there_are_sizes(bundle: Bundle, entry: dict[str, Any]) -> None:
    machine, named = {"gpu": "H200", "cpu": "EPYC"}, {"graph": "model", "precision": "fp16"}
    stored(bundle, "a", {"machine": machine, "graphs": [named | entry]})
    page = told(bundle)
    assert page.count("<polyline") == 2 and "ort: 8 at 8" in page and "trt: 4 at 8" in page and "H200, EPYC" in page


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"graphs": 3}, {"graphs": [1, None]}, {"machine": [], "graphs": [{"milliseconds": {"a": "x", "b": -1}}]},
     {"graphs": [{"milliseconds": 3, "results": [{"batch": True, "p50_ms": 0}, {"batch": 0, "p50_ms": 1}]}]}],
)  # fmt: skip
def test_what_is_not_of_that_form_draws_nothing(bundle: Bundle, content: Any) -> None:
    stored(bundle, "b", content)
    (bundle.folder / "engines" / "measured-c.json").write_text("{")
    (bundle.folder / "other.json").write_text(json.dumps({"graphs": [{"graph": "x", "milliseconds": {"ort": 1.0}}]}))
    (bundle.folder / "engines" / "measured-d.json").symlink_to(bundle.folder / "other.json")
    page = told(bundle)
    assert "<polyline" not in page and "<table" not in page
