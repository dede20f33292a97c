"""Recorded errors over their limits: by stage of two bundles, by case of two precisions."""

from __future__ import annotations

from typing import Any

from attn_export.difference.recorded_errors import RecordedErrors, ratios_of


def stage(name: str, precision: str, **errors: float | None) -> dict[str, Any]:
    checks = [{"case": case, "output": "y", "max_error": error, "limit": 0.5} for case, error in errors.items()]
    return {"name": name, "precision": precision, "checks": checks}


A = ratios_of({"stages": [stage("capture", "fp32", min=0.5, max=0.1), stage("simplify", "fp32", min=0.1, max=0.2)]})
B = ratios_of({"stages": [stage("capture", "fp32", min=0.5, max=0.1), stage("int8", "int8", min=0.4, max=None)]})


def test_the_worst_case_of_each_stage() -> None:
    found = RecordedErrors(A, B, ("fp32", "fp32")).section()
    assert [(c.what, c.a, c.b) for c in found.changes] == [
        ("simplify (fp32)", "0.4 at max", None), ("int8 (int8)", None, "inf at max"),
    ]  # fmt: skip
    assert found.same == 1


def test_two_precisions_after_the_last_stage_of_each() -> None:
    found = RecordedErrors(A, B, ("fp32", "int8"))
    assert found.of_cases(0) == {"min": 0.2, "max": 0.4} and found.of_cases(1) == {"min": 0.8, "max": float("inf")}
    assert [(c.what, c.a, c.b) for c in found.section().changes] == [("min", "0.2", "0.8"), ("max", "0.4", "inf")]
    assert found.to_json()[-1]["b"] is None and found.to_json()[0]["a"] == 1.0


def test_a_limit_of_zero() -> None:
    rows = [{"case": str(error), "output": "y", "max_error": error, "limit": 0.0} for error in (0.0, 1.0)]
    found = ratios_of({"stages": [{"name": "capture", "precision": "fp32", "checks": rows}]})
    assert list(found.values()) == [0.0, float("inf")]
