"""Words for the places that a text leaves open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import InputError, UsageError
from attn_runtime.tasks.text import fill
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.texts.small_text_models import TEXT, WORDS, V, per_token, table

LOGITS = table(V, MASK=np.arange(V))  # the last word is the likeliest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return per_token(tmp_path_factory.mktemp("fill") / "t.attn", {"logits": LOGITS})


def test_each_open_place_gets_its_words(bundle: Path) -> None:
    done = fill(bundle, ["anna lives in [MASK] .", "[MASK] and [MASK]"], top=2)
    assert done.mask == "[MASK]" and [len(i.places) for i in done.inputs] == [1, 2]
    shares = np.exp(np.arange(V)) / np.exp(np.arange(V)).sum()
    for place in (done.inputs[0].places[0], *done.inputs[1].places):
        assert [(w.token, w.text) for w in place] == [(V - 1, "."), (V - 2, "?")]
        assert [w.probability for w in place] == pytest.approx([shares[-1], shares[-2]])


def test_special_tokens_are_told_by_name(tmp_path: Path) -> None:
    likely = np.zeros(V)
    likely[WORDS.index("[SEP]")] = 5
    (found,) = fill(per_token(tmp_path / "t.attn", {"logits": table(V, MASK=likely)}), ["[MASK]"], top=1).inputs
    assert found.places[0][0].text == "[SEP]"


def test_what_can_not_be_filled(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'text "anna": has no open place; write \[MASK\] there'):
        fill(bundle, ["[MASK]", "anna"])
    without = {name: value for name, value in TEXT.items() if name != "mask_token"}
    with pytest.raises(UsageError, match="names no mask_token"):
        fill(per_token(tmp_path / "t.attn", {"logits": LOGITS}, text=without), ["[MASK]"])
    with pytest.raises(UsageError, match="it labels tokens; attn-run tag"):
        fill(per_token(tmp_path / "u.attn", {"logits": LOGITS}, labels=WORDS), ["[MASK]"])


def test_the_command(bundle: Path) -> None:
    def ran(*words: str) -> str:
        done = CliRunner().invoke(cli, ["fill", str(bundle), "in [MASK]", *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert ran("--top", "1", "-q") == ". 63.2%  in [MASK]\n"
    assert result_of(ran("--json"))["inputs"][0]["places"][0][0]["text"] == "."
