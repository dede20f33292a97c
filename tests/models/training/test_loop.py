"""The training loop, on a model of two layers and random data: the loop is what is tested."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from attn_models.recipe import Split
from attn_models.training import checkpoint, loop, schedule
from attn_models.zoo.attentionnet import MODEL
from attn_runtime.errors import CheckpointError, UsageError
from safetensors.torch import load_file
from support.models import training_worker
from support.models.tiny_training import interrupted, options, read_history, same_weights, tiny
from torch import nn
from torch.nn import functional as F

KILLED_AT = 17  # in the second batch of an epoch


def test_killed_in_the_middle_of_an_epoch_and_resumed_gives_the_same_weights(tmp_path, capsys):
    whole, out = tmp_path / "whole", tmp_path / "killed"
    # Only what is killed needs a process of its own.
    job = json.dumps([{"model": "everything", "out": str(out), "kill": KILLED_AT}])
    killed = subprocess.run(
        [sys.executable, training_worker.__file__, job], capture_output=True, text=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / loop.WEIGHTS).exists()
    left = checkpoint.read_state(out / loop.STATE)[0]["rows"]
    losses = [row["validation_loss"] for row in left]
    assert len(left) == KILLED_AT // 3, "three batches an epoch"
    assert min(losses) < losses[-1], "the best weights are not the last ones, and must be found again as well"

    training_worker.run({"model": "everything", "out": str(whole), "quiet": True})
    training_worker.run({"model": "everything", "out": str(out), "resume": True})
    resumed = capsys.readouterr().out
    assert f"resumed after epoch {len(left)}" in resumed and "epoch 1/" not in resumed
    assert same_weights(whole, out)
    a, b = (json.loads((folder / loop.METRICS).read_text()) for folder in (whole, out))
    assert a["epochs"] < a["epochs_planned"], "it should end early, counting the epochs before the kill"
    assert a | {"seconds": 0} == b | {"seconds": 0}
    one, other = (read_history(folder) for folder in (whole, out))
    assert [row | {"seconds": ""} for row in one] == [row | {"seconds": ""} for row in other]


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
    rows = read_history(tmp_path)
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
    rows = read_history(tmp_path)
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


def test_a_validation_loss_that_is_not_finite_ends_the_training(tmp_path):
    spec = tiny()
    recipe = spec.recipe()
    bad = Split({"input": recipe.validation.inputs["input"] * math.inf}, recipe.validation.targets)
    with pytest.raises(UsageError, match="loss on the validation split is nan in epoch 1"):
        loop.train(replace(spec, recipe=lambda: replace(recipe, validation=bad)), options(tmp_path))
