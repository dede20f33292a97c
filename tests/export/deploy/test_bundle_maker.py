"""A bundle with one precision of another: it holds, opens in it, and has nothing that it does not need."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from attn_export.cli.app import cli
from attn_export.deploy import bundle_maker
from attn_export.deploy.bundle_maker import deploy_bundle
from attn_export.precision.bundle_files import write_precision
from attn_export.precision.half.typed_graph import TypedGraph
from attn_runtime.backends import native
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError, OutputError, UsageError
from attn_runtime.generate.verify import replay
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.quantised.two_graphs import BIG, DOWN, OWN, rounded, stored, two_graphs


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """fp32, cut and cut-trt, which have DOWN and OWN in common."""
    path = two_graphs(tmp_path / "two.attn")
    for name, bits in (("cut", 6), ("cut-trt", 5)):
        write_precision_of(path, tmp_path, name, bits)
    return path


def write_precision_of(path: Path, work: Path, name: str, bits: int) -> None:
    write_precision(path, Bundle.open(path), name, rounded(path, work, name, bits=bits))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_one_precision_with_its_weights_in_one_file(bundle: Path, tmp_path: Path) -> None:
    before = snapshot(bundle)
    done = deploy_bundle(bundle, tmp_path / "cut.attn", only="cut")
    again = ["deploy", "bundle", str(bundle), "--only", "cut", "-o", str(tmp_path / "cut.attn"), "--json"]
    assert result_of(CliRunner().invoke(cli, again).output) == done.to_json()
    assert snapshot(bundle) == before
    made = Bundle.open(tmp_path / "cut.attn")
    assert done.precisions == ("cut",) and done.left_out == ("fp32", "cut-trt")
    assert {name for name in made.manifest["files"] if not name.startswith(("golden", "assets"))} == {
        "left.cut.onnx", "right.cut.onnx", "weights.data"
    }  # fmt: skip
    assert BIG.nbytes + DOWN.nbytes + OWN.nbytes <= (made.path / "weights.data").stat().st_size < BIG.nbytes + 8192
    assert {place for place, _ in stored(made.path / "left.cut.onnx").values()} == {"weights.data"}
    assert done.size == sum(p.stat().st_size for p in made.path.rglob("*") if p.is_file() and p.name != "manifest.json")
    assert done.size < done.size_before and json.loads(json.dumps(done.to_json()))["bytes"] == done.size
    for graph in made.graphs.values():
        assert graph.default_precision == "cut" and graph.golden
        told = Bundle.open(bundle).manifest["graphs"][graph.name]["stages"]
        assert made.manifest["graphs"][graph.name]["stages"] == [s for s in told if s["precision"] in ("fp32", "cut")]
    assert made.asset("words") == ["a", "b"]


@pytest.mark.parametrize("backend", ["ort", "native"])
def test_it_holds_and_opens_in_that_precision(bundle: Path, tmp_path: Path, backend: str) -> None:
    if backend == "native" and (problem := native.why_unavailable()):
        pytest.skip(problem)
    deploy_bundle(bundle, tmp_path / "cut.attn", only="cut")
    report = verify(tmp_path / "cut.attn", backend, "cpu")
    assert report.passed and len(report.cases) == 2
    x = np.random.default_rng(2).standard_normal((3, 96)).astype(np.float32)
    with open_session(tmp_path / "cut.attn", "cpu", backend, graph="left") as session:
        np.testing.assert_allclose(
            session.run({"x": x})["y"], x @ (np.round(BIG * 64) / 64) @ DOWN, rtol=1e-3, atol=1e-3
        )


def test_with_the_form_for_tensorrt(bundle: Path, tmp_path: Path) -> None:
    done = deploy_bundle(bundle, tmp_path / "cut.attn", only="cut", tensorrt=True)
    made = Bundle.open(tmp_path / "cut.attn")
    assert done.precisions == ("cut", "cut-trt") and done.left_out == ("fp32",)
    for graph in made.graphs.values():
        assert graph.default_precision == "cut" and graph.precision_for("cut", "tensorrt")[0] == "cut-trt"
    assert (made.path / "weights.data").stat().st_size < 2 * BIG.nbytes + 3 * 4096
    assert {place for place, _ in stored(made.path / "right.cut-trt.onnx").values()} == {"weights.data"}


def test_a_graph_with_its_weights_inside_is_copied_as_it_is(tmp_path: Path) -> None:
    bundle = make_valid_bundle(tmp_path / "gemm.attn")
    (bundle / "engines").mkdir()
    (bundle / "engines" / "old.engine").write_bytes(b"of the old files")
    deploy_bundle(bundle, tmp_path / "one.attn", only="fp32")
    made = Bundle.open(tmp_path / "one.attn")
    assert (made.path / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert not list(made.path.glob("*.data")) and not (made.path / "engines").exists()
    deploy_bundle(bundle, tmp_path / "one.attn", only="ext")  # over one of ours
    assert list(Bundle.open(tmp_path / "one.attn").graph().precisions) == ["ext"]
    assert verify(tmp_path / "one.attn", "ort", "cpu").passed


@pytest.mark.parametrize(
    ("only", "tensorrt", "output", "error", "says"),
    [
        ("cutt", False, "o.attn", UsageError, 'no precision "cutt"; did you mean cut.*available: fp32, cut, cut-trt'),
        ("int8", False, "o.attn", UsageError, "attn-export convert .*two.attn --precision int8 adds it"),
        ("cut-trt", False, "o.attn", UsageError, "take --only cut --tensorrt"),
        ("fp32", True, "o.attn", UsageError, "fp32 of bundle two.attn has no form of its own for TensorRT"),
        ("cut", False, "two.attn", OutputError, "is the bundle itself"),
        ("cut", False, "link.attn", OutputError, "is the bundle itself"),
        ("cut", False, "o.onnx", OutputError, "expected a name NAME.attn"),
        ("cut", False, "mine.attn", OutputError, "is not a bundle"),
        ("cut", False, "no/o.attn", OutputError, "does not exist"),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_is_written(
    bundle: Path, tmp_path: Path, only: str, tensorrt: bool, output: str, error: type[Exception], says: str
) -> None:
    (tmp_path / "mine.attn").mkdir()
    (tmp_path / "mine.attn" / "notes.txt").write_text("mine")
    (tmp_path / "link.attn").symlink_to(bundle)
    before = snapshot(tmp_path)
    with pytest.raises(error, match=says) as caught:
        deploy_bundle(bundle, tmp_path / output, only=only, tensorrt=tensorrt)
    assert "\n" not in str(caught.value) and snapshot(tmp_path) == before


def test_what_can_t_be_read_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    with (bundle / "weights.cut.data").open("r+b") as file:
        file.write(b"\xff\xff")
    with pytest.raises(BundleError, match=r"sha256 of weights\.cut\.data"):
        deploy_bundle(bundle, tmp_path / "o.attn", only="cut")
    assert not (tmp_path / "o.attn").exists() and not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_what_was_there(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy_bundle(bundle, tmp_path / "o.attn", only="fp32")
    before = snapshot(tmp_path)

    def full(graphs: Sequence[Path], data: Path, source: Path) -> None:
        data.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device", str(data))

    monkeypatch.setattr(bundle_maker, "share", full)
    with pytest.raises(OutputError, match="No space left"):
        deploy_bundle(bundle, tmp_path / "o.attn", only="cut")
    assert snapshot(tmp_path) == before


def test_force_replaces_what_is_there(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.attn").mkdir()
    (tmp_path / "mine.attn" / "notes.txt").write_text("mine")
    deploy_bundle(bundle, tmp_path / "mine.attn", only="cut", force=True)
    assert verify(tmp_path / "mine.attn", "ort", "cpu").passed and not (tmp_path / "mine.attn" / "notes.txt").exists()


def test_a_generator_writes_what_it_wrote(small_translator: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(small_translator, tmp_path / "t.attn")
    opened = Bundle.open(bundle)
    made = {}
    for name, graph in opened.graphs.items():
        fp32 = graph.precisions["fp32"]
        work = tmp_path / name
        work.mkdir()
        for file in (fp32.file, *fp32.data):
            shutil.copy(file, work)
        made[name] = [
            TypedGraph("twin", work / fp32.file.name, "fp32", name, (), 0.0, (), fp32.tolerance, (), False, 1, 1, 1.0)
        ]
    write_precision(bundle, opened, "twin", made)
    assert {path.name for path in bundle.glob("*.data")} == {"weights.data"}
    deploy_bundle(bundle, tmp_path / "alone.attn", only="twin")
    alone = Bundle.open(tmp_path / "alone.attn")
    assert all(list(graph.precisions) == ["twin"] for graph in alone.graphs.values())
    assert (alone.path / "weights.data").stat().st_size == (bundle / "weights.data").stat().st_size
    replayed = replay(alone)
    assert replayed and all(one.passed and one.same for one in replayed)
