"""From a bundle, or a plain graph, to an engine in the precision asked for: real conversions and real builds."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from attn_export import export
from attn_export.cli.app import cli
from attn_export.source.resolve import load_source
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import FusionError, OutputError, UsageError
from attn_runtime.trt import library
from attn_runtime.trt.engine_files import find_engine, find_engine_beside
from attn_runtime.trt.machine import this_machine
from click.testing import CliRunner, Result
from support.command_lines.json_answers import result_of

pytestmark = [
    pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx"))),
    pytest.mark.timeout(600),
]

NETS = '''
import torch
from torch import nn


class Net(nn.Module):
    """Attention of one head whose values are wider than its keys, and a layer whose sums overflow float16."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.query, self.key, self.value = nn.Linear(64, 16), nn.Linear(64, 16), nn.Linear(64, 64)
        self.loud, self.head = nn.Linear(64, 64), nn.Linear(64, 5)
        self.loud.weight.data *= 2e5

    def forward(self, x):
        weights = (self.query(x) @ self.key(x).transpose(1, 2) * 0.25).softmax(-1)
        x = x + weights @ self.value(x)
        return self.head(torch.tanh(self.loud(x) * 1e-5) + x)


def net():
    return Net()
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with net.attn, fp32 alone."""
    folder = tmp_path_factory.mktemp("to_trt")
    (folder / "trt_nets.py").write_text(NETS)
    sys.path.insert(0, str(folder))
    source = load_source("trt_nets:net", inputs=["x:float32[batch,T,64]"], dims=["batch=1:2:4", "T=4:16:32"])
    export(source, folder / "net.attn")
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "net.attn", tmp_path / "net.attn"))


def to_trt(*arguments: object, code: int | None = 0) -> Result:
    """`attn-export to-trt`; `code` None expects an AttnError, which the console script turns into its exit code."""
    done = CliRunner().invoke(cli, ["to-trt", *map(str, arguments)])
    if code is None:
        assert done.exception is not None
        return done
    assert done.exit_code == code, (done.output, done.exception)
    return done


def engine_of(bundle: Path, precision: str) -> str:
    return find_engine(Bundle.open(bundle), "model", precision, this_machine()).path.name


def test_a_missing_precision_is_made_and_its_engine_is_fused_and_audited(bundle: Path) -> None:
    done = to_trt(bundle, "--fp16", "--require-fused", "--json")
    told = result_of(done.stdout)
    precisions = Bundle.open(bundle).graph().precisions
    assert {"fp16", "fp16-trt"} <= precisions.keys()
    kept = {node["node"] for node in precisions["fp16-trt"].kept}
    assert kept and told["key"]["precision"] == "fp16-trt"
    audit = told["key"]["audit"]
    assert (
        audit["counts"]["float16"] >= 4
        and audit["counts"].get("float32", 0) == len(audit["kept"])
        and not audit["offenders"]
    )
    assert {node for layer in audit["kept"] for node in layer["nodes"]} & kept
    assert [block["fused"] for block in told["key"]["attention"]] == [True]
    assert engine_of(bundle, "fp16") == engine_of(bundle, "fp16-trt") == "model.fp16-trt.rtx.engine"

    # What is there is not made again; its own file, with the attention as it is written, on request.
    before = (bundle / "manifest.json").read_bytes()
    second = to_trt(bundle, "--fp16", "--skip-pass", "attention")
    assert (bundle / "manifest.json").read_bytes() == before and "attention  0 of 1 blocks fused" in second.stdout
    assert (bundle / "engines" / "model.fp16.rtx.engine").exists()
    assert isinstance(
        to_trt(bundle, "--fp16", "--skip-pass", "attention", "--require-fused", code=None).exception, FusionError
    )


def test_without_a_precision_the_fp32_graph_is_built(bundle: Path) -> None:
    done = to_trt(bundle)
    assert "matmul/conv in float32" in done.stdout and "0 of 1 blocks fused" in done.stdout
    assert "it computes in float32" in done.stdout
    assert engine_of(bundle, "fp32") == "model.fp32.rtx.engine" and list(Bundle.open(bundle).graph().precisions) == [
        "fp32"
    ]
    assert isinstance(to_trt(bundle, "--require-fused", code=None).exception, FusionError)


def test_half_borders(bundle: Path) -> None:
    to_trt(bundle, "--fp16", "-q")
    assert not Bundle.open(bundle).graph().precisions["fp16"].half_io
    told = result_of(to_trt(bundle, "--fp16", "--half-io", "--json").stdout)
    assert Bundle.open(bundle).graph().precisions["fp16"].half_io and told["key"]["type"] == "fp16"
    assert "takes and gives float16" in to_trt(bundle, "--fp16").output


def test_a_plain_graph(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(onnx.load(bundle / "model.onnx"), file)
    shapes = ["--minShapes", "x:1x4x64", "--optShapes", "x:2x8x64", "--maxShapes", "x:4x16x64"]
    told = result_of(to_trt(file, "--bf16", *shapes, "--json").stdout)
    typed = tmp_path / "net.bf16.onnx"
    assert typed.exists() and told["engine"] == str(tmp_path / "net.bf16.rtx.engine")
    assert told["key"]["type"] == "bf16" and told["key"]["audit"]["counts"]["bfloat16"] >= 4
    assert find_engine_beside(typed, this_machine()).key.precision == "bf16"

    # A graph that is typed already is built as it is.
    written = typed.stat().st_mtime_ns
    to_trt(typed, "--bf16", *shapes, "--saveEngine", tmp_path / "again.engine")
    assert typed.stat().st_mtime_ns == written and sorted(p.suffix for p in tmp_path.glob("*.onnx")) == [".onnx"] * 2
    assert "matmul/conv in float32" in to_trt(file, *shapes).stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--fp16", "--bf16"], "got --fp16 and --bf16; give one of them"),
        (["--half-io"], "--half-io belongs to --fp16"),
        (["--fp32", "--half-io"], "--half-io belongs to --fp16"),
        (["--fp16", "--skip-pass", "simplify"], "the passes of to-trt are: attention"),
    ],
)
def test_options_that_make_no_sense(options: list[str], says: str, bundle: Path) -> None:
    error = to_trt(bundle, *options, code=None).exception
    assert isinstance(error, UsageError) and says in str(error)
    assert not (bundle / "engines").exists() and list(Bundle.open(bundle).graph().precisions) == ["fp32"]


def test_a_file_that_no_conversion_wrote_is_not_replaced(made: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "net.onnx", tmp_path / "net.fp16.onnx"
    shutil.copy(made / "net.attn" / "model.onnx", file)
    for content in (b"mine", file.read_bytes()):
        other.write_bytes(content)
        error = to_trt(file, "--fp16", "--optShapes", "x:2x8x64", code=None).exception
        assert isinstance(error, OutputError) and "was not made by a conversion" in str(error)
        assert other.read_bytes() == content
    other.unlink()
    for _ in range(2):  # its own it replaces
        to_trt(file, "--fp16", "--optShapes", "x:2x8x64", "-q")
