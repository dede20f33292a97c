"""scripts/bench/accuracy: what it predicts and calibrates with is held against PyTorch, on models of seconds."""

from __future__ import annotations

import io
import json
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import predictions
import pytest
import quantised_accuracy
import torch
import training_samples
from attn_export import ExportOptions, export
from attn_models import registry
from attn_models.training import loop
from attn_models.training.distributed import joined_processes
from attn_models.training.evaluation import evaluate
from attn_models.zoo import lm, translator
from attn_runtime.bundle import Bundle
from attn_runtime.generate import open_generator
from attn_runtime.session import open_session
from safetensors.torch import load_file
from support.checks.once import once
from torch.nn import functional as F

SCRIPT = Path(quantised_accuracy.__file__)
TEXTS = 4
LM = {"width": 16, "layers": 1, "heads": 2, "kv_heads": 1, "feed_forward": 16}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on a vit of one epoch, with the rows of the script in rows.json."""

    def make(folder: Path) -> None:
        options = loop.TrainOptions(folder / "vit", epochs=2, limit=256, quiet=True)
        loop.train(registry.get("vit"), options)  # here: a process of its own would import PyTorch first
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(io.StringIO()) as table,
            redirect_stderr(io.StringIO()),
        ):
            patch.setattr("attn_export.precision.quantised.speed.SECONDS", 0.0)
            quantised_accuracy.main(
                ["--models", "vit", "--limit", "64", "--runs", str(folder), "--json", str(folder / "rows.json")]
            )
        (folder / "table.md").write_text(table.getvalue())

    return once(tmp_path_factory, "quantised_accuracy", make)


def test_fp32_is_as_accurate_as_the_module(vit: Path) -> None:
    spec, recipe = registry.get("vit"), training_samples.recipe_of("vit")
    module = spec.build()
    module.load_state_dict(load_file(vit / "vit" / "model.safetensors"))
    with joined_processes("cpu") as alone:
        score = evaluate(module, recipe, recipe.test.first(64), alone)
    fp32, *others = json.loads((vit / "rows.json").read_text())["rows"]
    assert fp32["precision"] == "fp32" and fp32["accuracy"] == pytest.approx(score.accuracy)
    assert [row["calibration"] for row in others] == ["training samples", "golden inputs", "real golden inputs"]
    for row in others:
        assert row["points"] == pytest.approx(100 * (row["accuracy"] - score.accuracy))
        assert 0 < row["error"] < 0.05 and row["left"].endswith(" of 13") and not row["problem"]
        assert abs(row["accuracy"] - score.accuracy) <= row["changed"] <= 0.1


def test_the_table_has_a_line_for_the_model(vit: Path) -> None:
    title, _, line = (vit / "table.md").read_text().splitlines()
    assert (
        title == "| model | test set | fp32 | int8, training samples | int8, golden inputs | int8, real golden inputs |"
    )
    assert line.startswith("| vit | 64 images | ") and line.count(" of 13") == 3


def test_ranges_come_of_the_samples_that_are_named(vit: Path) -> None:
    """The three bundles differ in their ranges, and the pictures' are the pictures'."""
    largest = {}
    for calibration in quantised_accuracy.calibrations("vit", "int8"):
        (path,) = (vit / "vit").glob(f"vit*.int8.{calibration.replace(' ', '-')}.attn")
        graph = Bundle.open(path).manifest["graphs"]["model"]
        table = graph["precisions"]["int8"]["quantised"]["calibration"]
        largest[calibration] = table["ranges"]["image"][1]
    pixels = training_samples.recipe_of("vit").train.inputs["image"].max().item()
    assert largest["training samples"] == pytest.approx(pixels) == largest["real golden inputs"]
    assert largest["golden inputs"] > 1.5 * pixels  # drawn from a normal distribution


def test_a_precision_that_can_not_be_made_is_a_row_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    row = quantised_accuracy.Row("vit", "images", 64, "int8", "none", problem="it does not fit")
    exact = quantised_accuracy.Row("vit", "images", 64, "fp32", "none", 0.5)
    assert quantised_accuracy.markdown([exact, row]).splitlines()[-1] == "| vit | 64 images | 50.00% | refused |"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--precisions", "int9"])
    with pytest.raises(SystemExit, match=r"^error: .*int9.*int8"):
        runpy.run_path(str(SCRIPT), run_name="__main__")


def test_a_model_without_weights_is_trained_by_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As far as the command goes with a name that no model has: PyTorch is not imported for that."""
    with pytest.raises(subprocess.CalledProcessError):
        quantised_accuracy.weights_of("vitt", tmp_path, ["--epochs", "1"])
    assert "did you mean vit?" in capfd.readouterr().err
    (tmp_path / "vitt").mkdir()
    (tmp_path / "vitt" / "model.safetensors").touch()
    assert quantised_accuracy.weights_of("vitt", tmp_path) == tmp_path / "vitt"


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a language model of random weights, and its weights."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        torch.save(lm.of_size(**LM).build().state_dict(), folder / "weights.pt")
        options = ExportOptions(config=[f"{key}={value}" for key, value in LM.items()], sweep=0)
        export("attn_models.zoo.lm:of_size", folder / "lm.attn", checkpoint=folder / "weights.pt", options=options)

    return once(tmp_path_factory, "stories_to_answer", make)


def module_of(stories: Path) -> torch.nn.Module:
    module = lm.of_size(**LM).build()
    module.load_state_dict(torch.load(stories / "weights.pt"))
    return module.eval()


def test_an_answer_is_what_pytorch_writes_behind_the_question(stories: Path) -> None:
    split = training_samples.recipe_of("lm").test.first(5)
    module = module_of(stories)
    with open_generator(stories / "lm.attn", "cpu", "ort", threads=1) as generator:
        found = predictions.answers(generator, split)
    question, end = lm.encode("? .")
    places = (split.targets == question).nonzero().tolist()
    assert len(places) >= 5
    expected = torch.full_like(split.targets, -1)
    for row, place in places:
        tokens = split.inputs["tokens"][row, : place + 2]
        length = split.targets[row].tolist().index(end, place) - place
        for _ in range(length):
            with torch.no_grad():
                tokens = torch.cat([tokens, module(tokens[None])[0, -1:].argmax(-1)])
        expected[row, place + 1 : place + 1 + length] = tokens[place + 2 :]
    assert torch.equal(found, expected)
    assert predictions.accuracy(training_samples.recipe_of("lm"), split.targets, split.targets) == 1.0


def test_samples_of_a_generator_are_what_its_graphs_read(stories: Path, tmp_path: Path) -> None:
    """The step, run on its samples, answers what PyTorch says without a cache."""
    training_samples.write_samples("lm", stories / "lm.attn", tmp_path, TEXTS)
    module = module_of(stories)
    first, step = (sorted((tmp_path / graph).iterdir()) for graph in ("first", "step"))
    assert len(first) == len(step) == TEXTS
    with open_session(stories / "lm.attn", "cpu", "ort", graph="step", threads=1) as session:
        for begun, gone_on in zip(first, step, strict=True):
            before, sample = np.load(begun), dict(np.load(gone_on))
            text = torch.from_numpy(np.concatenate([before["tokens"], sample["token"]], axis=1))
            with torch.no_grad():
                expected = module(text)[0, -1].numpy()
            np.testing.assert_allclose(session.run(sample)["logits"][0], expected, atol=1e-4)


def test_golden_inputs_of_texts_are_texts_of_that_length() -> None:
    found = training_samples.drawn("textclassifier", {"batch": 3, "length": 9}, seed=1)
    assert {name: array.shape for name, array in found.items()} == {"tokens": (3, 9), "mask": (3, 9)}
    assert found["mask"][:, 0].all() and (found["tokens"][~found["mask"]] == 0).all()
    longer = training_samples.drawn("textclassifier", {"batch": 3, "length": 90}, seed=1)
    assert longer["tokens"].shape == (3, 90) and not longer["mask"][:, 70:].any()
    again = training_samples.drawn("textclassifier", {"batch": 3, "length": 9}, seed=1)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def test_a_translation_is_padded_to_the_length_of_the_targets() -> None:
    source = np.array([[4, 9, 7, translator.PAD, translator.PAD]])
    inputs = {"source": source, "source_mask": source != translator.PAD}
    kept = training_samples.unpadded(inputs)
    assert kept["source"].shape == kept["source_mask"].shape and kept["source_mask"].all()
    assert (inputs["source"] != translator.PAD).sum() == kept["source"].size
    padded = F.pad(torch.from_numpy(kept["source"]), (0, inputs["source"].shape[1] - kept["source"].shape[1]))
    assert torch.equal(padded, torch.from_numpy(inputs["source"]))
