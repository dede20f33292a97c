"""The training loop, in this process and through its command line."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attn_models import checkpoint, loop, schedule
from attn_models.attentionnet import MODEL, AttentionNet
from attn_models.recipe import Recipe, Split
from attn_models.train import main
from attn_runtime.errors import CheckpointError, OutputError, UsageError
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

SHORT = ("attentionnet", "--limit", "64", "--batch-size", "16", "--epochs", "2")


#: One thread: on a busy machine, threads that wait for each other take many times as long.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(out, *more):
    return [sys.executable, "-m", "attn_models.train", *SHORT, "--out", str(out), *more]


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """A short training by the command line: (folder, what it printed)."""
    out = tmp_path_factory.mktemp("short") / "run"
    done = subprocess.run(command(out), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


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
    test = MODEL.recipe().test
    with torch.no_grad():
        right = (net.eval()(**test.inputs).argmax(1) == test.targets).float().mean().item()
    assert metrics["accuracy"] == pytest.approx(right)
    assert metrics["test_samples"] == len(test) == 360
    assert metrics["gates"]["attention.gamma"] == pytest.approx(net.attention.gamma.item())
    assert metrics["gates"]["attention.gamma"] != 0
    assert f"{100 * right:.2f} % of 360 images" in printed
    with safe_open(out / "model.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["labels"]) == list("0123456789")
    assert float(metadata["accuracy"]) == metrics["accuracy"]
    assert (metadata["epochs"], metadata["seed"]) == ("2", "0")


def test_only_weights_and_metrics_are_left(short_run):
    out, _ = short_run
    assert sorted(f.name for f in out.iterdir()) == ["log.csv", "metrics.json", "model.safetensors"]


def test_killed_and_resumed_gives_the_same_weights(short_run, tmp_path):
    whole, _ = short_run
    out = tmp_path / "killed"
    process = subprocess.Popen(command(out, "--quiet"), env=ENVIRONMENT)
    try:
        deadline = time.monotonic() + 120
        while not (out / loop.STATE).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert not (out / loop.WEIGHTS).exists()
    assert len(checkpoint.read_state(out / loop.STATE)[0]["rows"]) == 1

    resumed = subprocess.run(command(out, "--resume"), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch 1" in resumed.stdout and "epoch 1/2" not in resumed.stdout
    assert same_weights(whole, out)


def same_weights(one, other):
    """Whether two trainings ended with the same bits. (The files may differ: metadata is written in any order.)"""
    a, b = load_file(one / loop.WEIGHTS), load_file(other / loop.WEIGHTS)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# From here on a model of two layers on random data: the loop is what is tested.


def tiny(loss=F.cross_entropy, **settings):
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 6, generator=random)
    data = Split({"input": inputs}, (inputs.sum(1) > 0).long())
    recipe = replace(
        Recipe(data[:30], data[30:], data[30:], loss=loss, labels=("a", "b")),
        **{"epochs": 3, "batch_size": 8, **settings},
    )

    def build():
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))

    return replace(MODEL, name="tiny", build=build, recipe=lambda: recipe)


def options(out, **more):
    return loop.Options(out=out, quiet=True, **more)


def test_the_seed_decides_the_weights(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        loop.train(tiny(), options(tmp_path / name, seed=seed))
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_augmentation_is_drawn_again_in_each_epoch_and_the_same_for_each_run(tmp_path):
    seen = []

    def augment(inputs, generator):
        noise = torch.randn(inputs["input"].shape, generator=generator)
        seen.append(noise)
        return {"input": inputs["input"] + 0.1 * noise}

    for name in "ab":
        loop.train(tiny(augment=augment), options(tmp_path / name))
    assert len(seen) == 2 * 3 * (30 // 8)
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
    assert len({x.numpy().tobytes() for x in first}) == len(first)


@pytest.mark.parametrize(("changed", "told"), [({"seed": 5}, "seed 0 .now 5"), ({"epochs": 9}, "epochs 3 .now 9")])
def test_resuming_with_other_settings_is_refused(tmp_path, changed, told):
    interrupted(tmp_path)
    with pytest.raises(CheckpointError, match=told):
        loop.train(tiny(), options(tmp_path, resume=True, **changed))


def test_a_training_killed_after_its_last_epoch_only_needs_its_test(tmp_path):
    loop.train(tiny(), options(tmp_path / "whole"))
    interrupted(tmp_path / "late", after=3)
    metrics = loop.train(tiny(), options(tmp_path / "late", resume=True))
    assert math.isfinite(metrics.last_loss) and metrics.seconds > 0
    assert same_weights(tmp_path / "whole", tmp_path / "late")


def interrupted(out, after=2):
    """Leave what a training leaves that was stopped when epoch `after` was saved."""
    real = checkpoint.save_state

    def stop_after(path, tensors, run):
        real(path, tensors, run)
        if len(run["rows"]) == after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save_state", stop_after)
        loop.train(tiny(), options(out))


def test_nothing_to_resume_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no unfinished training"):
        loop.train(tiny(), options(tmp_path, resume=True))


@pytest.mark.parametrize("content", [b"", b"junk" * 100, "truncated"])
def test_a_damaged_state_is_told(tmp_path, content):
    interrupted(tmp_path)
    state = tmp_path / loop.STATE
    state.write_bytes(state.read_bytes()[:-10] if content == "truncated" else content)
    with pytest.raises(CheckpointError, match="not a training state"):
        loop.train(tiny(), options(tmp_path, resume=True))


def test_a_state_of_another_model_is_told(tmp_path):
    interrupted(tmp_path)
    other = replace(tiny(), build=lambda: nn.Linear(6, 2))
    with pytest.raises(CheckpointError, match=r"does not fit this model.*0\.weight") as caught:
        loop.train(other, options(tmp_path, resume=True))
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_ends_the_training_and_writes_no_weights(tmp_path):
    spec = tiny(loss=lambda outputs, targets, reduction: outputs.sum() * math.nan)
    with pytest.raises(UsageError, match="loss is nan in epoch 1"):
        loop.train(spec, options(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_recipe_is_told(tmp_path):
    with pytest.raises(UsageError, match="no training recipe"):
        loop.train(replace(MODEL, recipe=None), options(tmp_path))


def test_learning_rate_rises_then_falls_to_nearly_nothing():
    recipe = tiny(lr=1.0, warmup=0.2).recipe()
    rates = [schedule.learning_rate(step, 100, recipe) for step in range(100)]
    top = rates.index(max(rates))
    assert rates[top] == 1.0 and 19 <= top <= 20
    assert all(a < b for a, b in itertools.pairwise(rates[:20]))
    assert all(a > b for a, b in itertools.pairwise(rates[20:]))
    assert 0 < rates[0] < 0.06 and 0 < rates[-1] < 0.01


def test_every_parameter_is_in_one_group_and_gates_have_their_own_rate():
    net, recipe = MODEL.build(), MODEL.recipe()
    groups = schedule.parameter_groups(net, recipe)
    grouped = [p for group in groups for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in net.parameters()} and len(grouped) == len({*map(id, grouped)})
    (gate_group,) = [g for g in groups if any(p is net.attention.gamma for p in g["params"])]
    assert len(gate_group["params"]) == 1
    assert gate_group["lr_factor"] == recipe.gate_lr and gate_group["weight_decay"] == 0
    (decayed,) = [g for g in groups if g["weight_decay"]]
    assert all(p.ndim > 1 for p in decayed["params"])


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    checkpoint.write_whole(file, b"old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint.write_whole(file, b"new")
    assert [f.name for f in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
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
    code = "import sys, attn_models.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
