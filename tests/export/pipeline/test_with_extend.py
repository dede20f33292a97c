"""`--with-extend`: one more graph of the same weights, proven and converted as the others, by which guesses are checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from attn_export.cli.app import cli
from attn_export.parity.against_module import verify_against
from attn_export.precision.conversion import add_precision
from attn_runtime import GenerateOptions, open_generator
from attn_runtime.bundle import Bundle
from attn_runtime.errors import UsageError
from attn_runtime.tasks import verify
from click.testing import CliRunner

SOURCE = "support.models.small_generators:lm"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    path = tmp_path_factory.mktemp("extend") / "lm.attn"
    given = ["to-onnx", SOURCE, "--config", "layers=1", "-o", path, "--with-extend", "--dim", "cache=1:8:24"]
    done = CliRunner().invoke(cli, [*map(str, given), "--sweep", "0", "--quiet"])
    assert done.exit_code == 0, done.output
    return path


def test_the_bundle_has_it_with_the_weights_of_the_others(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert list(opened.graphs) == ["first", "step", "extend"]
    assert json.loads((bundle / "assets" / "generation.json").read_text())["extend"] == "extend"
    assert {g.precisions["fp32"].data for g in opened.graphs.values()} == {(bundle / "weights.data",)}
    dims = {d.name: (d.min, d.max) for spec in opened.graph("extend").inputs for d in spec.dims if d.dynamic}
    assert dims["count"] == (1, 16) and dims["cache"] == (16, 24), (
        "its cache is as large as that of the step was asked to be"
    )
    assert {case.name for case in opened.graph("extend").cases(None)} >= {"min", "opt", "max"}


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.full)])
def test_it_is_verified_and_checks_guesses_in_each_precision(bundle: Path, precision: str, tmp_path: Path) -> None:
    if precision != "fp32":
        bundle = shutil.copytree(bundle, tmp_path / "lm.attn")
        add_precision(bundle, precision)
    assert verify(bundle, device="cpu", precision=precision).passed
    with open_generator(bundle, "cpu", precision=precision, threads=1) as generator:
        inputs = {"tokens": np.resize(np.array([5, 9, 7], np.int64), (1, 9))}
        found = generator.generate(inputs, GenerateOptions(stop=(), lookup=9))
        assert found.row(0) == generator.generate(inputs, GenerateOptions(stop=())).row(0)
        assert found.drafted


def test_it_is_held_against_its_source(bundle: Path) -> None:
    checks = verify_against(bundle, SOURCE, config=["layers=1"], seed=1, device="cpu", graph="extend")
    assert checks and all(check.difference.passed for check in checks)


def test_what_does_not_write_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["to-onnx", "vit", "-o", str(tmp_path / "v.attn"), "--with-extend"])
    assert isinstance(done.exception, UsageError) and 'vit can\'t have a graph "extend"' in str(done.exception)
