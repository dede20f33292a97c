"""python -m attn_models.train: what it prints, what it leaves, and a user's mistakes in one line each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attn_models.train import main
from attn_models.zoo.attentionnet import MODEL, AttentionNet
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file

SHORT = ("attentionnet", "--limit", "64", "--batch-size", "16", "--epochs", "2")


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """A short training by the command line: (folder, what it printed)."""
    out = tmp_path_factory.mktemp("short") / "run"
    result = CliRunner().invoke(main, [*SHORT, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_loss_falls_and_is_told_line_by_line(short_run):
    _, printed = short_run
    losses = [float(line.split("loss ")[1].split()[0]) for line in printed.splitlines() if line.startswith("epoch")]
    assert len(losses) == 2
    assert losses[1] < 0.7 * losses[0]
    assert "\x1b" not in printed, "a bar belongs on a terminal only"


def test_the_checkpoint_loads_strictly_and_gives_the_accuracy_it_claims_on_the_test_split(short_run):
    out, printed = short_run
    metrics = json.loads((out / "metrics.json").read_text())
    net = AttentionNet()
    net.load_state_dict(load_file(out / "model.safetensors"), strict=True)
    test = MODEL.recipe().test.first(64)
    with torch.no_grad():
        right = (net.eval()(**test.inputs).argmax(1) == test.targets).float().mean().item()
    assert metrics["accuracy"] == pytest.approx(right)
    assert metrics["test_samples"] == len(test) == 64
    assert metrics["gates"]["attention.gamma"] == pytest.approx(net.attention.gamma.item())
    assert metrics["gates"]["attention.gamma"] != 0
    assert f"{100 * right:.2f} % of 64 images" in printed
    with safe_open(out / "model.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["labels"]) == list("0123456789")
    assert float(metadata["accuracy"]) == metrics["accuracy"]
    assert (metadata["epochs"], metadata["seed"]) == ("2", "0")


def test_only_weights_and_metrics_are_left(short_run):
    out, _ = short_run
    assert sorted(f.name for f in out.iterdir()) == ["log.csv", "metrics.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["attentionnet", "--fsdp"], 2, "start it as: torchrun"),
        (["attentionnet", "--size", "32"], 2, "name a folder"),
        (["attentionnet", "--positive", "cat"], 2, "the classes are 0, 1"),
        (["attentionnet", "--class-weights", "balance"], 2, "'balanced', 'none'"),
        (["attentionnet", "--precision", "bf16", "--device", "cpu"], 10, "--precision fp32"),
        (["attentionet"], 2, "did you mean attentionnet"),
        (["attentionnet", "--epoch", "3"], 2, "--epochs"),
        (["attentionnet", "--epochs", "0"], 2, "0 is not in the range"),
        (["attentionnet", "--resume"], 9, "no unfinished training"),
        (["attentionnet", "--device", "cuda"], 10, "--device cpu"),
        (["attentionnet", "--out", "file/inside"], 11, "can't be created"),
    ],
)
def test_a_users_mistake_is_one_line_with_its_exit_code(tmp_path, monkeypatch, arguments, code, told):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    result = CliRunner().invoke(main, [*arguments, "--quiet"])
    assert result.exit_code == code
    assert told in result.output
    assert "Traceback" not in result.output
    if code != 2:
        assert len(result.output.strip().splitlines()) == 1


def test_help_needs_no_torch():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['train', '--help']\n"
        "try:\n    runpy.run_module('attn_models.train', run_name='__main__')\n"
        "except SystemExit as ended:\n    print(ended.code, 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    assert printed.startswith("Usage:") and printed.endswith("0 False\n")
