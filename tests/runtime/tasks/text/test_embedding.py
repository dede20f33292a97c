"""Embeddings: which output they are, how tokens are pooled, what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import InputError, UsageError
from attn_runtime.tasks.text import embed
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.texts.small_text_models import TEXT, per_token, pooled, table

TABLE = table(3, anna=(1, 0, 0), paris=(0, 3, 4), PAD=(9, 9, 9))
#: [CLS] and [SEP] are part of what is pooled.
MORE = table(2, anna=(3, 0), paris=(0, 6), PAD=(90, 90))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pooled(tmp_path_factory.mktemp("embed") / "s.attn", TABLE)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return per_token(tmp_path_factory.mktemp("embed") / "t.attn", {"last_hidden_state": MORE})


def test_texts_of_different_lengths_answer_as_alone(sentences: Path, tmp_path: Path) -> None:
    done = embed(sentences, ["anna", "Paris and Paris", "anna anna anna anna"], output=tmp_path / "e.npy")
    assert done.output == "embeddings" and done.calls == 1
    np.testing.assert_array_equal(done.array, [[1, 0, 0], [0, 6, 8], [4, 0, 0]])
    saved = np.load(tmp_path / "e.npy")
    np.testing.assert_array_equal(saved, done.array)
    assert saved.dtype == np.float32
    np.testing.assert_allclose(embed(sentences, ["paris"], normalize=True).array, [[0, 0.6, 0.8]])


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [[1, 0], [0, 2]]), ("first", [[0, 0], [0, 0]])])
def test_tokens_are_pooled_without_padding(tokens: Path, pooling: str, expected: list[list[float]]) -> None:
    found = embed(tokens, ["anna", "paris"], pooling=pooling, of="last_hidden_state").array
    np.testing.assert_allclose(found, expected)
    padded = embed(tokens, ["anna", "paris and paris and paris"], pooling=pooling, of="last_hidden_state").array
    np.testing.assert_allclose(padded[0], found[0])


def test_last_is_the_last_token_of_the_text(tmp_path: Path) -> None:
    ends = table(1, anna=(1,), PAD=(9,))
    ends[3] = 5  # [SEP]
    bundle = per_token(tmp_path / "t.attn", {"last_hidden_state": ends})
    found = embed(bundle, ["anna", "anna and anna and anna"], pooling="last", of="last_hidden_state").array
    assert found.tolist() == [[5], [5]]


def test_which_output_is_meant_is_not_guessed(tokens: Path, sentences: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"which of its outputs is the embedding\? .*--of, .*--pooling mean\|first\|last"
    ):
        embed(tokens, ["anna"])
    with pytest.raises(UsageError, match='of: got "last_hiden_state", did you mean last_hidden_state'):
        embed(tokens, ["anna"], of="last_hiden_state")
    with pytest.raises(UsageError, match="give --pooling"):
        embed(tokens, ["anna"], of="last_hidden_state")
    with pytest.raises(UsageError, match='pooling: got "means", did you mean mean'):
        embed(tokens, ["anna"], pooling="means")
    with pytest.raises(UsageError, match="is a classifier"):
        embed(pooled(tmp_path / "c.attn", TABLE, "logits", labels=["a", "b", "c"]), ["anna"])
    with pytest.raises(UsageError, match=r"expected .npy"):
        embed(sentences, ["anna"], output=tmp_path / "e.npz")
    with pytest.raises(UsageError, match="nothing to embed"):
        embed(sentences, [])


def test_a_text_that_is_too_long_is_refused_or_cut_and_told(tmp_path: Path) -> None:
    bundle = pooled(tmp_path / "s.attn", TABLE, text=TEXT | {"max_length": 4})
    with pytest.raises(InputError, match=r"has 6 tokens; expected 1..4"):
        embed(bundle, ["anna", "anna anna anna paris"])
    (found,) = embed(bundle, ["anna anna anna paris"], truncate=True).inputs
    assert found.values.tolist() == [2, 0, 0] and found.notes == ("cut to 4 tokens, 2 were left out",)


def test_the_command(sentences: Path, tmp_path: Path) -> None:
    def ran(*words: str, given: str = "") -> str:
        done = CliRunner().invoke(cli, ["embed", str(sentences), *words], input=given, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert ran("anna", "-", "--quiet", given="paris\n") == "[1.0, 0.0, 0.0]\n[0.0, 3.0, 4.0]\n"
    told = result_of(ran("anna", "--json"))
    assert told["inputs"] == [{"input": "anna", "embedding": [1, 0, 0], "notes": []}] and told["calls"] == 1
    assert ran("anna", "-o", str(tmp_path / "e.npy")).startswith(f"{tmp_path / 'e.npy'}: 1 embeddings of 3 numbers")
