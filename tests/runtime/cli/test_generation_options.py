"""`attn-run translate` and `generate`: the bundle's defaults, and the options that stand above them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import UsageError
from attn_runtime.generate import GenerateOptions, Sample, generate_texts
from click.testing import CliRunner, Result
from support.command_lines.json_answers import result_of
from support.models.tiny_generators import Tiny, asset_of, write_bundle
from support.models.tiny_texts import text_assets

TRANSLATOR = Tiny(sharpness=1.0, layers=1, seed=3, stop=(1,))
WRITER = Tiny(encoder=False, sharpness=1.0, layers=1, seed=5, stop=(1,))
CHOICES = {"language": {"place": 1, "tokens": {"de": 6, "fr": 7}}}
TEXT = "the cat sat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("options")
    beams = {"choices": CHOICES, "defaults": {"beams": 3, "max_new": 9}}
    drawn = {"defaults": {"max_new": 9, "sample": {"temperature": 1.5}}}
    for name, tiny, keys in (("translator", TRANSLATOR, beams), ("writer", WRITER, drawn)):
        write_bundle(made / f"{name}.attn", tiny, **text_assets(tiny), generation=asset_of(tiny) | keys)
    return made


def run(*arguments: object) -> Result:
    command, *words = map(str, arguments)
    return CliRunner().invoke(cli, [command, "--device", "cpu", "--threads", "1", *words])


def answer(folder: Path, name: str, options: GenerateOptions) -> str:
    return generate_texts(folder / f"{name}.attn", [TEXT], options, device="cpu", threads=1).answers[0].text


def test_threads_may_be_left_to_the_calls(folder: Path) -> None:
    done = run("translate", folder / "translator.attn", TEXT, "--greedy", "--threads", "auto")  # the last one counts
    assert (done.exit_code, done.stdout.rstrip("\n")) == (0, answer(folder, "translator", GenerateOptions(beams=1)))
    done = run("translate", folder / "translator.attn", TEXT, "--threads", "some")
    assert done.exit_code == 2 and "'some' is no whole number and not auto" in done.stderr


def test_graphs_are_kept_where_the_option_says(folder: Path, tmp_path: Path) -> None:
    plain = run("generate", folder / "writer.attn", "--prompt", TEXT, "--greedy")
    for _ in range(2):
        done = run("generate", folder / "writer.attn", "--prompt", TEXT, "--greedy", "--cache", tmp_path / "kept")
        assert (done.exit_code, done.stdout) == (0, plain.stdout)
    assert len(list((tmp_path / "kept" / "ort").iterdir())) == 2


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ([], {}),
        (["--to", "de"], {"begin": {"language": "de"}}),
        (["--greedy"], {"beams": 1}),
        (["--beams", "2", "--no-repeat-ngram", "2", "--min-length", "4"], {"beams": 2, "no_repeat_ngram": 2, "min_length": 4}),
        (["--repetition-penalty", "3", "--greedy"], {"beams": 1, "repetition_penalty": 3.0}),
    ],
)  # fmt: skip
def test_translate_does_what_the_options_say(folder: Path, given: list[str], options: dict[str, Any]) -> None:
    done = run("translate", folder / "translator.attn", TEXT, *given)
    assert (done.exit_code, done.stdout.rstrip("\n")) == (0, answer(folder, "translator", GenerateOptions(**options)))


def test_the_bundles_default_draws_and_greedy_does_not(folder: Path) -> None:
    for given, sample in ((["--seed", "4"], Sample(seed=4)), ([], None), (["--greedy"], False)):
        done = run("generate", folder / "writer.attn", "--prompt", TEXT, *given, "--json")
        wanted = generate_texts(folder / "writer.attn", [TEXT], GenerateOptions(sample=sample), device="cpu", threads=1)
        assert result_of(done.stdout)["answers"][0]["tokens"] == list(wanted.answers[0].tokens)
    assert wanted.answers[0].tokens != answer(folder, "writer", GenerateOptions(sample=Sample(seed=4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "translator.attn", TEXT, "--to", "dee"], 'got language "dee"; did you mean de[?] available: de, fr'),
        (["translate", "translator.attn", TEXT, "--greedy", "--beams", "2"], "--greedy: leave --beams"),
        (["generate", "writer.attn", "--prompt", TEXT, "--greedy", "--seed", "1"], "--greedy: leave --beams"),
        (["translate", "translator.attn", TEXT, "--stream"], "take one beam"),
        (["generate", "writer.attn", "--prompt", TEXT, "--repetition-penalty", "0"], "repetition_penalty: got 0"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(folder: Path, arguments: list[str], message: str) -> None:
    done = run(arguments[0], folder / arguments[1], *arguments[2:])
    assert isinstance(done.exception, UsageError) and re.search(message, str(done.exception))


def test_lookup_writes_the_same_and_counts_its_guesses(tmp_path: Path) -> None:
    tiny = Tiny(encoder=False, extend=True, sharpness=1.0, layers=1, seed=5, stop=())
    path = write_bundle(tmp_path / "writer.attn", tiny, **text_assets(tiny))
    asked = ["generate", path, "--prompt", "the cat the cat", "--json"]
    found, wanted = (result_of(run(*asked, *more).stdout) for more in (["--lookup", "5"], []))
    assert [one["tokens"] for one in found["answers"]] == [one["tokens"] for one in wanted["answers"]]
    assert 0 < found["accepted"] <= found["drafted"] and "drafted" not in wanted
    refused = run(*asked, "--lookup", "5", "--beams", "2")
    assert isinstance(refused.exception, UsageError) and "lookup: 2 beams are followed" in str(refused.exception)
