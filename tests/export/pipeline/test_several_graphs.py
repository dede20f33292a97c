"""A model of several graphs: one bundle, every graph with inputs, golden cases and stages of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attn_export.cli.app import cli as attn_export_cli
from attn_export.parity.against_module import verify_against
from attn_export.source.resolve import load_source
from attn_runtime.bundle.reader import Bundle
from attn_runtime.cli.app import cli as attn_run
from attn_runtime.errors import FusionError, UsageError
from attn_runtime.tasks.info import describe, info_lines
from attn_runtime.tasks.verification import verify
from attn_runtime.trt import library
from click.testing import CliRunner
from support.command_lines.json_answers import result_of

#: Shares the exported bundle with the other files about generators.


def test_every_graph_has_its_files_cases_and_stages(small_translator: Path) -> None:
    bundle = Bundle.open(small_translator)
    assert list(bundle.graphs) == ["encoder", "first", "step"]
    for name, graph in bundle.graphs.items():
        assert graph.precisions["fp32"].file.name == f"{name}.onnx"
        told = bundle.manifest["graphs"][name]
        assert [s["name"] for s in told["stages"]][:2] == ["capture", "simplify"]
        for case in told["golden"]:
            assert case["inputs"] == f"golden/{name}.{case['case']}.inputs.safetensors"
    assert {c["case"] for c in bundle.manifest["graphs"]["step"]["golden"]} >= {"cache-min", "cache-max", "batch-min"}
    report = verify(small_translator)
    assert {c.graph for c in report.cases} == {"encoder", "first", "step"} and report.passed


def test_progress_says_which_graph_it_is_about(small_translator_log: str) -> None:
    lines = small_translator_log.splitlines()
    for name in ("encoder", "first", "step"):
        stages = [line.split()[0] for line in lines if f" {name}: " in line and not line.startswith(("note", "sweep"))]
        assert stages[:3] == ["reference", "capture", "check"]


def test_live_goes_through_every_graph_or_the_one_that_is_named(small_translator: Path) -> None:
    outputs = {
        c.difference.output for c in verify_against(small_translator, "support.models.small_generators:translator")
    }
    assert {"memory", "logits", "new_key_0", "cross_key_0"} <= outputs
    assert {
        c.difference.output
        for c in verify_against(small_translator, "support.models.small_generators:translator", graph="encoder")
    } == {"memory"}
    with pytest.raises(UsageError, match='no graph "encoder"'):
        verify_against(small_translator, "support.models.small_generators:lm")


def test_another_models_graph_is_told_by_its_name(small_translator: Path) -> None:
    from attn_runtime.errors import ParityError

    with pytest.raises(ParityError, match="graph encoder does not match PyTorch"):
        verify_against(small_translator, "support.models.small_generators:translator", config=["seed=4"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["-o", "t.onnx"], "has 3 graphs (encoder, first, step), and t.onnx holds one; write t.attn, or take one"),
        (["-o", "t.attn", "--input", "x:float32[3]"], "each with inputs of its own; leave --input out"),
        (["-o", "t.attn", "--output-names", "a"], "each with outputs of its own"),
        (["-o", "t.attn", "--graph", "steps"], 'no graph "steps"; did you mean step?'),
        (["-o", "t.attn", "--dim", "caches=3"], "no graph of support.models.small_generators:translator has a dim of that name"),
    ],
)  # fmt: skip
def test_what_makes_sense_for_one_graph_alone_is_refused(
    attn_export: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = attn_export("to-onnx", "support.models.small_generators:translator", *given)
    assert ran.code == 2 and told in ran.err, ran.err
    assert not list(tmp_path.iterdir())


def test_a_dim_holds_in_every_graph_that_has_it() -> None:
    loaded = load_source("support.models.small_generators:translator", dims=["source=2:3:4", "cache=6"])
    ranges = {
        (g.name, d.name): (d.min, d.opt, d.max) for g in loaded.graphs for i in g.inputs for d in i.dims if d.name
    }
    assert {ranges[name, "source"] for name in ("encoder", "first", "step")} == {(2, 3, 4)}
    assert ranges["step", "cache"] == (6, 6, 6) and ranges["first", "prompt"] == (1, 4, 12)


def test_views_share_the_weights_and_stand_in_eval_mode() -> None:
    loaded = load_source("support.models.small_generators:translator", config=["layers=1"])
    for graph in loaded.graphs:
        assert not graph.module.training
        assert {id(p) for p in graph.module.parameters()} == {id(p) for p in loaded.module.parameters()}


def test_one_graph_of_several_is_a_plain_file_too(attn_export: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "step.onnx"
    ran = attn_export(
        "to-onnx",
        "support.models.small_generators:lm",
        "--graph",
        "step",
        "--config",
        "layers=1",
        "-o",
        out,
        "--json",
        "--quiet",
    )
    assert ran.code == 0, ran.err
    assert result_of(ran.out)["precisions"]["fp32"]["file"] == "step.onnx"
    assert verify_against(out, "support.models.small_generators:lm", config=["layers=1"], graph="step")
    assert [p.name for p in tmp_path.iterdir()] == ["step.onnx"]


needs_rtx = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))


@needs_rtx
@pytest.mark.parametrize("command", [pytest.param("attn-run", marks=pytest.mark.full), "attn-export"])
def test_engines_of_all_graphs_are_built_and_one_that_fails_ends_it_badly(
    small_translator: Path, tmp_path: Path, command: str
) -> None:
    bundle = shutil.copytree(small_translator, tmp_path / "t.attn")
    cli, name = {"attn-run": (attn_run, "compile"), "attn-export": (attn_export_cli, "to-trt")}[command]
    ran = CliRunner().invoke(cli, [name, str(bundle), "--json", "--require-fused", "--quiet"])
    assert isinstance(ran.exception, FusionError), ran.output
    encoder, first, step = result_of(ran.stdout)
    assert [t["graph"] for t in (encoder, first, step)] == ["encoder", "first", "step"]
    assert Path(encoder["engine"]).is_file(), "it has no attention, and is built although the others fail"
    assert [t["exit_code"] for t in (first, step)] == [6, 6] and "attention" in step["error"]

    ran = CliRunner().invoke(cli, [name, str(bundle), "--graph", "encoder"])
    assert ran.exit_code == 0 and ran.stdout.count("audit") == 1 and "graph " not in ran.stdout
    ran = CliRunner().invoke(cli, [name, str(bundle), "--optShapes", "source:1x3"])
    assert isinstance(ran.exception, UsageError) and "--optShapes: the bundle has the graphs" in str(ran.exception)


def test_what_people_see_of_it(small_translator: Path, attn_export: Callable[..., Any]) -> None:
    told = "\n".join(info_lines(describe(small_translator)))
    assert told.count("\ngraph ") == 3 and "weights.data" in told
    assert "writes beams: 4 beams, length penalty 1, at most 23 tokens" in told
    seen = attn_export("inspect", small_translator).out
    assert "step.onnx (step, fp32): 4 attention blocks" in seen and "first.onnx (first, fp32)" in seen
    ran = attn_export("bisect", small_translator, "--against", "fp16")
    assert ran.code == 8 and "has 3 graphs; name one of encoder, first, step" in ran.err
