"""The training loop, one for all models, on one process or several.

Everything random is drawn from (seed, epoch) alone, so a resumed training goes on as if it had never stopped, and
every process draws the same global batch and takes its share of it.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from attn_runtime.errors import CheckpointError, UsageError
from torch import nn, optim

from . import checkpoint
from .progress import Report
from .recipe import Recipe, Split
from .spec import ModelSpec
from .world import World, open_world

WEIGHTS, STATE, METRICS = "model.safetensors", "training.safetensors", "metrics.json"


@dataclass(frozen=True)
class Options:
    """None means the recipe's own value. `limit` trains on the first samples only, for a quick trial."""

    out: Path
    epochs: int | None = None
    batch_size: int | None = None
    seed: int = 0
    device: str = "auto"
    limit: int | None = None
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Metrics:
    """What metrics.json holds. `accuracy` is of the test split, 0..1; `gates` are the parameters of one element."""

    model: str
    accuracy: float
    test_samples: int
    train_samples: int
    loss: float
    seconds: float
    epochs: int
    batch_size: int
    seed: int
    processes: int
    device: str
    gates: dict[str, float]


def train(spec: ModelSpec, options: Options) -> Metrics:
    """Train `spec` and write weights and metrics to `options.out`; the first process of several does the writing.

    Raises UsageError for settings that make no training, CheckpointError when there is nothing fit to resume,
    OutputError when a file can't be written.
    """
    if spec.recipe is None:
        raise UsageError(f'model "{spec.name}" has no training recipe')
    with open_world(options.device) as world:
        return _train(spec, spec.recipe(), options, world)


def _train(spec: ModelSpec, recipe: Recipe, options: Options, world: World) -> Metrics:
    data = recipe.train if options.limit is None else recipe.train.first(options.limit)
    batch_size = min(options.batch_size or recipe.batch_size, len(data))
    epochs = options.epochs or recipe.epochs
    steps = len(data) // batch_size
    if batch_size < world.size:
        raise UsageError(f"a batch of {batch_size} can't be split over {world.size} processes; raise --batch-size")

    torch.manual_seed(options.seed)
    module = spec.build().to(world.device)
    optimizer = optim.AdamW(parameter_groups(module, recipe), lr=recipe.lr, betas=recipe.betas)
    run = {
        "model": spec.name,
        "seed": options.seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "train_samples": len(data),
    }
    state_file = options.out / STATE
    done, seconds, loss = 0, 0.0, math.nan
    if options.resume:
        before, tensors = checkpoint.read_state(state_file)
        _same_run(state_file, before, run)
        checkpoint.restore(state_file, tensors, module, optimizer)
        done, seconds, loss = before["done"], before["seconds"], before["loss"]
    if world.leads:
        checkpoint.make_folder(options.out)  # now: an unwritable place should not cost a training
    parallel = world.distribute(module)

    with Report(epochs, steps, done, options.quiet or not world.leads) as report:
        report.say(f"{spec.name}: {len(data)} training samples, {world.size} process(es) on {world.device.type}")
        if done:
            report.say(f"resumed after epoch {done}")
        elif state_file.exists() and world.leads:
            report.say(f"{state_file} holds an unfinished training; starting over (--resume would continue it)")
        for epoch in range(done, epochs):
            started = time.perf_counter()
            loss = _epoch(parallel, optimizer, recipe, data, world, run, epoch, report)
            seconds += time.perf_counter() - started
            if not math.isfinite(loss):
                raise UsageError(
                    f"the loss is {loss} in epoch {epoch + 1}, expected a finite number; the state of the epoch "
                    f"before is kept. Try another --seed or a larger --batch-size."
                )
            if world.leads:
                state = {**run, "done": epoch + 1, "seconds": seconds, "loss": loss}
                checkpoint.save_state(state_file, module, optimizer, state)
            report.epoch(epoch + 1, loss, seconds)

    metrics = Metrics(
        model=spec.name,
        accuracy=accuracy(module, recipe, recipe.test, world),
        test_samples=len(recipe.test),
        train_samples=len(data),
        loss=loss,
        seconds=round(seconds, 2),
        epochs=epochs,
        batch_size=batch_size,
        seed=options.seed,
        processes=world.size,
        device=world.device.type,
        gates=gates(module),
    )
    if world.leads:
        _write(options.out, module, recipe, metrics)
    world.wait()  # nobody leaves, and takes the process group down, while the first process still writes
    return metrics


def parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Gates (one element) learn faster; they, biases and norms are not pulled towards zero by weight decay."""
    parameters = list(module.parameters())
    gate = [p for p in parameters if p.numel() == 1]
    flat = [p for p in parameters if p.numel() > 1 and p.ndim == 1]
    full = [p for p in parameters if p.numel() > 1 and p.ndim != 1]
    groups: list[dict[str, object]] = [
        {"params": full, "weight_decay": recipe.weight_decay, "lr_factor": 1.0},
        {"params": flat, "weight_decay": 0.0, "lr_factor": 1.0},
        {"params": gate, "weight_decay": 0.0, "lr_factor": recipe.gate_lr},
    ]
    return [group for group in groups if group["params"]]


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Of step 0..steps-1: up in a straight line for the share `warmup` of the steps, then down along a cosine."""
    warm = max(1, round(recipe.warmup * steps))
    if step < warm:
        return recipe.lr * (step + 1) / warm
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _epoch(
    parallel: nn.Module,
    optimizer: optim.Optimizer,
    recipe: Recipe,
    data: Split,
    world: World,
    run: dict[str, object],
    epoch: int,
    report: Report,
) -> float:
    """One pass over the data, a remainder smaller than a batch left out; returns the mean training loss."""
    batch_size, epochs, seed = int(str(run["batch_size"])), int(str(run["epochs"])), int(str(run["seed"]))
    random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(data), generator=random)
    steps = len(data) // batch_size
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    parallel.train()
    for step in range(steps):
        chosen = order[step * batch_size : (step + 1) * batch_size]
        batch = data[chosen]
        if recipe.augment is not None:
            batch = Split(recipe.augment(dict(batch.inputs), random), batch.targets)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch * steps + step, epochs * steps, recipe) * group["lr_factor"]
        mine = world.share(batch)
        loss = recipe.loss(parallel(**mine.inputs), mine.targets, reduction="sum")
        # The processes' gradients are averaged; times their number that is the sum, and over the global batch the
        # mean, also where the shares differ in size.
        optimizer.zero_grad()
        (loss * (world.size / batch_size)).backward()
        optimizer.step()
        total += loss.detach()
        report.step()
    return float(world.sum(total)) / (steps * batch_size)


@torch.no_grad()
def accuracy(module: nn.Module, recipe: Recipe, split: Split, world: World) -> float:
    """Mean of `recipe.right` over the samples, every process testing its part of them.

    Leaves the module in eval mode.
    """
    module.eval()
    right = torch.zeros((), dtype=torch.float64, device=world.device)
    for start in range(world.rank * 64, len(split), world.size * 64):
        batch = world.to_device(split[start : start + 64])
        inputs = dict(batch.inputs)
        predicted = recipe.predict(module, inputs) if recipe.predict else module(**inputs).argmax(-1)
        right += recipe.right(predicted, batch.targets).sum()
    return float(world.sum(right)) / len(split)


def gates(module: nn.Module) -> dict[str, float]:
    return {name: float(p.detach()) for name, p in module.named_parameters() if p.numel() == 1}


def _same_run(path: Path, before: dict[str, object], now: dict[str, object]) -> None:
    other = [f"{key} {before.get(key)} (now {value})" for key, value in now.items() if before.get(key) != value]
    if other:
        raise CheckpointError(
            f"{path}: was started with {', '.join(other)}; give the same settings, or start again without --resume"
        )


def _write(out: Path, module: nn.Module, recipe: Recipe, metrics: Metrics) -> None:
    metadata = {
        key: str(value) for key, value in asdict(metrics).items() if key in ("model", "accuracy", "epochs", "seed")
    }
    checkpoint.save_weights(out / WEIGHTS, module, {**metadata, "labels": json.dumps(recipe.labels)})
    checkpoint.write_whole(out / METRICS, (json.dumps(asdict(metrics), indent=1) + "\n").encode())
    (out / STATE).unlink(missing_ok=True)  # last: a run killed before this line can be resumed
