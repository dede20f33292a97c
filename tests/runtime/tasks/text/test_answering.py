"""Answers that stand in a text, of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import InputError, UsageError
from attn_runtime.tasks.text import answer
from attn_runtime.tasks.text.answering import _trimmed as trimmed
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.texts.small_text_models import WORDS, per_token, pooled, table

STARTS, ENDS = np.zeros(len(WORDS), np.float32), np.zeros(len(WORDS), np.float32)
STARTS[[WORDS.index("new"), WORDS.index("where")]] = 8  # a question is no answer
ENDS[[WORDS.index("york"), WORDS.index("paris")]] = (8, 6)
CONTEXT = "anna lives in new york and in paris ."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return per_token(tmp_path_factory.mktemp("answer") / "t.attn", {"start_logits": STARTS, "end_logits": ENDS})


def test_the_likeliest_piece_of_the_context(bundle: Path) -> None:
    done = answer(bundle, "where ?", "in New York .", top=3)
    best, *others = done.answers
    assert (best.text, best.begin, best.end) == ("New York", 3, 11) and done.windows == 1
    begin, end = np.exp(8) / (np.exp(8) + 3), np.exp(8) / (np.exp(8) + 3)
    assert best.probability == pytest.approx(begin * end)
    assert (
        all(best.probability > other.probability and other.end > other.begin for other in others) and len(others) == 2
    )


def test_a_longer_context_is_read_in_windows(bundle: Path) -> None:
    context = " ".join(["anna and anna ."] * 6 + [CONTEXT] + ["who and who ."] * 6)
    done = answer(bundle, "where ?", context)
    assert done.windows > 5 and done.answers[0].text == "new york"
    assert context[done.answers[0].begin : done.answers[0].end] == "new york"


def test_an_answer_has_at_most_so_many_tokens(bundle: Path) -> None:
    assert answer(bundle, "?", "new and york", max_answer=2).answers[0].text != "new and york"
    assert answer(bundle, "?", "new and york", max_answer=3).answers[0].text == "new and york"


def test_what_answers_no_questions(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"answers no questions: expected an output start_logits \[batch, length\]"):
        answer(pooled(tmp_path / "p.attn", table(2)), "who", "anna")
    with pytest.raises(InputError, match="is empty"):
        answer(bundle, "who", " ")
    with pytest.raises(UsageError, match="max_answer: got 0"):
        answer(bundle, "who", "anna", max_answer=0)


def test_the_command(bundle: Path, tmp_path: Path) -> None:
    def ran(*words: str) -> str:
        done = CliRunner().invoke(cli, ["answer", str(bundle), "where ?", *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    (tmp_path / "t.txt").write_text("anna lives\nin new york")
    assert ran("--file", str(tmp_path / "t.txt"), "-q") == "new york\n"
    told = result_of(ran("in new york", "--json"))
    assert told["question"] == "where ?" and told["answers"][0]["begin"] == 3
    with pytest.raises(UsageError, match="give a text to be asked"):
        ran()


@pytest.mark.parametrize(("begin", "end", "expected"), [(2, 5, (5, 5)), (1, 5, (1, 2)), (2, 7, (5, 7)), (0, 7, (0, 7))])
def test_spaces_around_an_answer_are_no_part_of_it(begin: int, end: int, expected: tuple[int, int]) -> None:
    assert trimmed("ab   cd", begin, end) == expected
