"""verify replays every golden case and can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attn_runtime.errors import BundleError, ParityError, UsageError
from attn_runtime.verify import verify
from make_graphs import add, off_by, rewrite_answers


@pytest.mark.parametrize("precision", ["fp32", "ext"])
def test_every_case_is_replayed(precision: str, valid_bundle: Path) -> None:
    seen: list[str] = []
    report = verify(valid_bundle, device="cpu", precision=precision, on_case=lambda case: seen.append(case.case))
    assert seen == ["min", "opt", "max"] and report.passed
    assert [case.sizes for case in report.cases] == [{"batch": 1}, {"batch": 2}, {"batch": 4}]
    assert json.dumps(report.to_json(), allow_nan=False)


def test_difference_beyond_the_tolerance_is_a_parity_error(valid_bundle: Path) -> None:
    rewrite_answers(valid_bundle, "opt", off_by(1e-3))
    with pytest.raises(ParityError, match=r"1 of 3 golden cases do not match on ort \(cpu\): opt") as caught:
        verify(valid_bundle, device="cpu")
    assert caught.value.exit_code == 4
    head, first = caught.value.details.splitlines()[:2]
    assert head.split() == ["case", "output", "index", "expected", "got", "|error|", "allowed"]
    assert first.startswith("opt   y       [1, 7]") and "0.001" in first


def test_difference_within_the_tolerance_passes(valid_bundle: Path) -> None:
    rewrite_answers(valid_bundle, "opt", off_by(1e-5))
    assert verify(valid_bundle, device="cpu").passed


def test_nan_in_the_answers_is_a_difference(valid_bundle: Path) -> None:
    rewrite_answers(valid_bundle, "max", off_by(float("nan")))
    report = verify(valid_bundle, device="cpu", check=False)
    assert not report.passed and [case.passed for case in report.cases] == [True, True, False]
    assert json.dumps(report.to_json(), allow_nan=False)
    with pytest.raises(ParityError, match="max"):
        report.require()


def test_nothing_to_compare_is_no_success(valid_bundle: Path) -> None:
    manifest = json.loads((valid_bundle / "manifest.json").read_text())
    manifest["graphs"]["model"]["golden"] = []
    (valid_bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="golden"):
        verify(valid_bundle, device="cpu")


def test_plain_file_has_nothing_to_verify_against(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain ONNX file, without golden cases"):
        verify(add(tmp_path / "add.onnx"))
