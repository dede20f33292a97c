"""Engines of quantised precisions: made where the bundle lacks them, built, and audited for the types that were asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export import QuantiseOptions, to_trt
from attn_export.cli.app import cli
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import AttnError, UsageError
from attn_runtime.trt import library
from click.testing import CliRunner
from support.checks.once import once
from support.command_lines.json_answers import result_of
from support.quantised.small_net import export_small

pytestmark = [
    pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx"))),
    pytest.mark.usefixtures("quickly"),
]


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    exported = once(tmp_path_factory, "small-for-quantisation", export_small) / "small.attn"
    return Path(shutil.copytree(exported, tmp_path / "small.attn"))


@pytest.mark.parametrize(
    ("name", "products", "weights"),
    [("int8", "int8", None), ("fp8", "float8", None), ("int8-weights", "float16", "int8"), ("int4-weights", "float16", "int4")],
)  # fmt: skip
def test_it_is_made_built_and_audited(name: str, products: str, weights: str | None, small: Path) -> None:
    done = CliRunner().invoke(cli, ["to-trt", str(small), "--precision", name, "--leave", "head", "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    key = result_of(done.stdout)["key"]
    audit = key["audit"]
    assert key["precision"] == f"{name}-trt" and audit["offenders"] == []
    assert audit["counts"][products] >= 1 and (weights is None or audit["weights"][weights] >= 2)
    left = Bundle.open(small).manifest["graphs"]["model"]["precisions"][name]["quantised"]["left"]
    assert "asked for with --leave" in {row["reason"] for row in left if row["module"] == "head"}


def test_a_plain_file_and_samples_of_its_own(small: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(onnx.load(small / "model.onnx"), file)
    x = np.random.default_rng(3).standard_normal((6, 8, 64)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=x)
    shapes = {"min_shapes": ("x:1x4x64",), "opt_shapes": ("x:2x8x64",), "max_shapes": ("x:3x12x64",)}
    report = to_trt(file, "int8", quantise=QuantiseOptions(calibrate=str(tmp_path / "samples.npz")), **shapes)
    report.require()
    assert (tmp_path / "net.int8.onnx").exists() and list(tmp_path.glob("*.engine"))
    written = {n.op_type for n in onnx.load(tmp_path / "net.int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= written


@pytest.mark.parametrize(
    ("name", "quantise", "says"),
    [
        ("int8-dynamic", QuantiseOptions(), "int8-dynamic is for a CPU alone.*take fp8 or int4-weights or int8"),
        (None, QuantiseOptions(calibrate="x.npz"), "--calibrate: to which precision"),
        ("fp32", QuantiseOptions(leave=("head",)), "--leave: to which precision"),
        ("int8", QuantiseOptions(block=32), "--block-size 32: int8 has one scale per channel"),
        ("fp16", QuantiseOptions(max_size=9), "--max-size is for a precision that quantises"),
    ],
)
def test_options_that_make_no_sense(name: str | None, quantise: QuantiseOptions, says: str, small: Path) -> None:
    before = {p: p.read_bytes() for p in small.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=says):
        to_trt(small, name, quantise=quantise).require()
    assert {p: p.read_bytes() for p in small.rglob("*") if p.is_file()} == before


def test_choices_of_what_is_there_already_are_refused(small: Path) -> None:
    to_trt(small, "int8-weights").require()
    with pytest.raises(
        AttnError, match="--leave is for making int8-weights, which small.attn has already; leave it out"
    ):
        to_trt(small, "int8-weights", quantise=QuantiseOptions(leave=("head",)))
