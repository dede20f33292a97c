"""What the built-in models lose by a quantised precision, each by its own metric on its own test set.

    python scripts/bench/accuracy/quantised_accuracy.py [--models vit,lm] [--precisions int8,int8-dynamic] [--json FILE]

Each model is trained as its recipe says where runs/accuracy/NAME holds no weights yet, exported, and converted to each
precision: calibrated on samples of its training data; on the golden inputs, which are drawn at random; and, models of one
graph, with golden inputs that are training data, as --inputs-from makes them. A precision that looks at no samples is
converted once. All of these, and fp32, then predict the test set on ONNX Runtime; generators write through their cache.
Weights stay in runs/accuracy for the next run, and so do bundles, which --reuse takes as they are.

    accuracy  0..1, as the recipe counts: classes, whole translations, answers to the questions of a story
    points    100 * (accuracy - fp32's accuracy): below 0 is a loss
    changed   share of the predictions that are not fp32's (of a translation or a story, of all of it)
    left      weights left in fp32, of how many
    error     the worst of the golden cases, of max|PyTorch|
    bleu      of translations, beside the test set's own: tokens, which are words here, up to the one that ends a sentence

Expected before the first run: fp32 exactly as training told it. int8 on training samples within 0.3 points for all of
them, 1 % of the predictions changed, no weight left; the golden inputs are noise, whose ranges are wider than those of
pictures and narrower than those of logits, so that int8 on them loses more, 0.5 to 1 point with vit and keywords, and
nothing with the generators, whose token ids are as good at random as any. Real golden inputs: as with training samples.
A test set of 360 pictures moves by 0.28 points a picture.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from attn_export import AttnError, Console, ExportOptions, convert, export
from attn_export.precision import schemes
from attn_export.precision.quantised import QuantiseOptions
from attn_models import registry
from attn_models.recipe import all_equal
from attn_runtime.bundle import Bundle
from bleu import bleu
from predictions import accuracy, predictions
from torch import Tensor
from training_samples import TEXTS, drawn, recipe_of, write_samples

RUNS = Path("runs/accuracy")
TRAINING, GOLDEN, REAL, NONE = "training samples", "golden inputs", "real golden inputs", "none"


@dataclass(frozen=True)
class Row:
    """One precision of one model; `problem` is why it could not be made, and then there is no accuracy."""

    model: str
    measure: str
    samples: int
    precision: str
    calibration: str
    accuracy: float | None = None
    points: float | None = None
    changed: float | None = None
    left: str = ""
    error: float | None = None
    bleu: float | None = None
    problem: str = ""


def weights_of(name: str, runs: Path, arguments: Sequence[str] = ()) -> Path:
    """The folder of the trained weights of a model, which is trained now where there are none."""
    folder = runs / name
    if not (folder / "model.safetensors").exists():
        command = [sys.executable, "-m", "attn_models.train", name, "--out", str(folder), *arguments]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return folder


def exported(name: str, folder: Path, reuse: bool, real: bool = False) -> Path:
    """The bundle of the trained model, in fp32; with `real` its golden inputs are training data.

    The input of `keywords` may be what training has of its sounds, their spectra.
    """
    bundle = folder / f"{name}{'.real' * real}.attn"
    if reuse and bundle.exists():
        return bundle
    spec = registry.get(name)
    given: list[str] = []
    if len(spec.graphs) == 1:
        train = recipe_of(name).train.inputs
        given = [
            f"{one.name}:{one.dtype}[batch,{','.join(map(str, train[one.name].shape[1:]))}]"
            for one in spec.graph.inputs
            if train[one.name].ndim != len(one.dims)
        ]
    dims = [f"batch={d.min}:{d.opt}:{d.max}" for d in (spec.graphs[0].inputs[0].dims[0],)] if given else []
    options = ExportOptions(force=True, inputs_from=partial(drawn, name) if real else None)
    weights = folder / "model.safetensors"
    export(name, bundle, checkpoint=weights, inputs=given, dims=dims, options=options, console=Console())
    return bundle


def converted(name: str, bundle: Path, precision: str, calibration: str, texts: int, reuse: bool) -> Path:
    """A copy of the bundle that holds `precision` too."""
    target = bundle.with_name(f"{bundle.stem}.{precision}.{calibration.replace(' ', '-')}.attn")
    if reuse and target.exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    made = target.with_name(f"unfinished.{target.name}")
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(bundle, made)
    calibrate = None
    if calibration == TRAINING:
        calibrate = f"training_samples:{name}"
        if Bundle.open(bundle).asset("generation") is not None:
            folder = bundle.with_name("samples")
            shutil.rmtree(folder, ignore_errors=True)
            write_samples(name, bundle, folder, texts)
            calibrate = str(folder)
    convert(made, precision, skip=["attention"], quantise=QuantiseOptions(calibrate), console=Console())
    return made.rename(target)


def left_and_error(bundle: Path, precision: str) -> tuple[str, float]:
    """Weights that are left in fp32, and the worst error of the golden cases, of all graphs."""
    left = total = 0
    errors = []
    for graph in Bundle.open(bundle).manifest["graphs"].values():
        about = graph["precisions"][precision].get("quantised", {"left": [], "quantised": 0})
        left += len(about["left"])
        total += len(about["left"]) + about["quantised"]
        stage = next(stage for stage in graph["stages"] if stage["precision"] == precision)
        errors += [c["max_error"] / c["max_reference"] for c in stage["checks"] if c["max_reference"]]
    return f"{left} of {total}", max(errors)


def rows_of(
    name: str, precisions: Sequence[str], runs: Path, limit: int | None, texts: int, reuse: bool
) -> Iterator[Row]:
    """fp32 first, then each precision with each calibration that it looks at."""
    recipe = recipe_of(name)
    test = recipe.test if limit is None else recipe.test.first(limit)
    folder = runs / name
    bundle = exported(name, folder, reuse)
    reference = predictions(bundle, "fp32", test)
    exact = accuracy(recipe, reference, test.targets)
    yield Row(
        name, recipe.measure, len(test), "fp32", NONE, exact, 0.0, 0.0, bleu=bleu_of(bundle, reference, test.targets)
    )
    for precision in precisions:
        for calibration in calibrations(name, precision):
            row = Row(name, recipe.measure, len(test), precision, calibration)
            try:
                source = exported(name, folder, reuse, real=True) if calibration == REAL else bundle
                made = converted(name, source, precision, calibration, texts, reuse)
            except AttnError as problem:
                yield Row(**{**asdict(row), "problem": str(problem)})
                continue
            found = predictions(made, precision, test)
            got = accuracy(recipe, found, test.targets)
            changed = 1.0 - float(all_equal(found, reference).double().mean())
            left, error = left_and_error(made, precision)
            yield Row(
                name, recipe.measure, len(test), precision, calibration, got, 100 * (got - exact), changed, left, error,
                bleu_of(made, found, test.targets),
            )  # fmt: skip


def bleu_of(bundle: Path, predicted: Tensor, targets: Tensor) -> float | None:
    """Of a bundle that translates, 0..100; None of another one."""
    wiring = Bundle.open(bundle).asset("generation")
    if wiring is None or wiring["encoder"] is None:
        return None
    return bleu(*([written(row, wiring["stop"]) for row in tokens.tolist()] for tokens in (predicted, targets)))


def written(tokens: Sequence[int], stop: Sequence[int]) -> list[int]:
    """Tokens up to the first that ends a text."""
    return list(takewhile(lambda token: token not in stop, tokens))


def calibrations(name: str, precision: str) -> tuple[str, ...]:
    """Where the precision has its samples from, if it looks at any: for ranges, or for the rounding of weights."""
    scheme = schemes.get(precision)
    if not (isinstance(scheme, schemes.QuantisedScheme) and scheme.sampled):
        return (NONE,)
    # What reaches the graphs of a generator is another one's answer, and is not drawn here.
    return (TRAINING, GOLDEN, REAL) if len(registry.get(name).graphs) == 1 else (TRAINING, GOLDEN)


def markdown(rows: Sequence[Row]) -> str:
    """A line per model, a column per precision and calibration: accuracy, (points), changed predictions, weights left."""
    columns = list(dict.fromkeys((row.precision, row.calibration) for row in rows))
    titles = [p if c == NONE else f"{p}, {c}" for p, c in columns]
    lines = [f"| model | test set | {' | '.join(titles)} |", "|---" * (len(columns) + 2) + "|"]
    for model in dict.fromkeys(row.model for row in rows):
        own = {(row.precision, row.calibration): row for row in rows if row.model == model}
        about = next(iter(own.values()))
        cells = [cell(own.get(column)) for column in columns]
        lines.append(f"| {model} | {about.samples} {about.measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row: Row | None) -> str:
    if row is None:
        return "–"
    if row.accuracy is None:
        return "refused"
    bleu_too = "" if row.bleu is None else f", BLEU {row.bleu:.2f}"
    if row.precision == "fp32":
        return f"{row.accuracy:.2%}{bleu_too}"
    return f"{row.accuracy:.2%} ({row.points:+.2f}){bleu_too}, changed {row.changed:.1%}, left {row.left}"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", help="separated by commas; all of them when left out")
    parser.add_argument("--precisions", default="int8", help="separated by commas (%(default)s)")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of weights and bundles (%(default)s)")
    parser.add_argument("--limit", type=int, help="the first N samples of each test set only")
    parser.add_argument("--texts", type=int, default=TEXTS, help="that generators are calibrated with (%(default)s)")
    parser.add_argument("--reuse", action="store_true", help="take the bundles of an earlier run as they are")
    parser.add_argument("--json", type=Path, help="file for the rows, written anew after each")
    arguments = parser.parse_args(words)
    rows: list[Row] = []
    for precision in arguments.precisions.split(","):
        schemes.get(precision)  # a misspelt one is told before anything is trained
    for name in arguments.models.split(",") if arguments.models else registry.names():
        weights_of(name, arguments.runs)
        for row in rows_of(
            name, arguments.precisions.split(","), arguments.runs, arguments.limit, arguments.texts, arguments.reuse
        ):
            rows.append(row)
            print(json.dumps(asdict(row)), file=sys.stderr)
            if arguments.json:
                arguments.json.write_text(as_json(rows), encoding="utf-8")
    print(markdown(rows))
    for row in rows:
        if row.problem:
            print(f"\n{row.model}, {row.precision}, {row.calibration}: {row.problem}")


def as_json(rows: Sequence[Row]) -> str:
    found: dict[str, Any] = {"rows": [asdict(row) for row in rows], "numpy": np.__version__}
    return json.dumps(found, indent=1) + "\n"


if __name__ == "__main__":
    try:
        main()
    except AttnError as problem:
        sys.exit(f"error: {problem}")
