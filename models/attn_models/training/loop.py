"""The training loop, one for all models, on one process or several.

Everything random is drawn from (seed, epoch) alone, so a resumed training goes on as if it had never stopped, and
every process draws the same global batch and takes its share of it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from attn_runtime.errors import CheckpointError, UsageError
from torch import Tensor, nn, optim

from ..data import image_folder
from ..recipe import Recipe, Split
from ..spec import ModelSpec
from . import amp, checkpoint, history
from .class_weights import class_weights
from .distributed import Processes, joined_processes, sharding
from .evaluation import Score, evaluate, loss_of, units_of
from .history import Row
from .metrics import Metrics, two_sided
from .progress import Report
from .schedule import learning_rate, parameter_groups

WEIGHTS, STATE, METRICS, HISTORY = "model.safetensors", "training.safetensors", "metrics.json", "log.csv"


@dataclass(frozen=True)
class TrainOptions:
    """None means the recipe's own value.

    limit          the first samples of each split only, for a quick trial
    accumulate     parts in which a process works through its share of a batch, one after the other, to save memory
    class_weights  "balanced" or "none"
    data           a folder of images to train on in place of the recipe's data, at `size` and with `channels`
    """

    out: Path
    epochs: int | None = None
    batch_size: int | None = None
    seed: int = 0
    device: str = "auto"
    limit: int | None = None
    resume: bool = False
    quiet: bool = False
    lr: float | None = None
    patience: int | None = None
    precision: str = "auto"
    accumulate: int = 1
    fsdp: bool = False
    class_weights: str | None = None
    positive: str | None = None
    data: Path | None = None
    size: int | None = None
    channels: int | None = None


def train(spec: ModelSpec, options: TrainOptions) -> Metrics:
    """Train `spec` and write weights and metrics to `options.out`; the first process of several does the writing.

    Raises UsageError for settings that make no training, InputError for an image that can't be read, CheckpointError
    when there is nothing fit to resume, BackendError for a device or precision that is not there, OutputError when a
    file can't be written.
    """
    if options.data is None and (options.size or options.channels):
        raise UsageError("--size and --channels are those of the images of --data; name a folder with it")
    if options.data is None and spec.recipe is None:
        raise UsageError(f'model "{spec.name}" has no training recipe')
    with joined_processes(options.device) as processes:
        if options.fsdp and not processes.group:
            raise UsageError(
                "--fsdp shards over the processes of torchrun; start it as: torchrun ... -m attn_models.train"
            )
        if options.data is not None:
            recipe = image_folder.recipe(spec, options.data, options.size, options.channels)
        else:
            assert spec.recipe is not None
            recipe = spec.recipe()
        overrides = {key: getattr(options, key) for key in ("epochs", "batch_size", "lr", "patience", "positive")}
        recipe = replace(recipe, **{key: value for key, value in overrides.items() if value is not None})
        if recipe.positive is not None and recipe.positive not in recipe.labels:
            raise UsageError(
                f'positive class "{recipe.positive}": the classes are {", ".join(recipe.labels) or "none"}'
            )
        return _Training(spec, recipe, options, processes).run()


class _Training:
    """One training, from the first epoch (or the one after an interruption) to the files of its result."""

    def __init__(self, spec: ModelSpec, recipe: Recipe, options: TrainOptions, processes: Processes) -> None:
        if options.limit is not None:
            splits = {name: getattr(recipe, name).first(options.limit) for name in ("train", "validation", "test")}
            recipe = replace(recipe, **splits)
        self.spec, self.recipe, self.options, self.processes = spec, recipe, options, processes
        self.data = recipe.train
        self.batch_size = min(recipe.batch_size, len(self.data))
        self.steps = len(self.data) // self.batch_size
        if self.batch_size < processes.size * options.accumulate:
            parts = f" in {options.accumulate} parts" if options.accumulate > 1 else ""
            raise UsageError(
                f"a batch of {self.batch_size} can't be split over {processes.size} processes{parts}; raise --batch-size"
            )
        self.precision = amp.choose(options.precision, processes.device)
        weights = class_weights(recipe, options.class_weights)
        self.class_weights = None if weights is None else weights.to(processes.device)
        self.rows: list[Row] = []
        self.settings: dict[str, Any] = {
            "model": spec.name,
            "seed": options.seed,
            "epochs": recipe.epochs,
            "batch_size": self.batch_size,
            "accumulate": options.accumulate,
            "train_samples": len(self.data),
            "lr": recipe.lr,
            "patience": recipe.patience,
            "precision": self.precision,
            "class_weights": None if weights is None else weights.tolist(),
        }

        torch.manual_seed(options.seed)
        self.module = spec.build(**recipe.build).to(processes.device)
        tensors = self._read_state() if options.resume else {}
        self.parallel = processes.distribute(self.module, options.fsdp)
        # Only now: sharding replaces the parameters.
        self.optimizer = optim.AdamW(parameter_groups(self.module, recipe), lr=recipe.lr, betas=recipe.betas)
        self.best: dict[str, Tensor] = {}  # weights of the best epoch, where they are no longer the module's
        if tensors:
            checkpoint.restore_optimizer(tensors, self.module, self.optimizer)
            self.best = checkpoint.restore_best(tensors, self.module)

    def run(self) -> Metrics:
        options, processes, epochs = self.options, self.processes, self.recipe.epochs
        state_file = options.out / STATE
        if processes.leads:
            checkpoint.make_folder(options.out)  # now: an unwritable place should not cost a training
        with Report(epochs, self.steps, len(self.rows), options.quiet or not processes.leads) as report:
            report.say(
                f"{self.spec.name}: {len(self.data)} training samples, {processes.size} process(es) on {processes.device.type}, "
                f"{self.precision}"
            )
            if self.rows:
                report.say(f"resumed after epoch {len(self.rows)}")
            elif state_file.exists() and processes.leads:
                report.say(f"{state_file} holds an unfinished training; starting over (--resume would continue it)")
            while not self._ended():
                self._keep_best()
                self.rows.append(self._epoch_and_validation(report))
                if self._now_is_best():
                    self.best = {}
                self._save()
                report.epoch(self.rows[-1])
        return self._result()

    def _ended(self) -> bool:
        if not self.rows or len(self.rows) == self.recipe.epochs:
            return bool(self.rows)
        patience = self.recipe.patience
        return patience is not None and self.rows[-1].epoch - history.best(self.rows).epoch >= patience

    def _epoch_and_validation(self, report: Report) -> Row:
        epoch, started = len(self.rows), time.perf_counter()
        train_loss, lr = self._epoch(epoch, report)
        _finite(train_loss, "loss", epoch)
        score = self._score(self.recipe.validation)
        _finite(score.loss, "loss on the validation split", epoch)
        seconds = (self.rows[-1].seconds if self.rows else 0.0) + time.perf_counter() - started
        return Row(epoch + 1, (epoch + 1) * self.steps, lr, train_loss, score.loss, score.accuracy, seconds)

    def _epoch(self, epoch: int, report: Report) -> tuple[float, float]:
        """One pass over the data, a remainder smaller than a batch left out: (mean loss, last learning rate)."""
        recipe, processes, parts = self.recipe, self.processes, self.options.accumulate
        random = torch.Generator().manual_seed(self.options.seed * 1_000_003 + epoch)
        # For dropout, which draws from the global generator: differently in each process and epoch.
        torch.manual_seed((self.options.seed * 1_000_003 + epoch) * 65_537 + processes.rank)
        order = torch.randperm(len(self.data), generator=random)
        total = torch.zeros(2, dtype=torch.float64, device=processes.device)  # sums of the losses and of their units
        lr = 0.0
        self.parallel.train()
        for step in range(self.steps):
            batch = self.data[order[step * self.batch_size : (step + 1) * self.batch_size]]
            if recipe.augment is not None:
                batch = Split(recipe.augment(dict(batch.inputs), random), batch.targets)
            units = units_of(recipe, batch.targets).to(processes.device)  # of all processes
            mine = processes.share(batch)
            lr = learning_rate(epoch * self.steps + step, recipe.epochs * self.steps, recipe)
            for group in self.optimizer.param_groups:
                group["lr"] = lr * group["lr_factor"]
            self.optimizer.zero_grad()
            for part in range(parts):
                some = mine[part::parts]
                with processes.backward(self.parallel, last=part == parts - 1):
                    with amp.autocast(self.precision):
                        outputs = self.parallel(**some.inputs)
                        loss = loss_of(recipe, outputs, some.targets, self.class_weights)
                    # The processes' gradients are averaged; times their number that is the sum, and over the units of
                    # the global batch the mean, also where the shares differ in size.
                    (loss * (processes.size / units).to(loss.dtype)).backward()
                total[0] += loss.detach()
            total[1] += units / processes.size  # every process adds this up
            if recipe.clip is not None:
                sharding.clip(self.module, recipe.clip)
            self.optimizer.step()
            report.step()
        loss_sum, unit_sum = processes.sum(total).tolist()
        return loss_sum / unit_sum, lr

    def _score(self, split: Split) -> Score:
        # Not through DistributedDataParallel: nothing has to be exchanged without gradients.
        return evaluate(self.module, self.recipe, split, self.processes, self.class_weights)

    def _now_is_best(self) -> bool:
        return bool(self.rows) and history.best(self.rows) is self.rows[-1]

    def _keep_best(self) -> None:
        """Before the module's weights change: copy them if they are the best so far."""
        if self._now_is_best():
            self.best = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}

    def _save(self) -> None:
        """The state after this epoch, from which the history follows."""
        tensors = sharding.whole(checkpoint.state_of(self.module, self.optimizer, self.best), self.processes.leads)
        if self.processes.leads:
            run = {**self.settings, "rows": [asdict(row) for row in self.rows]}
            checkpoint.save_state(self.options.out / STATE, tensors, run)
            checkpoint.write_whole(self.options.out / HISTORY, history.as_csv(self.rows).encode())

    def _read_state(self) -> dict[str, Tensor]:
        path = self.options.out / STATE
        before, tensors = checkpoint.read_state(path)
        _same_settings(path, before, self.settings)
        checkpoint.restore_weights(path, tensors, self.module)
        self.rows = [Row(**row) for row in before["rows"]]
        return tensors

    def _result(self) -> Metrics:
        """Go back to the best epoch, look at the test split, write the files."""
        with torch.no_grad():
            for name, tensor in self.module.state_dict().items():
                if name in self.best:
                    tensor.copy_(self.best[name])
        score = self._score(self.recipe.test)
        weights = sharding.whole(self.module.state_dict(), self.processes.leads)
        metrics = self._metrics(score)
        if self.processes.leads:
            _write(self.options.out, weights, self.recipe, metrics)
        self.processes.wait()  # nobody leaves, and takes the process group down, while the first process still writes
        return metrics

    def _metrics(self, score: Score) -> Metrics:
        recipe, best = self.recipe, history.best(self.rows)
        return Metrics(
            model=self.spec.name,
            measure=recipe.measure,
            accuracy=score.accuracy,
            test_samples=len(recipe.test),
            validation_samples=len(recipe.validation),
            train_samples=len(self.data),
            test_loss=score.loss,
            validation_loss=best.validation_loss,
            first_loss=self.rows[0].train_loss,
            last_loss=self.rows[-1].train_loss,
            best_epoch=best.epoch,
            epochs=len(self.rows),
            epochs_planned=recipe.epochs,
            seconds=round(self.rows[-1].seconds, 2),
            batch_size=self.batch_size,
            accumulate=self.options.accumulate,
            precision=self.precision,
            class_weights=self.settings["class_weights"],
            seed=self.options.seed,
            processes=self.processes.size,
            fsdp=self.options.fsdp,
            device=self.processes.device.type,
            gates=gates(self.module),
            recall=score.recall,
            **two_sided(score.recall, recipe.labels, recipe.positive),
        )


def gates(module: nn.Module) -> dict[str, float]:
    """Parameters of one element, by name. All processes must call this."""
    single = {name: p for name, p in module.named_parameters() if p.numel() == 1}
    return {name: float(tensor) for name, tensor in sharding.whole(single, keep=True).items()}


def _finite(loss: float, what: str, epoch: int) -> None:
    if not math.isfinite(loss):
        raise UsageError(
            f"the {what} is {loss} in epoch {epoch + 1}, expected a finite number; the state of the epoch "
            f"before is kept. Try a lower --lr, another --seed or a larger --batch-size."
        )


def _same_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    other = [f"{key} {before.get(key)} (now {value})" for key, value in now.items() if before.get(key) != value]
    if other:
        raise CheckpointError(
            f"{path}: was started with {', '.join(other)}; give the same settings, or start again without --resume"
        )


def _write(out: Path, weights: Mapping[str, Tensor], recipe: Recipe, metrics: Metrics) -> None:
    metadata = {
        key: str(value) for key, value in asdict(metrics).items() if key in ("model", "accuracy", "epochs", "seed")
    }
    metadata |= {"labels": json.dumps(recipe.labels), "build": json.dumps(dict(recipe.build))}
    checkpoint.save_weights(out / WEIGHTS, weights, metadata)
    for name, value in recipe.assets.items():
        checkpoint.write_whole(out / name, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())
    checkpoint.write_whole(out / METRICS, (json.dumps(asdict(metrics), indent=1) + "\n").encode())
    (out / STATE).unlink(missing_ok=True)  # last: a run killed before this line can be resumed
