"""`attn-export inspect`, on a bundle and a file with real TensorRT-RTX engines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export import export
from attn_export.cli.app import cli
from attn_export.source.resolve import load_source
from attn_runtime.cli.options import run_cli
from attn_runtime.trt import library
from onnx import TensorProto, helper, numpy_helper
from support.command_lines.json_answers import result_of

Run = Callable[..., Any]


def shell(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: cli, "attn-export", [str(a) for a in arguments])
    return int(ended.value.code or 0)


NET = """
import torch
from torch import nn


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(32, 96)

    def forward(self, x):
        q, k, v = (t.unflatten(2, (2, 16)).transpose(1, 2) for t in self.project(x).chunk(3, -1))
        return ((q @ k.transpose(2, 3) / 4).softmax(-1) @ v).transpose(1, 2).flatten(2)


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(32, n) for n in (8, 8, 32))

    def forward(self, x):
        return (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1) @ self.v(x)


def build():
    torch.manual_seed(0)
    return nn.Sequential(Heads(), Wide(), nn.Linear(32, 4))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A block that fuses and one that does not as it is written; engines of fp32, fp16 and fp16 rewritten."""
    if reason := library.why_unavailable("rtx"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "inspected_net.py").write_text(NET)
    target = folder / "net.attn"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        source = load_source("inspected_net:build", inputs=["x:float32[batch,16,32]"], dims=["batch=1:2:4"])
        export(source, target)
    for options in (["--fp16"], ["--fp16", "--skip-pass", "attention"], []):
        assert shell("to-trt", target, *options, "--quiet") == 0
    yield target
    sys.modules.pop("inspected_net", None)


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "net.attn")


def test_the_table_says_what_is_fused_and_why_the_rest_is_not(bundle: Path, attn_export: Run) -> None:
    ran = attn_export("inspect", bundle)
    assert ran.code == 0
    assert ran.err == ""
    files = ran.out.split("\n\n")
    assert [f.splitlines()[0] for f in files] == [
        "model.onnx (model, fp32): 2 attention blocks",
        "model.fp16.onnx (model, fp16): 2 attention blocks",
        "model.fp16-trt.onnx (model, fp16-trt): 2 attention blocks",
    ]
    rows = [line.split() for f in files for line in f.splitlines()[2:4]]
    assert [" ".join(row) for row in rows] == [
        "0 2 16 16 x 16 none float32 no",
        "1 1 8/32 16 x 16 none float32 no",
        "0 2 16 16 x 16 none float16 fused",
        "1 1 8/32 16 x 16 none float16 no",
        "0 2 16 16 x 16 none float16 fused",
        "1 2 16 16 x 16 none float16 fused",
    ]
    assert "it computes in float32. To fuse it: --fp16 or --bf16" in files[0]
    assert "1: keys have 8 elements, values 32. To fuse it: the pass attention" in files[1]
    assert "1 of 2 blocks fused by _gemm_mha_v2" in files[1]
    assert "2 of 2 blocks fused by _gemm_mha_v2" in files[2]
    assert all("scratch " in f for f in files)


def test_json_has_all_of_it(bundle: Path, attn_export: Run) -> None:
    ran = attn_export("inspect", bundle, "--json")
    assert ran.code == 0
    told = result_of(ran.out)
    fused = {f["precision"]: [b["fused"] for b in f["engines"][0]["attention"]] for f in told["files"]}
    assert fused == {"fp32": [False, False], "fp16": [True, False], "fp16-trt": [True, True]}
    (engine,) = told["files"][2]["engines"]
    assert engine["name"] == "model.fp16-trt.rtx.engine"
    assert engine["scratch"] > 0
    assert [b["block"]["module"] for b in engine["attention"]] == ["0", "1"]


def test_require_fused_is_exit_six_only_where_something_is_not(bundle: Path, attn_export: Run) -> None:
    ran = attn_export("inspect", bundle, "--require-fused")
    assert ran.code == 6
    assert ran.err.count("\n") == 1
    assert "3 of 6 attention blocks are not fused; the first is 0 in model.fp32.rtx.engine" in ran.err
    assert "model.fp16-trt.onnx" in ran.out  # the table is there all the same
    assert attn_export("inspect", bundle, "--precision", "fp16-trt", "--require-fused").code == 0


def test_a_precision_brings_the_file_that_tensorrt_takes_of_it(bundle: Path, attn_export: Run) -> None:
    ran = attn_export("inspect", bundle, "--precision", "fp16", "--json")
    assert [f["precision"] for f in result_of(ran.out)["files"]] == ["fp16", "fp16-trt"]


def test_without_an_engine_it_says_what_builds_one(bundle: Path, attn_export: Run) -> None:
    shutil.rmtree(bundle / "engines")
    ran = attn_export("inspect", bundle)
    assert ran.code == 0
    assert f"no engine; attn-run compile {bundle} --precision fp16-trt builds one" in ran.out
    assert "no engine; one is built from fp16-trt instead" in ran.out
    for option in ("--engine", "--require-fused"):
        ran = attn_export("inspect", bundle, "--precision", "fp16", option)
        assert ran.code == 10
        assert ran.err == (
            f"error: net.attn: no engine has been built. Build one: attn-run compile {bundle} --precision fp16-trt\n"
        )


def test_an_engine_of_another_file_tells_nothing_of_this_one(bundle: Path, attn_export: Run) -> None:
    key = bundle / "engines" / "model.fp32.rtx.engine.json"
    told = json.loads(key.read_text())
    key.write_text(json.dumps({**told, "model_sha256": told["engine_sha256"]}))
    ran = attn_export("inspect", bundle, "--precision", "fp32")
    assert ran.code == 0
    assert "model.fp32.rtx.engine was built from another file than the one that is there" in ran.out
    assert "blocks fused" not in ran.out
    ran = attn_export("inspect", bundle, "--precision", "fp32", "--engine")
    assert ran.code == 10
    assert "no engine fits" in ran.err


def test_a_damaged_key_and_a_lost_engine_are_told(bundle: Path, attn_export: Run) -> None:
    engines = bundle / "engines"
    (engines / "model.fp16.rtx.engine.json").write_text("{")
    (engines / "model.fp16-trt.rtx.engine").unlink()
    ran = attn_export("inspect", bundle, "--precision", "fp16")
    assert ran.code == 0
    assert "model.fp16.rtx.engine can't be judged" in ran.out
    assert "model.fp16-trt.rtx.engine is gone" in ran.out
    assert attn_export("inspect", bundle, "--precision", "fp16", "--require-fused").code == 10


def test_a_plain_file_and_the_engine_beside_it(made: Path, tmp_path: Path, attn_export: Run) -> None:
    file = tmp_path / "plain.onnx"
    shutil.copy(made / "model.fp16-trt.onnx", file)
    ran = attn_export("inspect", file)
    assert ran.code == 0
    assert f"no engine; attn-export to-trt {file} builds one" in ran.out
    assert attn_export("to-trt", file, "--optShapes", "x:2x16x32", "--quiet").code == 0
    ran = attn_export("inspect", file, "--require-fused")
    assert ran.code == 0
    assert "2 of 2 blocks fused by _gemm_mha_v2" in ran.out
    model = onnx.load(file)
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float16(2), weight.name))
    onnx.save(model, file)
    assert "was built from another file" in attn_export("inspect", file).out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nothing.attn",), 8, "does not exist"),
        (("text.onnx",), 8, "no ONNX file"),
        (("net.attn", "--precision", "fp61"), 2, "did you mean fp16? available: fp32, fp16, fp16-trt"),
        (("net.attn", "--graph", "encoder"), 8, "encoder"),
        (("net.attn/model.onnx", "--precision", "fp16"), 2, "is one ONNX file"),
    ],
)
def test_mistakes_are_one_line(
    bundle: Path, attn_export: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.chdir(bundle.parent)
    Path("text.onnx").write_text("no model")
    ran = attn_export("inspect", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_a_model_without_attention(tmp_path: Path, attn_export: Run) -> None:
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 4]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph), tmp_path / "t.onnx")
    ran = attn_export("inspect", tmp_path / "t.onnx")
    assert ran.code == 0
    assert ran.out.startswith("t.onnx: no attention\n")
