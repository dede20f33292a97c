"""The training loop, in this process and through its command line."""

import csv
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attn_models.recipe import Recipe, Split
from attn_models.train import main
from attn_models.training import amp, checkpoint, loop, schedule
from attn_models.training.class_weights import class_weights
from attn_models.training.distributed import sharding
from attn_models.training.distributed.processes import Processes
from attn_models.training.evaluation import evaluate
from attn_models.zoo.attentionnet import MODEL, AttentionNet
from attn_runtime.errors import CheckpointError, OutputError, UsageError
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file
from support import training_worker
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


def worker(*jobs):
    return [sys.executable, training_worker.__file__, json.dumps(jobs)]


def test_killed_in_the_middle_of_an_epoch_and_resumed_gives_the_same_weights(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "killed"
    jobs = [
        {"model": "everything", "out": str(whole)},
        {"model": "everything", "out": str(out), "kill": KILLED_AT},
    ]
    killed = subprocess.run(worker(*jobs), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / loop.WEIGHTS).exists()
    left = checkpoint.read_state(out / loop.STATE)[0]["rows"]
    losses = [row["validation_loss"] for row in left]
    assert len(left) == KILLED_AT // 3, "three batches an epoch"
    assert min(losses) < losses[-1], "the best weights are not the last ones, and must be found again as well"

    jobs = [{"model": "everything", "out": str(out), "resume": True}]
    resumed = subprocess.run(worker(*jobs), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resumed after epoch {len(left)}" in resumed.stdout and "epoch 1/" not in resumed.stdout
    assert same_weights(whole, out)
    a, b = (json.loads((folder / loop.METRICS).read_text()) for folder in (whole, out))
    assert a["epochs"] < a["epochs_planned"], "it should end early, counting the epochs before the kill"
    assert a | {"seconds": 0} == b | {"seconds": 0}
    one, other = (read_log(folder) for folder in (whole, out))
    assert [row | {"seconds": ""} for row in one] == [row | {"seconds": ""} for row in other]


#: In the second batch of an epoch.
KILLED_AT = 17


def read_log(folder):
    with (folder / loop.HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


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
    return loop.TrainOptions(out=out, quiet=True, **more)


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


def test_a_batch_in_parts_gives_the_weights_of_the_whole_batch(tmp_path):
    for parts in (1, 4):
        loop.train(training_worker.tokens(), options(tmp_path / str(parts), accumulate=parts))
    one, four = (load_file(tmp_path / name / loop.WEIGHTS) for name in ("1", "4"))
    assert max(float((one[name] - four[name]).abs().max()) for name in one) < 1e-12
    fresh = training_worker.tokens().build().state_dict()
    assert (one["layers.0.0.weight"] - fresh["layers.0.0.weight"]).abs().max() > 1e-3, "nothing was trained"


def test_a_batch_in_more_parts_than_samples_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a batch of 8 can't be split over 1 processes in 9 parts"):
        loop.train(tiny(), options(tmp_path, accumulate=9))


def test_padded_tokens_count_in_neither_loss_nor_accuracy(tmp_path):
    recipe = training_worker.token_recipe()
    net, data = training_worker.NextToken(), recipe.train
    score = evaluate(net, recipe, data, Processes(0, 1, torch.device("cpu"), False))
    with torch.no_grad():
        logits = net(**data.inputs)
    there = data.targets != training_worker.PADDING
    assert 0 < there.float().mean() < 1
    assert score.loss == pytest.approx(F.cross_entropy(logits[there], data.targets[there]).item(), rel=1e-6)
    right = [((row == t) & m).sum() / m.sum() for row, t, m in zip(logits.argmax(-1), data.targets, there, strict=True)]
    assert score.accuracy == pytest.approx(torch.stack(right).mean().item(), rel=1e-6)


def test_the_mean_training_loss_is_over_tokens(tmp_path):
    # At a learning rate of almost nothing the loss is that of the fresh model.
    spec = training_worker.tokens(lr=1e-30, epochs=1, batch_size=12)
    torch.manual_seed(0)
    net, data = spec.build(), spec.recipe().train
    with torch.no_grad():
        logits = net(**data.inputs).float()
    expected = F.cross_entropy(logits.flatten(0, 1), data.targets.flatten(), ignore_index=training_worker.PADDING)
    assert loop.train(spec, options(tmp_path)).first_loss == pytest.approx(expected.item(), rel=1e-6)


def test_the_best_epoch_is_written_and_training_ends_when_patience_does(tmp_path):
    spec = tiny(epochs=12, patience=2, lr=0.05)
    recipe = spec.recipe()
    wrong = Split(recipe.train.inputs, 1 - recipe.train.targets)  # the better the training, the higher its loss
    spec = replace(spec, recipe=lambda: replace(recipe, validation=wrong))
    states, real = [], checkpoint.save_state

    def keep(path, tensors, run):
        states.append({name: tensor.clone() for name, tensor in tensors.items()})
        real(path, tensors, run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save_state", keep)
        metrics = loop.train(spec, options(tmp_path))
    rows = read_log(tmp_path)
    losses = [float(row["validation_loss"]) for row in rows]
    best = losses.index(min(losses)) + 1
    assert metrics.best_epoch == best
    assert metrics.epochs == len(rows) == best + 2 < metrics.epochs_planned == 12
    assert metrics.validation_loss == min(losses)
    written = load_file(tmp_path / loop.WEIGHTS)
    assert all(torch.equal(written[name], states[best - 1][f"model.{name}"]) for name in written)
    assert not all(torch.equal(written[name], states[-1][f"model.{name}"]) for name in written)
    assert f"weights of epoch {best} of {len(rows)}, ended early of 12" in metrics.in_words()[-1]


def test_without_patience_all_epochs_are_trained(tmp_path):
    spec = tiny(epochs=12, lr=0.05)
    recipe = spec.recipe()
    wrong = Split(recipe.train.inputs, 1 - recipe.train.targets)
    metrics = loop.train(replace(spec, recipe=lambda: replace(recipe, validation=wrong)), options(tmp_path))
    assert metrics.epochs == 12 > metrics.best_epoch


def test_the_log_has_a_row_for_each_epoch(tmp_path):
    metrics = loop.train(tiny(), options(tmp_path))
    rows = read_log(tmp_path)
    assert list(rows[0]) == ["epoch", "step", "lr", "train_loss", "validation_loss", "accuracy", "seconds"]
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6"), ("3", "9")]
    assert float(rows[0]["train_loss"]) == metrics.first_loss and float(rows[-1]["train_loss"]) == metrics.last_loss
    recipe = tiny().recipe()
    assert [float(row["lr"]) for row in rows] == pytest.approx(
        [schedule.learning_rate(step, 9, recipe) for step in (2, 5, 8)], rel=1e-5
    )


def test_the_test_split_is_looked_at_once_and_in_batches(tmp_path):
    seen = []

    def predict(module, inputs):
        seen.append(inputs["input"])
        return module(**inputs).argmax(-1)

    spec = tiny(predict=predict)
    recipe = spec.recipe()
    random = torch.Generator().manual_seed(5)
    test = Split({"input": torch.randn(150, 6, generator=random)}, torch.randint(0, 2, (150,), generator=random))
    metrics = loop.train(replace(spec, recipe=lambda: replace(recipe, test=test)), options(tmp_path))
    assert [len(batch) for batch in seen[-3:]] == [64, 64, 22]
    assert torch.equal(torch.cat(seen[-3:]), test.inputs["input"])
    assert all(len(batch) == len(recipe.validation) for batch in seen[:-3]) and len(seen) == 3 + recipe.epochs
    net = spec.build()
    net.load_state_dict(load_file(tmp_path / loop.WEIGHTS))
    with torch.no_grad():
        predicted = net.eval()(**test.inputs).argmax(-1)
    share = {label: (predicted[test.targets == n] == n).float().mean().item() for n, label in enumerate("ab")}
    assert metrics.recall == pytest.approx(share)
    assert metrics.accuracy == pytest.approx((predicted == test.targets).float().mean().item())
    assert (metrics.positive, metrics.sensitivity, metrics.specificity) == (
        "b",
        metrics.recall["b"],
        metrics.recall["a"],
    )
    assert metrics.recall["a"] != metrics.recall["b"]


def test_which_class_is_positive_is_said_and_can_be_chosen(tmp_path):
    metrics = loop.train(tiny(), options(tmp_path / "last"))
    other = loop.train(tiny(), options(tmp_path / "first", positive="a"))
    assert (metrics.sensitivity, metrics.specificity) == (other.specificity, other.sensitivity)
    assert "(b recognised), specificity" in metrics.in_words()[1]
    assert "(a recognised), specificity" in other.in_words()[1]
    with pytest.raises(UsageError, match='positive class "c": the classes are a, b'):
        loop.train(tiny(), options(tmp_path / "none", positive="c"))


def test_balanced_weights_make_classes_count_alike():
    recipe = tiny().recipe()
    counts = torch.bincount(recipe.train.targets).double()
    weights = class_weights(recipe, "balanced")
    assert torch.allclose(weights.double() * counts, counts.sum().expand(2) / 2, rtol=1e-6)
    assert class_weights(recipe, None) is None
    assert class_weights(replace(recipe, class_weights="balanced"), "none") is None
    assert class_weights(replace(recipe, class_weights=(1.0, 3.0)), None).tolist() == [1.0, 3.0]


def test_class_weights_reach_the_loss(tmp_path):
    spec = tiny(class_weights=(1.0, 0.25))
    metrics = loop.train(spec, options(tmp_path / "weighted"))
    net, data = spec.build(), spec.recipe().validation
    net.load_state_dict(load_file(tmp_path / "weighted" / loop.WEIGHTS))
    with torch.no_grad():
        each = F.cross_entropy(net.eval()(**data.inputs), data.targets, reduction="none")
    expected = (each * torch.tensor([1.0, 0.25])[data.targets]).mean().item()
    assert metrics.validation_loss == pytest.approx(expected, rel=1e-5)
    assert metrics.class_weights == [1.0, 0.25]
    loop.train(spec, options(tmp_path / "equal", class_weights="none"))
    assert not same_weights(tmp_path / "weighted", tmp_path / "equal"), "training itself is weighted too"


def test_class_weights_that_fit_nothing_are_told():
    recipe = tiny().recipe()
    with pytest.raises(UsageError, match="got 3, expected 2, one for each of a, b"):
        class_weights(recipe, (1.0, 1.0, 1.0))
    with pytest.raises(UsageError, match="no training sample of c"):
        class_weights(replace(recipe, labels=("a", "b", "c")), "balanced")
    with pytest.raises(UsageError, match="are no classes of whole samples"):
        class_weights(training_worker.token_recipe(), "balanced")


def test_gradients_are_clipped_together():
    net = nn.Linear(3, 2)
    net(torch.ones(1, 3)).sum().backward()
    before = torch.cat([p.grad.flatten() for p in net.parameters()])
    sharding.clip(net, 0.5)
    after = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert torch.allclose(after, before * 0.5 / before.norm(), rtol=1e-5)
    sharding.clip(net, 100.0)
    assert torch.equal(torch.cat([p.grad.flatten() for p in net.parameters()]), after)


def test_auto_precision_is_float32_on_the_cpu():
    assert amp.choose("auto", torch.device("cpu")) == "fp32"


def test_a_validation_loss_that_is_not_finite_ends_the_training(tmp_path):
    spec = tiny()
    recipe = spec.recipe()
    bad = Split({"input": recipe.validation.inputs["input"] * math.inf}, recipe.validation.targets)
    with pytest.raises(UsageError, match="loss on the validation split is nan in epoch 1"):
        loop.train(replace(spec, recipe=lambda: replace(recipe, validation=bad)), options(tmp_path))


def test_inputs_and_targets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="3 targets, but inputs of other lengths: {'a': 2}"):
        Split({"a": torch.zeros(2)}, torch.zeros(3))


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
    code = "import sys, attn_models.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
