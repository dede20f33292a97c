"""verify replays every golden case and can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.bundle.known_hashes import remember, sha256_of
from attn_runtime.bundle.opened_files import mark_of
from attn_runtime.errors import BundleError, ParityError, UsageError
from attn_runtime.files import Staging
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from support.graphs.make_graphs import add, off_by, rewrite_answers
from support.machines.spoilt_memory import with_other_weights


@pytest.mark.parametrize("precision", ["fp32", "ext"])
def test_every_case_is_replayed(precision: str, valid_bundle: Path) -> None:
    seen: list[str] = []
    report = verify(valid_bundle, device="cpu", precision=precision, on_case=lambda case: seen.append(case.case))
    assert seen == ["min", "opt", "max"] and report.passed
    assert [case.sizes for case in report.cases] == [{"batch": 1}, {"batch": 2}, {"batch": 4}]
    assert json.dumps(report.to_json(), allow_nan=False)


def test_a_file_with_half_borders_is_held_against_the_float32_answers(valid_bundle: Path) -> None:
    with open_session(valid_bundle, "cpu", precision="half") as session:
        assert [s.dtype for s in (*session.inputs, *session.outputs)] == ["float16", "float16"]
    report = verify(valid_bundle, device="cpu", precision="half")
    assert report.passed
    # fp16 rounds: an error of zero would mean that it was held against its own rounding
    assert all(d.max_error > 1e-5 for case in report.cases for d in case.differences)
    rewrite_answers(valid_bundle, "opt", off_by(0.2))
    with pytest.raises(ParityError, match="1 of 3"):
        verify(valid_bundle, device="cpu", precision="half")


def test_replay_knows_the_answers_of_half_borders(valid_bundle: Path) -> None:
    assert verify(valid_bundle, backend="replay", device="cpu", precision="half").passed


def test_the_file_made_for_an_engine_is_found_by_type_and_borders(valid_bundle: Path) -> None:
    graph = Bundle.open(valid_bundle).graph()
    half = graph.precisions["half"]
    assert (half.type, half.target, half.half_io) == ("fp16", "tensorrt", True)
    assert half.attention[0].label == "encoder.attention" and half.kept[0]["node"] == "norm"
    assert half.sha256 == sha256_of(half.file)
    assert graph.precision_for("fp32", "tensorrt")[0] == "fp32"
    plain = replace(half, target=None)
    twins = replace(graph, precisions={**graph.precisions, "plain": plain})
    assert twins.precision_for("plain", "tensorrt")[0] == "half"
    assert twins.precision_for("plain", "other")[0] == "plain"
    other = replace(graph, precisions={"plain": replace(plain, half_io=False), "half": half})
    assert other.precision_for("plain", "tensorrt")[0] == "plain"
    # Two precisions of one type: each has a file of its own name, or none.
    pair = {"a": plain, "b": plain, "b-trt": half}
    both = replace(graph, precisions=pair)
    assert [both.precision_for(name, "tensorrt")[0] for name in pair] == ["a", "b-trt", "b-trt"]


@pytest.mark.usefixtures("without_native")
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


@pytest.fixture
def kept(valid_bundle: Path, tmp_path: Path) -> Path:
    """A cache with the graph of the bundle in it."""
    open_session(valid_bundle, "cpu", cache=tmp_path / "kept").close()
    (folder,) = (tmp_path / "kept" / "ort").iterdir()
    return folder


@pytest.mark.parametrize("time_limit", [None, 120.0])
def test_what_is_kept_is_what_is_held(valid_bundle: Path, kept: Path, time_limit: float | None) -> None:
    cache = kept.parent.parent
    assert verify(valid_bundle, device="cpu", cache=cache).passed
    with_other_weights(kept, vouched=True)
    with pytest.raises(ParityError, match="3 of 3"):
        verify(valid_bundle, device="cpu", cache=cache, time_limit=time_limit)
    assert verify(valid_bundle, device="cpu").passed


@pytest.mark.usefixtures("without_native")
def test_what_is_not_kept_yet_is_before_it_is_held(
    valid_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that keeps a graph runs the one that it was given."""
    published = Staging.publish

    def spoil(staging: Staging) -> None:
        with_other_weights(staging.new / staging.target.name, vouched=True)
        published(staging)

    monkeypatch.setattr(Staging, "publish", spoil)
    with pytest.raises(ParityError, match="3 of 3"):
        verify(valid_bundle, device="cpu", cache=tmp_path / "kept")


@pytest.mark.parametrize("backend", ["ort", None])  # None: C++ where it was built
def test_nothing_that_is_remembered_of_it_is_believed(
    backend: str | None, valid_bundle: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    with_other_weights(kept, vouched=False)
    told = [line.split() for line in (kept / "key").read_text().splitlines() if line.startswith("file ")]
    remember(kept, {name: (mark_of((kept / name).stat()), sha256) for _, name, _, sha256 in told})
    (case,) = (case for case in Bundle.open(valid_bundle).graph().cases() if case.name == "opt")
    cache = kept.parent.parent
    with open_session(valid_bundle, "cpu", backend, cache=cache) as session:
        assert abs(session.run(case.inputs)["y"] + case.outputs["y"]).max() < 1e-4, "it is believed, as it must not be"
    assert verify(valid_bundle, backend, "cpu", cache=cache).passed


def test_plain_file_has_nothing_to_verify_against(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain ONNX file, without golden cases"):
        verify(add(tmp_path / "add.onnx"))
