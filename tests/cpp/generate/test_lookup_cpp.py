"""C++ guesses what Python guesses, and writes the greedy tokens whatever comes of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.generate import GenerateOptions, open_generator
from attn_runtime.generate import Generator as PythonGenerator
from attn_runtime.generate.verify import replay
from support.graphs.make_hostile_bundles import rehash
from support.machines.generator_library import Generator, Refused
from support.models.tiny_generators import Tiny, asset_of, case_of, drawn_prompts, inputs_of, write_bundle
from support.models.tiny_texts import text_assets

USAGE = 2
TINIES = {
    "translator": Tiny(extend=True, vocabulary=7, layers=1, seed=2, sharpness=1.5),
    "writer": Tiny(encoder=False, extend=True, vocabulary=7, key_heads=1, layers=1, seed=4, sharpness=1.5),
}


@pytest.fixture(scope="module", params=[("translator", "fp32"), ("writer", "fp32"), ("writer", "fp16")], ids="-".join)
def both(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cpp_build: Path,
    cpp_environment: dict[str, str],
) -> Iterator[tuple[Tiny, Generator, PythonGenerator]]:
    name, precision = request.param
    path = write_bundle(tmp_path_factory.mktemp("lookup") / "tiny.attn", TINIES[name])
    library = cpp_build / "libattn_runtime.so"
    with (
        Generator(library, path, precision, Path(cpp_environment["ATTN_ONNXRUNTIME"])) as cpp,
        open_generator(path, "cpu", "ort", precision=precision, threads=1) as python,
    ):
        yield TINIES[name], cpp, python


def prompts_of(tiny: Tiny, rng: np.random.Generator) -> dict[str, Any]:
    rows = []
    for _ in range(int(rng.integers(1, tiny.batch + 1))):
        (piece,) = drawn_prompts(tiny, [int(rng.integers(1, 7))], int(rng.integers(1 << 30)))
        rows.append(np.resize(piece, int(rng.integers(1, 20))).tolist())
    return inputs_of(tiny, rows)


@pytest.mark.parametrize("seed", range(8))
def test_tokens_guesses_and_scores_are_pythons(both: tuple[Tiny, Generator, PythonGenerator], seed: int) -> None:
    tiny, cpp, python = both
    rng = np.random.default_rng(seed)
    for _ in range(4):
        inputs = prompts_of(tiny, rng)
        options: dict[str, Any] = {"max_length": int(rng.integers(0, 40)), "lookup": int(rng.integers(1, 8))}
        for name, value in (("repetition_penalty", 1.4), ("no_repeat_ngram", 4), ("min_length", 9), ("stop", [1, 4])):
            if rng.random() < 0.25:
                options[name] = value
        wanted = python.generate(inputs, GenerateOptions(**options, scores=True))
        found = cpp.generate(inputs, **options, scores=1)
        assert cpp.guesses == (wanted.drafted, wanted.accepted)
        assert wanted.scores is not None
        for number, row in enumerate(found):
            stopped = wanted.stopped[number] == "stop"
            assert row.tokens == (wanted.row(number)[:-1] if stopped else wanted.row(number))
            assert row.stopped == stopped
            assert row.score == pytest.approx(wanted.scores[number], rel=2e-3, abs=2e-3)
        greedy = {name: value for name, value in options.items() if name != "lookup"}
        assert [row.tokens for row in cpp.generate(inputs, **greedy)] == [row.tokens for row in found]
        assert cpp.guesses == (0, 0)


def test_tokens_are_told_in_order_and_end_where_the_caller_says(
    both: tuple[Tiny, Generator, PythonGenerator],
) -> None:
    tiny, cpp, _ = both
    inputs = inputs_of(tiny, [[3, 4, 3, 4, 3, 4], [5, 3, 4]])
    told: dict[int, list[int]] = {0: [], 1: []}
    whole = cpp.generate(inputs, lookup=5, stop=[], on_token=lambda row, token: told[row].append(token))
    assert [told[0], told[1]] == [row.tokens for row in whole]
    left = [9]

    def few(row: int, token: int) -> bool:
        left[0] -= 1
        return left[0] == 0

    cut = cpp.generate(inputs, lookup=5, stop=[], on_token=few)
    assert sum(len(row.tokens) for row in cut) == 9
    for mine, all_of in zip(cut, whole, strict=True):
        assert mine.tokens == all_of.tokens[: len(mine.tokens)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beams": 2}, "2 beams are followed"),
        ({"sample": 1}, "tokens are drawn"),
        ({"lookup": 8}, "up to 7 guesses"),
        ({"lookup": -1}, "lookup: got -1"),
    ],
)
def test_what_goes_not_with_guesses_is_refused(
    both: tuple[Tiny, Generator, PythonGenerator], options: dict[str, Any], says: str
) -> None:
    tiny, cpp, _ = both
    with pytest.raises(Refused, match=says) as found:
        cpp.generate(inputs_of(tiny, [[3, 4]]), **{"lookup": 3, **options})
    assert found.value.status == USAGE


def test_a_wrong_graph_of_several_tokens_fails_as_in_python(
    tmp_path: Path, cpp_build: Path, cpp_environment: dict[str, str]
) -> None:
    """The graphs of two models in one bundle: greedy cases are written again with guesses, a padded batch and its rows."""
    tiny = replace(TINIES["writer"], stop=())
    path = write_bundle(tmp_path / "tiny.attn", tiny, [case_of(tiny, [[3, 4, 5, 3, 4, 5, 3], [6, 5, 6, 5]], 30)])
    other = write_bundle(tmp_path / "other.attn", replace(tiny, seed=5))
    for failing in (False, True):
        if failing:
            shutil.copy(other / "extend.onnx", path / "extend.onnx")
            rehash(path)
        command = [cpp_build / "tests" / "attn_generate_tool", "replay", path, "fp32"]
        found = json.loads(subprocess.run(command, env=cpp_environment, check=True, capture_output=True).stdout)
        wanted = replay(path, "cpu", "ort", threads=1)
        assert [passed for _, passed, _ in found] == [each.passed for each in wanted]
        assert [problem for *_, problem in found] == [each.problem for each in wanted]
        assert [each.passed for each in wanted] == [each.drafted is None or not failing for each in wanted]


def test_graphs_are_kept_and_shared_with_python(
    tmp_path: Path, cpp_build: Path, cpp_environment: dict[str, str]
) -> None:
    tiny, kept = TINIES["translator"], tmp_path / "kept"
    path = write_bundle(tmp_path / "tiny.attn", tiny)
    inputs = inputs_of(tiny, [[3, 4, 3, 4, 3, 4], [5, 3, 4]])
    library, runtime = cpp_build / "libattn_runtime.so", Path(cpp_environment["ATTN_ONNXRUNTIME"])
    with Generator(library, path, None, runtime) as cpp:
        plain = cpp.generate(inputs, lookup=5, stop=[])
    files: dict[Path, int] = {}
    for _ in range(2):
        with Generator(library, path, None, runtime, cache=kept) as cpp:
            assert cpp.generate(inputs, lookup=5, stop=[]) == plain
        assert len(list((kept / "ort").iterdir())) == 4
        files = files or {file: file.stat().st_ino for file in kept.rglob("*")}
    with open_generator(path, "cpu", "ort", threads=1, cache=kept) as python:
        found = python.generate(inputs, GenerateOptions(lookup=5, stop=()))
        assert [found.row(n) for n in range(2)] == [row.tokens for row in plain]
    assert {file: file.stat().st_ino for file in kept.rglob("*")} == files


def test_texts_and_a_bundle_without_the_graph(tmp_path: Path, cpp_build: Path, cpp_environment: dict[str, str]) -> None:
    tiny = Tiny(encoder=False, extend=True, sharpness=1.0, layers=1, seed=5)  # of as many tokens as there are words
    library, runtime = cpp_build / "libattn_runtime.so", Path(cpp_environment["ATTN_ONNXRUNTIME"])
    path = write_bundle(tmp_path / "tiny.attn", tiny, **text_assets(tiny))
    with Generator(library, path, None, runtime) as cpp:
        texts = ["the cat the cat the", "a dog"]
        found, _ = cpp.generate_text(texts, lookup=7, stop=[])
        assert 0 < cpp.guesses[1] <= cpp.guesses[0]
        assert found == cpp.generate_text(texts, stop=[])[0]
    without = write_bundle(tmp_path / "without.attn", tiny, generation=asset_of(tiny) | {"extend": None})
    with Generator(library, without, None, runtime) as cpp, pytest.raises(Refused, match="--with-extend") as refused:
        cpp.generate(inputs_of(tiny, [[3, 4]]), lookup=3)
    assert refused.value.status == USAGE
