"""The rules of a bundle in C++ and in Python: the same tokens and scores, the same refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.errors import AttnError
from attn_runtime.generate import GenerateOptions, Sample, open_generator
from attn_runtime.generate import Generator as PythonGenerator
from support.graphs.make_hostile_bundles import rehash
from support.machines.generator_library import Generator, Refused
from support.models.tiny_generators import Tiny, asset_of, drawn_prompts, inputs_of, write_bundle

TRANSLATOR = Tiny(sharpness=1.0, batch=16, stop=(1, 4), seed=3, layers=1)
WRITER = Tiny(encoder=False, key_heads=1, sharpness=1.0, batch=16, stop=(1, 4), seed=5, layers=1)
CHOICES = {"language": {"place": 1, "tokens": {"de": 6, "fr": 7}}, "task": {"place": 2, "tokens": {"translate": 9}}}
RULES: dict[str, Any] = {
    "suppress": [3],
    "suppress_first": [5, 8],
    "forced_end": [4],
    "encoder_no_repeat_ngram": 2,
    "defaults": {
        "max_length": 14,
        "min_new": 2,
        "min_length": 5,
        "beams": 2,
        "length_penalty": 1.5,
        "early_stop": True,
        "repetition_penalty": 1.3,
        "no_repeat_ngram": 2,
    },
}
DRAWN = {"defaults": {"max_new": 8, "sample": {"temperature": 0.7, "top_k": 5, "top_p": 0.9}}}
BUNDLES: dict[str, tuple[Tiny, dict[str, Any]]] = {
    "translator": (TRANSLATOR, {"begin": [2, 7], "begin_uncounted": 1, "choices": CHOICES, **RULES}),
    "writer": (WRITER, RULES),
    "drawn": (WRITER, DRAWN),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rules")
    for name, (tiny, keys) in BUNDLES.items():
        write_bundle(made / f"{name}.attn", tiny, generation=asset_of(tiny) | keys)
    return made


Pair = tuple[Tiny, Generator, PythonGenerator]


@pytest.fixture(scope="module", params=BUNDLES)
def pair(request: Any, folder: Path, cpp_build: Path, cpp_environment: dict[str, str]) -> Iterator[Pair]:
    path, ort = folder / f"{request.param}.attn", Path(cpp_environment["ATTN_ONNXRUNTIME"])
    with (
        Generator(cpp_build / "libattn_runtime.so", path, "fp32", ort) as cpp,
        open_generator(path, "cpu", "ort", precision="fp32", threads=1) as python,
    ):
        yield BUNDLES[request.param][0], cpp, python


def asked_of_c(options: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if name != "sample"}
    drawn = options.get("sample")
    return {**given, **({"sample": 0} if drawn is False else {"sample": 1, **drawn} if drawn is not None else {})}


def asked_of_python(options: dict[str, Any]) -> GenerateOptions:
    drawn = options.get("sample")
    return GenerateOptions(**{**options, "sample": Sample(**drawn) if isinstance(drawn, dict) else drawn})


OPTIONS: list[dict[str, Any]] = [
    {},
    {"beams": 1, "sample": False},
    {"beams": 3, "max_length": 6, "min_length": 4},
    {"repetition_penalty": 0.5, "no_repeat_ngram": 3, "beams": 1},
    {"repetition_penalty": 1.0, "no_repeat_ngram": 0, "min_length": 0, "early_stop": False, "length_penalty": 0.0},
    {"sample": {"temperature": 1.5, "top_k": 6, "top_p": 0.8, "seed": 4}},
    {"max_length": 30, "beams": 2, "stop": [9]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_same_tokens_and_scores(pair: Pair, options: dict[str, Any]) -> None:
    tiny, cpp, python = pair
    inputs = inputs_of(tiny, drawn_prompts(tiny, [4, 1, 7], seed=len(str(options))))
    wanted = python.generate(inputs, asked_of_python(options | {"scores": True}))
    found = cpp.generate(inputs, scores=1, **asked_of_c(options))
    assert wanted.scores is not None
    for number, row in enumerate(found):
        assert row.tokens == wanted.row(number)[: len(row.tokens)]
        assert len(row.tokens) == wanted.lengths[number] - row.stopped
        assert row.stopped == wanted.finished[number]
        np.testing.assert_allclose(row.score, wanted.scores[number], rtol=1e-5)


@pytest.mark.parametrize("begin", [{}, {"language": "de"}, {"task": "translate", "language": "fr"}], ids=str)
def test_begin_is_chosen_by_name(pair: Pair, begin: dict[str, str]) -> None:
    tiny, cpp, python = pair
    if not tiny.encoder:
        pytest.skip("a decoder-only model has no begin")
    inputs = inputs_of(tiny, drawn_prompts(tiny, [4, 1, 7]))
    wanted = python.generate(inputs, GenerateOptions(begin=begin))
    found = cpp.generate(inputs, begin=begin)
    for number, row in enumerate(found):
        assert row.tokens == wanted.row(number)[: len(row.tokens)] and row.stopped == wanted.finished[number]


REFUSED: list[dict[str, Any]] = [
    {"begin": {"language": "dee"}},
    {"begin": {"tongue": "de"}},
    {"min_length": -2},
    {"no_repeat_ngram": -3},
    {"repetition_penalty": -1.5},
    {"repetition_penalty": float("nan")},
    {"repetition_penalty": 1000.5},
    *[{"no_repeat_ngram": 1, "beams": beams, "max_length": 20, "stop": [], "min_length": 20} for beams in (1, 2)],
]


@pytest.mark.parametrize("options", REFUSED, ids=str)
def test_what_is_refused_is_refused_alike(pair: Pair, options: dict[str, Any]) -> None:
    tiny, cpp, python = pair
    inputs = inputs_of(tiny, drawn_prompts(tiny, [5, 2, 3]))
    with pytest.raises(AttnError) as wanted:
        python.generate(inputs, asked_of_python(options))
    with pytest.raises(Refused) as found:
        cpp.generate(inputs, **asked_of_c(options))
    assert (found.value.status, str(found.value)) == (wanted.value.exit_code, str(wanted.value))


@pytest.mark.parametrize(
    "keys",
    [
        {"suppress": [13]},
        {"begin": [2, 99]},
        {"begin": []},
        {"begin": [2] * 41},
        {"choices": {"to": {"place": 3, "tokens": {"de": 5}}}},
        {"choices": {name: {"place": 0, "tokens": {"b": 5}} for name in "ac"}},
        {"choices": {"to": {"place": 1, "tokens": {"de": 13}}}},
        {"suppress": [4], "forced_end": [4]},
        {"defaults": {"beams": 0}},
        {"defaults": {"beams": 2, "sample": {}}},
        {"defaults": {"repetition_penalty": 0}},
    ],
    ids=str,
)
def test_rules_that_do_not_fit_are_refused_alike(
    tmp_path: Path, cpp_build: Path, cpp_environment: dict[str, str], keys: dict[str, Any]
) -> None:
    path = write_bundle(tmp_path / "bad.attn", TRANSLATOR, generation=asset_of(TRANSLATOR) | keys)
    with pytest.raises(AttnError) as wanted:
        open_generator(path, "cpu", threads=1)
    with pytest.raises(Refused) as found:
        Generator(cpp_build / "libattn_runtime.so", path, None, Path(cpp_environment["ATTN_ONNXRUNTIME"]))
    assert (found.value.status, str(found.value)) == (wanted.value.exit_code, str(wanted.value))


def test_a_penalty_does_not_change_what_is_replayed(
    folder: Path, tmp_path: Path, cpp_build: Path, cpp_environment: dict[str, str]
) -> None:
    """A recorded answer, greedy and with beams, is written again by the bundle's rules, and where undecided followed by them."""
    import subprocess

    tiny, keys = BUNDLES["translator"]
    inputs = inputs_of(tiny, drawn_prompts(tiny, [5, 3]))
    cases = []
    with open_generator(folder / "translator.attn", "cpu", threads=1) as generator:
        for beams, margin in ((1, 1.0), (3, 1.0), (2, 0.0)):
            made = generator.generate(inputs, GenerateOptions(9, beams, 2.0, False, sample=False, scores=True))
            assert made.scores is not None
            outputs = {"tokens": made.tokens, "lengths": made.lengths, "scores": made.scores.astype(np.float32)}
            asked = {"beams": beams, "length_penalty": 2.0, "max_length": 9, "margin": margin, "tolerance": 1e-3}
            cases.append({"case": f"beams{beams}", "inputs": inputs, "outputs": outputs, **asked})
    path = write_bundle(tmp_path / "case.attn", tiny, cases, generation=asset_of(tiny) | keys)
    command = [cpp_build / "tests" / "attn_generate_tool", "replay", path, "fp32"]
    done = subprocess.run(command, env=cpp_environment, capture_output=True, timeout=60)
    found = json.loads(done.stdout)
    assert len(found) == 9 and all(passed for _, passed, _ in found), found


def test_rows_may_share_one_position(tmp_path: Path, cpp_build: Path, cpp_environment: dict[str, str]) -> None:
    paths = []
    for name, tiny in (("translator", TRANSLATOR), ("writer", WRITER)):
        paths.append(write_bundle(tmp_path / f"{name}.attn", tiny))
        model = onnx.load(paths[-1] / "step.onnx")
        (position,) = [value for value in model.graph.input if value.name == "position"]
        position.type.tensor_type.shape.dim[0].Clear()
        position.type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(model, paths[-1] / "step.onnx")
        manifest = json.loads((paths[-1] / "manifest.json").read_text())
        (spec,) = [each for each in manifest["graphs"]["step"]["inputs"] if each["name"] == "position"]
        spec["dims"][0] = dict(spec["dims"][1])
        (paths[-1] / "manifest.json").write_text(json.dumps(manifest))
        rehash(paths[-1])
    library, ort = cpp_build / "libattn_runtime.so", Path(cpp_environment["ATTN_ONNXRUNTIME"])
    inputs = inputs_of(TRANSLATOR, drawn_prompts(TRANSLATOR, [5, 3, 7]))
    with Generator(library, paths[0], "fp32", ort) as cpp, open_generator(paths[0], "cpu", threads=1) as python:
        for beams in (1, 3):
            wanted = python.generate(inputs, GenerateOptions(20, beams, stop=()))
            found = cpp.generate(inputs, max_length=20, beams=beams, stop=[])
            assert [row.tokens for row in found] == [wanted.row(n) for n in range(3)]
    with (
        Generator(library, paths[1], "fp32", ort) as cpp,
        pytest.raises(Refused, match="all rows of this model stand at one place"),
    ):
        cpp.generate(inputs_of(WRITER, drawn_prompts(WRITER, [5, 3])))
