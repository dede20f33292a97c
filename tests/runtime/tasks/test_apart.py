"""verify and run with a time limit: the same answers from a process of their own, and an end to a graph that has none."""

from __future__ import annotations

import dataclasses
import json
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.bundle import sha256_of
from attn_runtime.cli.app import cli
from attn_runtime.errors import AttnError, BundleError, InputError, ParityError, StageError, UsageError
from attn_runtime.tasks import CaseResult, VerifyReport, verify
from attn_runtime.tasks.file_run import run_file
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from support.graphs.make_graphs import floats, off_by, rewrite_answers, save

LONG = 600.0  # more than any of this takes on any machine


def loops_for_ever(file: Path, batch: int | str = "batch") -> Path:
    """y[batch, 10] = 0, after (batch - 1) * 2**61 turns of a loop: at once of one row, never of two."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Add", ["sum", "one"], ["more"])],
        "body",
        [helper.make_tensor_value_info("turn", TensorProto.INT64, []),
         helper.make_tensor_value_info("going", TensorProto.BOOL, []), floats("sum", 1)],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), floats("more", 1)],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )  # fmt: skip
    constants = {"first": np.array([0]), "row": np.array([1]), "much": np.array([2**61]), "start": np.zeros(1, np.float32),
                 "shape_end": np.array([10]), "zero": np.zeros(1, np.float32)}  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["rows"]),
        helper.make_node("Sub", ["rows", "row"], ["further"]),
        helper.make_node("Mul", ["further", "much"], ["turns"]),
        helper.make_node("Loop", ["turns", "", "start"], ["end"], body=body),
        helper.make_node("Mul", ["end", "zero"], ["none"]),
        helper.make_node("Concat", ["rows", "shape_end"], ["wide"], axis=0),
        helper.make_node("Expand", ["none", "wide"], ["y"]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return save(file, nodes, [floats("x", batch, 16)], [floats("y", batch, 10)], initializers)


@pytest.fixture
def endless(valid_bundle: Path) -> Path:
    """A bundle whose first case, of one row, is answered, and whose next ones never are."""
    loops_for_ever(valid_bundle / "model.onnx")
    manifest = json.loads((valid_bundle / "manifest.json").read_text())
    size = (valid_bundle / "model.onnx").stat().st_size
    manifest["files"]["model.onnx"] = {"sha256": sha256_of(valid_bundle / "model.onnx"), "size": size}
    (valid_bundle / "manifest.json").write_text(json.dumps(manifest))
    onnx.checker.check_model(valid_bundle / "model.onnx")
    return valid_bundle


def children() -> set[str]:
    """Processes that this one started and that are there."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


def timeless(report: VerifyReport) -> str:
    cases = tuple(dataclasses.replace(case, seconds=0.0) for case in report.cases)
    return repr(dataclasses.replace(report, cases=cases))  # a NaN is no equal to itself


def test_the_report_is_the_same(valid_bundle: Path) -> None:
    rewrite_answers(valid_bundle, "opt", off_by(0.2))
    rewrite_answers(valid_bundle, "max", off_by(float("nan")))
    before, told, told_apart = children(), list[CaseResult](), list[CaseResult]()
    here = verify(valid_bundle, "ort", "cpu", check=False, on_case=told.append)
    apart = verify(valid_bundle, "ort", "cpu", check=False, on_case=told_apart.append, time_limit=LONG)
    assert timeless(here) == timeless(apart) and apart.to_json().keys() == here.to_json().keys()
    assert repr(told_apart) == repr(list(apart.cases))
    assert [(case.case, case.passed) for case in told_apart] == [("min", True), ("opt", False), ("max", False)]
    assert children() <= before


@pytest.mark.parametrize(("spoil", "kind"), [
    (lambda bundle: rewrite_answers(bundle, "opt", off_by(0.2)), ParityError),
    (lambda bundle: (bundle / "model.onnx").unlink(), BundleError),
])  # fmt: skip
def test_errors_are_the_same(valid_bundle: Path, spoil: Any, kind: type[AttnError]) -> None:
    spoil(valid_bundle)
    told = []
    for limit in (None, LONG):
        with pytest.raises(kind) as raised:
            verify(valid_bundle, device="cpu", time_limit=limit)
        told.append((raised.type, str(raised.value), raised.value.details))
    assert told[0] == told[1]


def test_a_graph_that_never_ends_is_ended(endless: Path) -> None:
    before = children()
    with pytest.raises(StageError, match=r"^verifying gemm\.attn: no answer within .* s, so it was stopped; give it"):
        verify(endless, "ort", "cpu", time_limit=0.3)
    assert children() <= before


def test_it_is_ended_too_while_it_runs(endless: Path) -> None:
    """By what on_case raises, which comes when the first case is done: the second one runs for ever then."""
    before, started = children(), list[set[str]]()

    def stop(case: CaseResult) -> None:
        started.append(children() - before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(endless, "ort", "cpu", check=False, time_limit=LONG, on_case=stop)
    ((child,),) = started
    assert not Path("/proc", child).exists() and children() <= before


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), 1e30, "5", True])
def test_limits_that_are_none(valid_bundle: Path, limit: Any) -> None:
    for call in (lambda: verify(valid_bundle, time_limit=limit), lambda: run_file(valid_bundle, "x", time_limit=limit)):
        with pytest.raises(UsageError, match=r"time limit: got .*, expected seconds"):
            call()


def test_a_run_answers_the_same(valid_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    np.savez(tmp_path / "x.npz", x=np.arange(32, dtype=np.float32).reshape(2, 16))
    options: dict[str, Any] = {"backend": "ort", "device": "cpu", "top": 3}
    here = run_file(valid_bundle, tmp_path / "x.npz", **options)
    apart = run_file(valid_bundle, tmp_path / "x.npz", **options, output=tmp_path / "y.npz", time_limit=LONG)
    np.testing.assert_array_equal(here.outputs["y"], apart.outputs["y"])
    assert apart.top is not None
    same = {"outputs": {}, "seconds": 0.0}
    assert dataclasses.replace(here, **same) == dataclasses.replace(apart, **same)
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_array_equal(written["y"], here.outputs["y"])
    with pytest.raises(InputError, match="there is no such file"):
        run_file(valid_bundle, tmp_path / "no.npz", **options, time_limit=LONG)
    with (tmp_path / "x.npz").open("rb") as piped, monkeypatch.context() as patched:
        patched.setattr("sys.stdin", TextIOWrapper(BytesIO(piped.read())))
        from_stdin = run_file(valid_bundle, "-", **options, time_limit=LONG)
    np.testing.assert_array_equal(here.outputs["y"], from_stdin.outputs["y"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gemm.attn", "x.npz", "y.npz"]


def test_the_commands(tmp_path: Path) -> None:
    plain = loops_for_ever(tmp_path / "loop\x1b[31m.onnx")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 16), np.float32))
    before = children()
    with pytest.raises(AttnError) as raised:
        CliRunner().invoke(
            cli, ["run", str(plain), str(tmp_path / "x.npz"), "--time-limit", "0.3"], catch_exceptions=False
        )
    assert raised.value.exit_code == 12 and "\x1b" not in str(raised.value) and children() <= before
    for command in ("run", "verify"):
        assert "--time-limit" in CliRunner().invoke(cli, [command, "--help"]).stdout
