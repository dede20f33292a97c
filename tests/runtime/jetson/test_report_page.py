"""The report of a setup is one page of the same tags, whatever the names in it are."""

from __future__ import annotations

from typing import Any

import pytest
from attn_runtime.jetson.report_page import page
from support.checks.foreign_names import HARMLESS, HOSTILE, acted_on
from support.pages.page_tags import check_sealed


def report(name: str, passed: bool) -> dict[str, Any]:
    """A report with `name` wherever it holds text that is not its own."""
    output = {"output": name, "passed": True, "max_error": 0.5, "limit": 1.0, "problem": name}
    case = {"graph": name, "case": name, "sizes": {name: 2}, "outputs": [output], "passed": True}
    told = {"cases": [case], "notes": [name], "generation": []}
    built = {"state": "built", "graph": name, "precision": name, "counts": {name: 1}, "typing": "strong", "size": 1,
             "attention": {"blocks": 1, "fused": 1}, "scratch": None, "build_seconds": 1.0, "notes": [name],
             "tries": [{"typing": "strong", "error": name}]}  # fmt: skip
    failed = {"state": "failed", "graph": name, "precision": name, "error": name, "tries": []}
    size = {"p50_ms": 1.0, "p99_ms": 2.0, "batch": 1, "throughput": 1.0, "peak_memory": 1}
    bench = {"graph": name, "precision": name}
    return {
        "model": name, "board": name, "jetpack": name, "l4t": name, "device": "cuda", "started": name, "passed": passed,
        "error": name, "checks": [{"state": "ok", "name": name, "told": name}], "builds": [built, failed],
        "verified": [{"report": told, "state": "passed", "precision": name, "error": name}],
        "benches": [{**bench, "report": {"results": [size]}}, {**bench, "report": None, "error": name}],
        "made_for": {"board": name, "jetpack": name, "made_by": name, "notes": [name]}, "setup_by": name, "seconds": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("passed", [True, False])
def test_a_name_is_text(passed: bool) -> None:
    plain = check_sealed(page(report("name", passed)))
    assert plain.text.count("name") > 30
    for name in (*HOSTILE, *HARMLESS):
        written = page(report(name, passed))
        read = check_sealed(written)
        assert read.tags == plain.tags and not acted_on(written)
        assert name in read.text or name not in (*HARMLESS, *HOSTILE[5:-1])
