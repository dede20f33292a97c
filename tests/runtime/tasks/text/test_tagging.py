"""Entities in texts: what is put together, where it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.tasks.text import tag
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.texts.small_text_models import per_token, pooled, table

LABELS = ["O", "B-PER", "B-LOC", "I-LOC"]
LOGITS = table(4, anna=(0, 3, 0, 0), new=(0, 0, 3, 0), york=(0, 0, 0, 3), paris=(0, 0, 3, 0))
LOGITS[[2, 3]] = (0, 9, 0, 0)  # [CLS] and [SEP] are no persons


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return per_token(tmp_path_factory.mktemp("tag") / "t.attn", {"logits": LOGITS}, labels=LABELS)


def test_tokens_of_one_label_are_one_entity(bundle: Path) -> None:
    first, second, third = tag(bundle, ["Anna lives in New York .", "Paris Paris", "who ?"]).inputs
    assert [(e.label, e.text, e.begin, e.end) for e in first.entities] == [
        ("PER", "Anna", 0, 4),
        ("LOC", "New York", 14, 22),
    ]
    share = np.exp(3) / (np.exp(3) + 3)
    assert [e.probability for e in first.entities] == pytest.approx([share, share])
    assert [e.begin for e in second.entities] == [0, 6]  # each begins one
    assert third.entities == ()


def test_labels_without_a_prefix_go_on(tmp_path: Path) -> None:
    bundle = per_token(tmp_path / "t.attn", {"logits": LOGITS}, labels=["O", "PER", "LOC", "LOC"])
    (found,) = tag(bundle, ["paris new york anna"]).inputs
    assert [(e.label, e.text) for e in found.entities] == [("LOC", "paris new york"), ("PER", "anna")]


def test_a_bundle_that_labels_no_tokens(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"labels no tokens: expected an output logits \[batch, length, labels\]"):
        tag(pooled(tmp_path / "p.attn", LOGITS), ["anna"])
    with pytest.raises(UsageError, match="has no asset labels"):
        tag(per_token(tmp_path / "t.attn", {"logits": LOGITS}), ["anna"])
    with pytest.raises(BundleError, match="has 2 labels, its logits 4 columns"):
        tag(per_token(tmp_path / "u.attn", {"logits": LOGITS}, labels=["O", "X"]), ["anna"])


def test_the_command(bundle: Path) -> None:
    def ran(*words: str) -> str:
        done = CliRunner().invoke(cli, ["tag", str(bundle), *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert ran("in new york", "who", "-q").split("\n")[:2] == [
        "LOC  87.0%  3..11  new york",
        "-                  nothing in who",
    ]
    (told,) = result_of(ran("anna", "--json"))["inputs"]
    assert told["entities"][0] | {"probability": 1} == {
        "label": "PER",
        "text": "anna",
        "begin": 0,
        "end": 4,
        "probability": 1,
    }
