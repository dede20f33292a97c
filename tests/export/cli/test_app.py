"""The command line as a shell sees it: exit codes, one line per error, nothing left behind, nothing lost."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export import load_source
from attn_models import registry
from attn_models.zoo.attentionnet import AttentionNet
from attn_runtime.bundle import Bundle
from attn_runtime.tasks.verification import verify
from support.command_lines.json_answers import result_of

Run = Callable[..., Any]
ATTENTION = ["nets:attention", "--input", "x:float32[batch,T,16]", "--dim", "batch=1:2:4", "--dim", "T=1:8:16"]


def test_the_stages_the_checks_and_the_result_and_no_chatter(project: Path, attn_export: Run) -> None:
    ran = attn_export("to-onnx", *ATTENTION, "-o", "a.attn")
    assert ran.code == 0
    assert ran.out == ""
    lines = ran.err.splitlines()
    stages = [line.split()[0] for line in lines]
    assert stages[0] == "load"
    assert stages[-1] == "write"
    assert {"reference", "capture", "check", "simplify"} <= set(stages)
    assert set(stages) <= {"load", "reference", "sweep", "capture", "check", "simplify", "write", "note"}
    assert "worst error" in ran.err


def test_json_is_the_only_thing_on_stdout_and_quiet_is_quiet(project: Path, attn_export: Run) -> None:
    ran = attn_export("to-onnx", *ATTENTION, "-o", "a.attn", "--json", "--quiet")
    assert ran.err == ""
    told = result_of(ran.out)
    assert told["worst_relative_error"] < 2e-5
    assert told["stages"][0]["name"] == "capture"


def test_verify_replays_and_compares_live_and_sees_other_weights(attention_project: Path, attn_export: Run) -> None:
    ran = attn_export("verify", "a.attn", "nets:attention", "--json")
    assert ran.code == 0
    told = result_of(ran.out)
    assert told["replay"]["passed"]
    assert all(c["passed"] for c in told["live"])
    other = attn_export("verify", "a.attn", "nets:attention", "--config", "gamma=1.001")
    assert other.code == 4
    assert "expected" in other.err
    assert attn_export("verify", "a.attn", "--config", "gamma=1").code == 2


def test_verify_holds_a_plain_onnx_of_any_maker_against_its_source(project: Path, attn_export: Run) -> None:
    sys.path.insert(0, str(project))
    module = importlib.import_module("nets").attention().eval()
    batch, length = torch.export.Dim("batch", min=1, max=99), torch.export.Dim("T", min=1, max=99)
    torch.onnx.export(
        module, (torch.randn(2, 3, 16),), "bare.onnx", dynamo=True, verbose=False,
        dynamic_shapes=({0: batch, 1: length},),
    )  # fmt: skip
    assert attn_export("verify", "bare.onnx", "nets:attention").code == 0
    assert attn_export("verify", "bare.onnx", "nets:attention", "--config", "gamma=2.0").code == 4
    assert attn_export("verify", "bare.onnx").code == 2


def test_bench_measures_and_models_lists(attention_project: Path, attn_export: Run) -> None:
    ran = attn_export("bench", "a.attn", "--batch", "1,2", "--seconds", "0.05", "--warmup", "0.01", "--json")
    assert ran.code == 0
    assert [row["batch"] for row in result_of(ran.out)["results"]] == [1, 2]


def test_a_conversion_tells_what_it_made(attention_project: Path, attn_export: Run) -> None:
    ran = attn_export("convert", "a.attn", "--fp16", "--skip-pass", "attention", "--json", "-q")
    assert ran.code == 0 and ran.err == ""
    (made,) = result_of(ran.out)["precisions"]
    assert made["precision"] == "fp16"


def test_models_are_listed_with_task_size_and_how_they_are_trained(attn_export: Run) -> None:
    listed = attn_export("models").out
    assert [line.split()[0] for line in listed.splitlines()[1:]] == registry.names()
    told = {row["name"]: row for row in result_of(attn_export("models", "--json").out)}
    assert told["attentionnet"]["task"] == "image-classification"
    assert told["attentionnet"]["parameters"] == sum(p.numel() for p in AttentionNet().parameters())
    assert told["attentionnet"]["train"] == "python -m attn_models.train attentionnet"


def test_the_weights_under_a_key_are_exported_and_verified(project: Path, attn_export: Run) -> None:
    weights = load_source("nets:attention", inputs=ATTENTION[2:3], dims=["batch=2", "T=8"]).module.state_dict()
    torch.save({"params": weights, "params_ema": {name: t * 0.5 for name, t in weights.items()}}, "w.pt")
    taken = ["--checkpoint", "w.pt", "--checkpoint-key", "params_ema"]
    assert attn_export("to-onnx", *ATTENTION, *taken, "-o", "a.onnx", "--sweep", "0").code == 0
    assert attn_export("verify", "a.onnx", "nets:attention", *taken).code == 0
    other = attn_export("verify", "a.onnx", "nets:attention", *taken[:2])
    assert other.code == 4 and "does not match PyTorch" in other.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["to-onx"], 2, "did you mean to-onnx?"),
        (["to-onnx", "attentionnt", "-o", "x.attn"], 2, "did you mean attentionnet?"),
        (["to-onnx", "attentionnet", "-o", "x.attn", "--chekpoint", "y"], 2, "--checkpoint"),
        (["to-onnx", "attentionnet", "-o", "x.attn", "--dim", "bach=1:2:3"], 2, "did you mean batch?"),
        (["to-onnx", "attentionnet", "-o", "x.attn", "--checkpoint", "absent.pt"], 9, "no such file"),
        (["to-onnx", "attentionnet", "-o", "x.zip"], 11, "NAME.attn"),
        (["to-onnx", "attentionnet", "-o", "no/such/x.attn"], 11, "does not exist"),
        (["to-onnx", "absent.pt2", "-o", "x.attn"], 9, "no such file"),
        (["to-onnx", "nets:Noisy", "-o", "x.attn", "--input", "x:float32[2]"], 3, "asked twice"),
        (["to-onnx", *ATTENTION, "-o", "x.attn", "--rtol", "0", "--atol", "0"], 4, "does not match PyTorch"),
        (["verify", "absent.attn"], 8, "absent.attn"),
    ],
)
def test_bad_input_is_one_line_and_its_own_exit_code(
    project: Path, attn_export: Run, arguments: list[str], code: int, says: str
) -> None:
    before = sorted(p.name for p in project.iterdir())
    ran = attn_export(*arguments)
    assert ran.code == code, ran.err
    error = next(line for line in ran.err.splitlines() if line.startswith("error: "))
    assert says in error
    assert "Traceback" not in ran.err
    assert sorted(p.name for p in project.iterdir() if p.name != "__pycache__") == before


def test_a_folder_that_is_no_bundle_is_kept(project: Path, attn_export: Run) -> None:
    (project / "photos.attn").mkdir()
    (project / "photos.attn/holiday.jpg").write_text("precious")
    ran = attn_export("to-onnx", *ATTENTION, "-o", "photos.attn")
    assert ran.code == 11
    assert (project / "photos.attn/holiday.jpg").read_text() == "precious"
    assert attn_export("to-onnx", *ATTENTION, "-o", "photos.attn", "--force").code == 0
    assert verify(project / "photos.attn").passed


@pytest.mark.full
def test_a_program_file_is_a_source(project: Path, attn_export: Run) -> None:
    sys.path.insert(0, str(project))
    batch = torch.export.Dim("batch", min=1, max=4)
    module = importlib.import_module("nets").attention().eval()
    program = torch.export.export(module, (torch.randn(2, 5, 16),), dynamic_shapes=({0: batch},))
    torch.export.save(program, "a.pt2")
    assert attn_export("to-onnx", "a.pt2", "-o", "a.attn").code == 0
    assert attn_export("verify", "a.attn", "a.pt2").code == 0
    assert verify(project / "a.attn").passed


@pytest.mark.full
def test_an_example_file_gives_the_shapes(project: Path, attn_export: Run) -> None:
    np.savez("x.npz", x=np.random.default_rng(0).standard_normal((2, 5, 16), dtype=np.float32))
    ran = attn_export("to-onnx", "nets:attention", "--example", "x.npz", "--dim", "x.0=1:2:4", "-o", "a.attn")
    assert ran.code == 0
    assert "example" in ran.err


def test_several_examples_are_cases_and_show_how_floats_are_drawn(project: Path, attn_export: Run) -> None:
    for name, size in {"a.npz": 2, "b.npz": 3}.items():
        np.savez(name, x=np.random.default_rng(size).uniform(0, 1, (size, 5, 16)).astype(np.float32))
    files = ["--example", "a.npz", "--example", "b.npz", "--skip-pass", "simplify"]
    ran = attn_export("to-onnx", "nets:attention", *files, "--dim", "x.0=1:2:4", "-o", "a.attn")
    assert ran.code == 0, ran.err
    assert "x: drawn as normal(0.5" in ran.err and "from --example" in ran.err
    graph = Bundle.open(project / "a.attn").graph()
    values = graph.inputs[0].values
    assert values is not None and 0 <= values.low < values.high <= 1
    cases = {c.name: c for c in graph.cases()}
    assert [len(cases[name].inputs["x"]) for name in ("example", "example-2")] == [2, 3]
    assert all(values.low <= c.inputs["x"].min() and c.inputs["x"].max() <= values.high for c in cases.values())
    np.savez("c.npz", x=np.zeros((2, 5, 16)))
    ran = attn_export("to-onnx", "nets:attention", *files, "--example", "c.npz", "--dim", "x.0=1:2:4", "-o", "a.attn")
    assert ran.code == 7 and "expected dtype float32 (--example c.npz)" in ran.err


def test_a_function_for_the_inputs_is_refused_in_a_line(project: Path, attn_export: Run) -> None:
    (project / "mine.py").write_text("def draw(sizes, seed):\n    return {'x': sizes['batch'] * [0.0]}\n")
    ran = attn_export("to-onnx", *ATTENTION, "--inputs-from", "mine:draw", "-o", "a.attn")
    assert ran.code == 2 and ran.err.splitlines()[-1].startswith(
        "error: --inputs-from mine:draw at batch=1, T=1, seed 0: "
    )
    assert "got a list, expected a numpy array or a torch tensor" in ran.err
    assert not (project / "a.attn").exists()


# A file-size limit makes every further write fail as on a full disk; the export must then leave what was there.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
sys.argv = ["attn-export", *sys.argv[1:]]
from attn_export.cli.app import main
main()
"""


def test_a_full_disk_costs_nothing(attention_project: Path) -> None:
    before = {p: p.read_bytes() for p in (attention_project / "a.attn").rglob("*") if p.is_file()}
    # bytecode caches can't be written either, so none are
    ran = subprocess.run(
        [sys.executable, "-B", "-c", LIMITED, "to-onnx", *ATTENTION, "--exporter", "torchscript", "-o", "a.attn"],
        capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert ran.returncode == 11, ran.stderr
    assert "what was there is unchanged" in ran.stderr.lower()
    assert "Traceback" not in ran.stderr
    assert {p: p.read_bytes() for p in (attention_project / "a.attn").rglob("*") if p.is_file()} == before
    assert not list(attention_project.glob(".*"))


def test_a_stop_from_outside_leaves_nothing_half_written(project: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "attn_export.cli.app", "to-onnx", *ATTENTION, "-o", "a.attn"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while not process.stderr.readline().startswith("reference"):  # the next stage writes into the staging folder
        assert process.poll() is None
    deadline = time.monotonic() + 60
    while not list(project.glob(".a.attn.tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    process.stderr.read()
    assert process.wait() == 143
    assert [p.name for p in project.iterdir() if p.name != "__pycache__"] == ["nets.py"]
