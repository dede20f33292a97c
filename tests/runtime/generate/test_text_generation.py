"""Texts to tokens and back, and the two commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.cli.app import cli
from attn_runtime.errors import BackendError, BundleError, InputError, UsageError
from attn_runtime.generate import GenerateOptions, open_generator
from attn_runtime.generate.text_generation import generate_texts
from attn_runtime.preprocess.text import open_text
from click.testing import CliRunner, Result
from support.command_lines.json_answers import result_of
from support.models.tiny_generators import Tiny, greedy_of, write_bundle
from support.models.tiny_texts import WORDS, byte_tokenizer, texts_of, tokenizer

TRANSLATOR = Tiny(layers=1, max_length=12, batch=3, seed=2)
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 1}
WRITER = Tiny(layers=1, max_length=12, batch=3, encoder=False, seed=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("text")
    for name, tiny in (("translator", TRANSLATOR), ("writer", WRITER)):
        write_bundle(made / f"{name}.attn", tiny, **texts_of(tiny), tokenizer=tokenizer())
    write_bundle(made / "bytes.attn", WRITER, **texts_of(WRITER), tokenizer=byte_tokenizer())
    spaced = [f" {word}\r\n \n{word}  " for word in WORDS]
    model = {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(spaced)}, "unk_token": spaced[2]}
    made_of = tokenizer(model=model, added_tokens=[], decoder={"type": "Fuse"})
    write_bundle(made / "spaced.attn", WRITER, **texts_of(WRITER), tokenizer=made_of)
    return made


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model": {"type": "WordLevel", "vocab": {"the": 0}, "unk_token": "[UNK]"}}, 'text "a cat": WordLevel error'),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 20}] * 9}},
            "more than 4096 times as long",
        ),
    ],
)  # fmt: skip
def test_a_tokenizer_that_fails_at_a_text_is_told_in_one_line(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    texts = texts_of(TRANSLATOR, unknown=None)
    path = write_bundle(tmp_path / "t.attn", TRANSLATOR, **texts, tokenizer=tokenizer(**changed))
    with pytest.raises(BundleError) as raised:
        open_text(Bundle.open(path)).encode(["a cat"])
    assert says in str(raised.value) and "\n" not in str(raised.value)


def words(tokens: Sequence[int]) -> str:
    return " ".join(WORDS[token] for token in tokens if token > 1).replace(" .", ".")


def answer(tiny: Tiny, text: str) -> str:
    prompt = [WORDS.index(word) if word in WORDS else 2 for word in text.split()]
    return words(greedy_of(tiny, prompt, tiny.max_length - (1 if tiny.encoder else len(prompt))))


# --- text to tokens -----------------------------------------------------------------------------------------------


def test_texts_become_padded_tokens_and_come_back(folder: Path) -> None:
    text = open_text(Bundle.open(folder / "translator.attn"))
    tokens, mask = text.encode(["The cat sat", "a dog", "mat"])
    assert tokens.tolist() == [[3, 4, 5], [7, 10, 0], [8, 0, 0]] and tokens.dtype == np.int64
    assert mask.tolist() == [[True] * 3, [True, True, False], [True, False, False]]
    assert text.decode(np.array([3, 4, 5, 9, 1, 0])) == "the cat sat."
    assert text.decode([]) == ""
    assert text.names([3, 1, 99]) == ["the", "[END]", "[99]"]
    assert text.unknown_words("The Wolf sat on Pavlova") == ["Wolf", "Pavlova"]


def test_a_tokenizer_that_pads_and_cuts_does_neither_here(tmp_path: Path) -> None:
    cutting = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}
    padding["pad_token"] = "[PAD]"
    made = tokenizer(truncation=cutting, padding=padding)
    path = write_bundle(tmp_path / "t.attn", TRANSLATOR, **texts_of(TRANSLATOR), tokenizer=made)
    assert open_text(Bundle.open(path)).encode(["the cat sat"])[0].tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r'^text "": is empty; expected 1..12 tokens \(bundle translator.attn\)$'),
        (" \n\t", "is empty"),
        ("the " * 13, r'^text "the the .*": has 13 tokens; expected 1..12: shorten it or cut it in two'),
        ("a \ud800", "is not valid Unicode"),
    ],
)
def test_texts_that_are_refused(folder: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_text(Bundle.open(folder / "translator.attn")).encode(["the cat", text])


@pytest.mark.parametrize(
    ("assets", "error", "says"),
    [
        ({}, UsageError, "lack text.json and tokenizer.json"),
        (texts_of(TRANSLATOR), UsageError, "lack tokenizer.json"),
        (texts_of(TRANSLATOR, input="src") | {"tokenizer": tokenizer()}, BundleError, "expected an input src of int64"),
        (
            texts_of(TRANSLATOR, mask="source") | {"tokenizer": tokenizer()},
            BundleError,
            "expected an input source of bool",
        ),
        (texts_of(TRANSLATOR) | {"tokenizer": tokenizer(model={"type": "Magic"})}, BundleError, "asset tokenizer: "),
        (texts_of(TRANSLATOR) | {"tokenizer": [1, 2]}, BundleError, "asset tokenizer: "),
        (texts_of(TRANSLATOR) | {"tokenizer": tokenizer(decoder=STRIP)}, BundleError, "is a Strip with a `stop`"),
        (
            texts_of(TRANSLATOR)
            | {"tokenizer": tokenizer(decoder={"type": "Sequence", "decoders": [{"type": "Fuse"}, STRIP]})},
            BundleError,
            "is a Strip with a `stop`",
        ),
    ],
)
def test_assets_that_do_not_fit(tmp_path: Path, assets: dict[str, Any], error: type[Exception], says: str) -> None:
    path = write_bundle(tmp_path / "t.attn", TRANSLATOR, **assets)
    with open_generator(path, "cpu", threads=1) as generator, pytest.raises(error, match=says) as raised:
        open_text(generator)
    assert "\n" not in str(raised.value)


def test_without_the_library_the_line_to_install_it_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(BackendError, match="pip install tokenizers"):
        open_text(Bundle.open(folder / "translator.attn"))


# --- commands -----------------------------------------------------------------------------------------------------


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments), "--device", "cpu", "--threads", "1"], input=stdin)


def test_translate_prints_a_line_each_in_order(folder: Path) -> None:
    given = ["the cat sat", "a dog ran far", "on", "the mat", "far far"]
    done = run("translate", folder / "translator.attn", *given)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [answer(TRANSLATOR, text) for text in given]
    assert len(set(done.stdout.splitlines())) > 1


def test_lines_come_from_stdin_and_files_and_blank_ones_stay(folder: Path, tmp_path: Path) -> None:
    lines = "the cat sat\n\na dog\n"
    wanted = [answer(TRANSLATOR, "the cat sat"), "", answer(TRANSLATOR, "a dog")]
    assert run("translate", folder / "translator.attn", "-", stdin=lines).stdout.splitlines() == wanted
    among = run("translate", folder / "translator.attn", "a dog", "-", "the cat sat", stdin=lines)
    assert among.stdout.splitlines() == [wanted[2], *wanted, wanted[0]]
    (tmp_path / "in.txt").write_text(lines)
    done = run("translate", folder / "translator.attn", "--file", tmp_path / "in.txt")
    assert done.stdout.splitlines() == wanted


def test_unknown_words_are_told_on_stderr(folder: Path) -> None:
    done = run("translate", folder / "translator.attn", "the Wolf sat on the wolf")
    assert done.stderr == 'note: words that the model does not know: "Wolf", "wolf" (in "the Wolf sat on the wolf")\n'
    assert done.stdout == answer(TRANSLATOR, "the Wolf sat on the wolf") + "\n"


@pytest.mark.usefixtures("without_native")
def test_json_tells_all(folder: Path) -> None:
    done = run("translate", folder / "translator.attn", "the Wolf", "--beams", 3, "--max-length", 4, "--json")
    found = result_of(done.stdout)
    (told,) = found["answers"]
    assert told["unknown"] == ["Wolf"] and told["score"] < 0 and 1 <= len(told["tokens"]) <= 4
    assert told["text"] == words(told["tokens"]) and told["stopped"] in ("stop", "length")
    assert found["tokens_per_second"] > 0 and found["tokens"] == len(told["tokens"]) and found["backend"] == "ort"


def test_generate_goes_on_and_streams_the_same(folder: Path) -> None:
    whole = run("generate", folder / "writer.attn", "--prompt", "the cat")
    assert whole.stdout == answer(WRITER, "the cat") + "\n"
    assert run("generate", folder / "writer.attn", "--prompt", "the cat", "--stream").stdout == whole.stdout


def test_a_stream_of_bytes_is_the_answer(folder: Path) -> None:
    halves = 0
    for seed in range(4):
        drawn = ["--prompt", "caf é", "--temperature", 4, "--seed", seed]
        whole = run("generate", folder / "bytes.attn", *drawn).stdout
        assert run("generate", folder / "bytes.attn", *drawn, "--stream").stdout == whole
        halves += "\ufffd" in whole
    assert halves > 1

    told: dict[int, list[str]] = {0: [""], 1: [""]}
    made = generate_texts(
        folder / "bytes.attn", ["c", "fa"], device="cpu", on_text=lambda number, text: told[number].append(text)
    )
    for number, texts in told.items():
        assert texts[-1] == made.answers[number].text and texts[-1]
        assert all(after.startswith(before) and after != before for before, after in pairwise(texts))


def test_an_answer_is_a_line_with_its_spaces(folder: Path) -> None:
    asked = [folder / "spaced.attn", "--prompt", "the", "--max-length", 2]
    (answer,) = generate_texts(folder / "spaced.attn", ["the"], GenerateOptions(2), device="cpu").answers
    assert answer.text.count("  ") == 2 and answer.text.count("\r\n") == 2
    assert run("generate", *asked).stdout == answer.text.replace("\r", "").replace("\n", " ") + "\n"
    assert run("generate", *asked, "--stream").stdout.count("\n") == 4 + 1


def test_a_text_too_long_is_refused_before_the_first_is_run(folder: Path) -> None:
    with open_generator(folder / "writer.attn", "cpu") as generator:
        texts = ["the cat"] * generator.most_rows + ["the " * 13]
    told: list[str] = []
    with pytest.raises(InputError, match="has 13 tokens"):
        generate_texts(folder / "writer.attn", texts, device="cpu", on_text=lambda number, text: told.append(text))
    assert told == []


@pytest.mark.parametrize("where", ["on_token", "cancel"])
def test_what_a_callback_raises_comes_out_and_the_generator_goes_on(folder: Path, where: str) -> None:
    class Mine(BaseException): ...

    calls = []

    def third(*given: int) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise Mine

    inputs = {"tokens": np.array([[3, 4], [7, 10]])}
    with open_generator(folder / "writer.attn", "cpu", threads=1) as generator:
        wanted = generator.generate(inputs)
        with pytest.raises(Mine):
            generator.generate(inputs, **{where: third})  # type: ignore[arg-type]
        assert len(calls) == 3
        assert generator.generate(inputs).tokens.tolist() == wanted.tokens.tolist()


def test_generate_draws_by_seed(folder: Path) -> None:
    drawn = {
        run("generate", folder / "writer.attn", "--prompt", "the cat", "--temperature", 3, "--seed", seed).stdout
        for seed in (0, 0, 1, 2, 3)
    }
    assert 2 <= len(drawn) <= 4
    only = run("generate", folder / "writer.attn", "--prompt", "the cat", "--top-k", 1)
    assert only.stdout == answer(WRITER, "the cat") + "\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["translate", "translator.attn"], "nothing to translate"),
        (["translate", "translator.attn", ""], "is empty"),
        (["translate", "writer.attn", "the"], "is no translator.* attn-run generate"),
        (["generate", "translator.attn", "--prompt", "the"], "has an encoder.* attn-run translate"),
        (["translate", "translator.attn", "a", "b", "--stream"], "--stream: expected one text"),
        (["translate", "translator.attn", "a", "--beams", "14"], "beams: got 14, but the model has 13"),
        (["translate", "translator.attn", "a", "--beams", "4"], "got 1 rows of 4 beams; the graphs take up to 3"),
        (["translate", "translator.attn", "a", "--max-length", "-1"], "max_length: got -1"),
        (
            ["generate", "writer.attn", "--prompt", "a", "--temperature", "0"],
            "temperature: got 0.0, expected .* above 0",
        ),
        (["generate", "writer.attn", "--prompt", "a", "--seed", "1", "--beams", "2"], "2 beams and sampling"),
        (["translate", "translator.attn", "--file", "none.txt"], "there is no such file"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, arguments: list[str], says: str) -> None:
    done = run(arguments[0], folder / arguments[1], *arguments[2:])
    assert done.stdout == "" and isinstance(done.exception, UsageError | InputError)
    assert "\n" not in str(done.exception)
    with pytest.raises(type(done.exception), match=says):
        raise done.exception


def test_an_answer_can_be_cut_off(folder: Path) -> None:
    found = generate_texts(folder / "writer.attn", ["the", "a", "on", "dog"], cancel=lambda: True, device="cpu")
    assert [answer.stopped for answer in found.answers] == ["cancelled"] * 4 and found.calls == 1


def test_the_program_itself(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attn_runtime.cli.app", "translate", folder / "translator.attn", "", "--device", "cpu"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (7, "") and done.stderr.startswith('error: text "": is empty')
