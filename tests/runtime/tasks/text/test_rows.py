"""Texts on their way through a graph: pairs with types, models without a mask, scores that are no softmax. Through `classify`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import BundleError, InputError, UsageError
from attn_runtime.spec import Dim
from attn_runtime.tasks.classification import classify
from attn_runtime.tasks.file_run import run_file
from click.testing import CliRunner
from support.models.small_classifiers import pictures
from support.texts.small_text_models import TEXT, pooled, table

SCORES = table(2, anna=(1, 0), paris=(0, 1.5), PAD=(0, 50))
LABELS = ["person", "place"]


def numbers(done) -> list[list[float]]:
    return [[guess.probability for guess in sorted(i.guesses, key=lambda g: g.index)] for i in done.inputs]


def bundle(path: Path, **changed) -> Path:
    how = {name: changed.pop(name) for name in ("mask", "types", "length") if name in changed}
    plain = {"labels": LABELS, "classification": {"scores": "none"}}
    return pooled(path, SCORES, "logits", **how, **{**plain, **changed})


def test_the_second_text_of_a_pair_has_its_type(tmp_path: Path) -> None:
    path = bundle(tmp_path / "p.attn", types=True)  # what is of type 1 counts twice
    assert numbers(classify(path, ["anna", "paris"], pairs=["paris", "anna anna"])) == [[1, 3], [4, 1.5]]
    assert numbers(classify(path, ["anna", "paris paris"])) == [[1, 0], [0, 3]]
    with pytest.raises(UsageError, match="got 1 second texts for 2 first ones"):
        classify(path, ["anna", "paris"], pairs=["paris"])
    with pytest.raises(UsageError, match="pairs: .* takes pictures; leave it out"):
        classify(pictures(tmp_path / "pictures.attn"), ["x.png"], pairs=["a"])
    done = CliRunner().invoke(cli, ["classify", str(path), "anna", "--pair", "paris", "-q"])
    assert done.stdout.split() == ["place", "3", "person", "1", "anna"]


def test_without_a_mask_texts_of_one_length_are_a_batch(tmp_path: Path) -> None:
    path = bundle(tmp_path / "p.attn", mask=False)
    done = classify(path, ["anna", "paris", "anna anna", "anna"])
    assert numbers(done) == [[1, 0], [0, 1.5], [2, 0], [1, 0]] and done.calls == 3


def test_a_fixed_length_is_part_of_the_text_where_there_is_no_mask(tmp_path: Path) -> None:
    path = bundle(tmp_path / "p.attn", mask=False, length=Dim.fixed(6))  # padding adds 50 to a place
    done = classify(path, ["anna", "anna anna"])
    assert numbers(done) == [[1, 150], [2, 100]] and done.calls == 1


def test_scores_by_themselves_and_measures(tmp_path: Path) -> None:
    each = bundle(tmp_path / "s.attn", classification={"scores": "sigmoid"})
    assert numbers(classify(each, ["anna paris"])) == [pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-1.5))])]
    assert classify(each, ["anna"]).scores == "sigmoid"
    both = bundle(tmp_path / "b.attn", classification={"scores": "softmax"})
    assert sum(numbers(classify(both, ["anna paris"]))[0]) == pytest.approx(1)
    measure = bundle(tmp_path / "n.attn")
    assert classify(measure, ["paris"]).to_json()["scores"] == "none"
    np.savez(tmp_path / "x.npz", input_ids=np.array([[10]]), attention_mask=np.array([[True]]))
    assert run_file(measure, tmp_path / "x.npz").scores == "none"
    assert "1.5  place" in CliRunner().invoke(cli, ["run", str(measure), str(tmp_path / "x.npz")]).stdout
    with pytest.raises(BundleError, match='asset classification: scores: got "maximum"'):
        classify(bundle(tmp_path / "w.attn", classification={"scores": "maximum"}), ["anna"])


def test_a_text_is_cut_on_demand(tmp_path: Path) -> None:
    path = bundle(tmp_path / "p.attn", text=TEXT | {"max_length": 4, "truncation": "left"})
    with pytest.raises(InputError, match="has 5 tokens"):
        classify(path, ["anna anna paris"])
    (found,) = classify(path, ["anna anna paris"], truncate=True).inputs
    assert {g.label: g.probability for g in found.guesses} == {"person": 1, "place": 1.5}
    assert found.notes == ("cut to 4 tokens, 1 were left out",)
