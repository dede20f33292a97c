"""What C++ writes is what Python writes, token by token: greedy, beams, drawn, in padded batches, with and without an encoder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import AttnError, BundleError
from attn_runtime.generate import GenerateOptions, Sample, open_generator
from attn_runtime.generate import Generator as PythonGenerator
from attn_runtime.generate.graphs.graph_io import GraphIO
from attn_runtime.generate.recorded_cases import generated_cases
from attn_runtime.generate.text_generation import generate_texts
from attn_runtime.generate.verify import replay
from safetensors.numpy import save_file
from support.checks.idle import WIDE, busy
from support.checks.message_places import place
from support.graphs.hostile_generators import ATTACKS, make_generator_bundle
from support.graphs.make_hostile_bundles import rehash
from support.machines.generator_library import Generator, Refused, Row
from support.models.tiny_generators import Tiny, case_of, drawn_prompts, inputs_of, write_bundle
from support.models.tiny_texts import WORDS, text_assets

BUNDLE_STATUS = 8
TRANSLATOR = Tiny(layers=2, max_length=40, batch=12, key_heads=1, seed=3)
WRITER = Tiny(layers=2, max_length=40, batch=12, encoder=False, seed=4)
TINIES = {"translator": TRANSLATOR, "writer": WRITER}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("generators")
    for name, tiny in TINIES.items():
        case = case_of(tiny, drawn_prompts(tiny, [4, 2, 7]), 20)
        write_bundle(made / f"{name}.attn", tiny, [case], **text_assets(tiny))
    return made


@pytest.fixture(scope="module")
def library(cpp_build: Path) -> Path:
    return cpp_build / "libattn_runtime.so"


Tool = Callable[..., Any]


@pytest.fixture(scope="module")
def tool(cpp_build: Path, cpp_environment: dict[str, str]) -> Tool:
    """A run of attn_generate_tool: its arguments -> what it answers."""

    def run(*arguments: str | Path) -> Any:
        command = [cpp_build / "tests" / "attn_generate_tool", *arguments]
        done = subprocess.run(command, env=cpp_environment, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


@dataclasses.dataclass(frozen=True)
class Both:
    """One bundle in one precision, open in both languages, by the same ONNX Runtime."""

    tiny: Tiny
    cpp: Generator
    python: PythonGenerator


@pytest.fixture(
    scope="module", params=[(name, precision) for name in TINIES for precision in ("fp32", "fp16")], ids="-".join
)
def both(
    request: pytest.FixtureRequest, folder: Path, library: Path, cpp_environment: dict[str, str]
) -> Iterator[Both]:
    name, precision = request.param
    path = folder / f"{name}.attn"
    with (
        Generator(library, path, precision, Path(cpp_environment["ATTN_ONNXRUNTIME"])) as cpp,
        open_generator(path, "cpu", "ort", precision=precision, threads=1) as python,
    ):
        yield Both(TINIES[name], cpp, python)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"max_length": 3},
    {"max_length": 0},
    {"stop": [1, 5, 7]},
    {"stop": []},
    {"beams": 3},
    {"beams": 3, "early_stop": True},
    {"beams": 2, "length_penalty": 0.0, "max_length": 9},
    {"beams": 4, "length_penalty": 2.0, "stop": [1, 4]},
    {"beams": 3, "stop": []},
    {"sample": {"seed": 7}},
    {"sample": {"temperature": 0.7, "top_k": 5, "seed": 1}},
    {"sample": {"temperature": 1.5, "top_p": 0.8, "seed": 2**40}},
    {"sample": {"top_k": 6, "top_p": 0.9, "seed": 2**63 - 9}, "max_length": 30},
]


def test_its_threads_sleep_behind_a_generation(library: Path, cpp_environment: dict[str, str], tmp_path: Path) -> None:
    """tests/runtime/ort/test_spinning.py shows that they would not of themselves."""
    path = write_bundle(tmp_path / "wide.attn", WIDE)
    inputs = inputs_of(WIDE, drawn_prompts(WIDE, [32] * 8))
    with Generator(library, path, None, Path(cpp_environment["ATTN_ONNXRUNTIME"]), threads=2) as generator:
        assert busy(lambda: generator.generate(inputs, max_length=3, stop=[])) < 0.005


def asked_of_c(options: dict[str, Any]) -> dict[str, Any]:
    return {
        **{n: v for n, v in options.items() if n != "sample"},
        **({"sample": 1, **options["sample"]} if "sample" in options else {}),
    }


def asked_of_python(options: dict[str, Any]) -> GenerateOptions:
    return GenerateOptions(**{n: Sample(**v) if n == "sample" else v for n, v in options.items()})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("lengths", [[5], [4, 4, 4], [4, 1, 9]], ids=str)
def test_tokens_and_scores_are_pythons(both: Both, options: dict[str, Any], lengths: list[int]) -> None:
    inputs = inputs_of(both.tiny, drawn_prompts(both.tiny, lengths, seed=len(lengths)))
    wanted = both.python.generate(inputs, dataclasses.replace(asked_of_python(options), scores=True))
    found = both.cpp.generate(inputs, **asked_of_c(options), scores=1)
    for number, row in enumerate(found):
        stopped = wanted.stopped[number] == "stop"
        tokens = wanted.row(number)
        assert row.tokens == (tokens[:-1] if stopped else tokens)
        assert row.stopped == stopped
        assert wanted.scores is not None
        assert row.score == pytest.approx(float(wanted.scores[number]), abs=1e-5)


def test_a_row_alone_writes_what_it_writes_in_a_batch(both: Both) -> None:
    prompts = drawn_prompts(both.tiny, [6, 2, 9, 1])
    for options in ({}, {"beams": 3}, {"sample": 1, "top_k": 4, "seed": 5}):
        batch = both.cpp.generate(inputs_of(both.tiny, prompts), **options)
        for number, prompt in enumerate(prompts):
            alone = both.cpp.generate(
                inputs_of(both.tiny, [prompt]), **options | {"seed": options.get("seed", 0) + number}
            )
            assert alone[0].tokens == batch[number].tokens


def test_a_shape_that_was_used_before_is_clean(both: Both) -> None:
    inputs = inputs_of(both.tiny, drawn_prompts(both.tiny, [8, 3]))
    before = both.cpp.generate(inputs, scores=1)
    for beams in (2, 3, 4, 5, 1):  # more shapes than are kept
        both.cpp.generate(inputs, beams=beams, stop=[])
    assert both.cpp.generate(inputs, scores=1) == before


def test_tokens_are_told_as_they_come_and_end_when_told(both: Both) -> None:
    inputs = inputs_of(both.tiny, drawn_prompts(both.tiny, [5, 2]))
    told: list[tuple[int, int]] = []
    rows = both.cpp.generate(inputs, on_token=lambda row, token: told.append((row, token)))
    wanted: list[tuple[int, int]] = []
    both.python.generate(inputs, on_token=lambda row, token: wanted.append((row, token)))
    assert told == wanted and len(rows) == 2
    ended = both.cpp.generate(inputs, stop=[], on_token=lambda row, token: True)
    assert [len(row.tokens) for row in ended] == [1, 1] and not any(row.stopped for row in ended)


def test_what_pytorch_generated_is_generated_again(both: Both, folder: Path, tool: Tool) -> None:
    name = next(name for name, tiny in TINIES.items() if tiny == both.tiny)
    found = tool("replay", folder / f"{name}.attn", both.python.precision or "")
    assert len(found) == 4 and all(passed for _, passed, _ in found), found


REFUSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"beams": 0}, {}),
    ({"beams": 14}, {}),
    ({"beams": 5}, {}),
    ({"stop": [13]}, {}),
    ({"length_penalty": 101.0}, {}),
    ({"sample": {"temperature": 0.0}}, {}),
    ({"sample": {"top_k": -1}}, {}),
    ({"sample": {"top_p": 1.5}}, {}),
    ({"sample": {}, "beams": 2}, {}),
    ({"sample": {"seed": 2**63}}, {}),
    ({"max_length": -3}, {}),
    *[({"sample": {name: float("nan")}}, {}) for name in ("temperature", "top_p")],
    ({"sample": {"temperature": float("inf")}}, {}),
    ({"beams": 2, "length_penalty": float("nan")}, {}),
    ({}, {"extra": np.zeros((3, 2), np.int64)}),
]


@pytest.mark.parametrize(("options", "more"), REFUSED, ids=str)
def test_what_is_refused_is_refused_alike(both: Both, options: dict[str, Any], more: dict[str, Any]) -> None:
    inputs = inputs_of(both.tiny, drawn_prompts(both.tiny, [5, 2, 3])) | more
    with pytest.raises(AttnError) as wanted:
        both.python.generate(inputs, asked_of_python(options))
    with pytest.raises(Refused) as found:
        both.cpp.generate(inputs, **asked_of_c(options))
    assert_alike(found.value, wanted.value)


def assert_alike(found: Refused, wanted: AttnError) -> None:
    assert (found.status, place(str(found))) == (wanted.exit_code, place(str(wanted))), (str(found), str(wanted))


def prompts_that_fail(tiny: Tiny) -> Iterator[dict[str, np.ndarray]]:
    good = inputs_of(tiny, drawn_prompts(tiny, [3, 3]))
    names = list(good)
    yield {names[0]: good[names[0]].astype(np.int32), names[1]: good[names[1]]}
    yield {names[0]: good[names[0]]} if tiny.encoder else {names[1]: good[names[1]]}
    yield {names[0]: good[names[0]], names[1]: good[names[1]][:1]}
    yield {name: value[:, :0] for name, value in good.items()}
    yield {name: np.repeat(value, 7, 0) for name, value in good.items()}
    if not tiny.encoder:
        yield {names[0]: good[names[0]] + 10, names[1]: good[names[1]]}
        yield {names[0]: -good[names[0]], names[1]: good[names[1]]}
        yield {names[0]: good[names[0]], names[1]: np.array([[1, 0, 1], [1, 1, 1]], bool)}
        yield {names[0]: good[names[0]], names[1]: np.array([[1, 1, 1], [0, 0, 0]], bool)}


def test_prompts_are_refused_alike(both: Both) -> None:
    for inputs in prompts_that_fail(both.tiny):
        with pytest.raises(AttnError) as wanted:
            both.python.generate(inputs)
        with pytest.raises(Refused) as found:
            both.cpp.generate(inputs)
        assert_alike(found.value, wanted.value)


def test_a_mask_may_be_left_out_where_nothing_is_padded(both: Both) -> None:
    if both.tiny.encoder:
        pytest.skip("the encoder wants its mask")
    inputs = inputs_of(both.tiny, drawn_prompts(both.tiny, [3, 3]))
    assert both.cpp.generate({"tokens": inputs["tokens"]}) == both.cpp.generate(inputs)


# --- texts --------------------------------------------------------------------------------------------------------

TEXTS = ["The cat sat", "a dog", "wolf on the Wolf mat.", *(f"the {word} ran far" for word in WORDS[3:])]


def python_texts(
    folder: Path, tiny: Tiny, texts: Sequence[str], options: GenerateOptions
) -> tuple[list[Row], list[str]]:
    notes: list[str] = []

    def note(text: str, words: Sequence[str]) -> None:
        told = ", ".join(f'"{word}"' for word in dict.fromkeys(words))
        notes.append(f'words that the model does not know: {told} (in "{text}")')

    name = next(name for name, each in TINIES.items() if each == tiny)
    found = generate_texts(
        folder / f"{name}.attn", texts, options, device="cpu", backend="ort", threads=1, on_unknown=note
    )
    rows = []
    for answer in found.answers:
        stopped = answer.stopped == "stop"
        rows.append(Row(list(answer.tokens[:-1] if stopped else answer.tokens), answer.score, stopped, answer.text))
    return rows, notes


@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"sample": {"seed": 3, "top_k": 8}, "max_length": 8}], ids=str)
@pytest.mark.parametrize("name", TINIES)
def test_texts_are_answered_as_in_python(
    folder: Path, library: Path, cpp_environment: dict[str, str], name: str, options: dict[str, Any]
) -> None:
    wanted, notes = python_texts(folder, TINIES[name], TEXTS, asked_of_python(options))  # in several batches
    with Generator(library, folder / f"{name}.attn", library=Path(cpp_environment["ATTN_ONNXRUNTIME"])) as generator:
        found, told = generator.generate_text(TEXTS, **asked_of_c(options))
    assert told == notes and len(notes) == 1
    for one, other in zip(found, wanted, strict=True):
        assert (one.tokens, one.stopped, one.text) == (other.tokens, other.stopped, other.text)
        assert one.score == (other.score if other.score is None else pytest.approx(other.score, abs=1e-5))


@pytest.mark.parametrize("text", ["", " \u2003\n", "the " * 41], ids=["empty", "spaces", "long"])
def test_texts_are_refused_alike(folder: Path, library: Path, text: str) -> None:
    with pytest.raises(AttnError) as wanted:
        python_texts(folder, TRANSLATOR, ["a cat", text], GenerateOptions())
    with Generator(library, folder / "translator.attn") as generator, pytest.raises(Refused) as found:
        generator.generate_text(["a cat", text])
    assert_alike(found.value, wanted.value)


def test_what_is_no_utf8_is_refused(folder: Path, library: Path) -> None:
    with Generator(library, folder / "translator.attn") as generator, pytest.raises(Refused, match="is no UTF-8 text"):
        generator.generate_text([b"caf\xe9"])


# --- bundles that nobody vouches for ------------------------------------------------------------------------------


def test_a_wrong_record_fails_in_both(tmp_path: Path, tool: Tool) -> None:
    tiny = Tiny(layers=1, max_length=24, seed=2)
    for name, margin in (("decided", 1.0), ("open", 1e-6)):
        case = case_of(tiny, drawn_prompts(tiny, [4, 2, 7]), 20)
        tokens = case["outputs"]["tokens"]
        tokens[1, 0] = 12 if tokens[1, 0] != 12 else 11
        path = write_bundle(tmp_path / f"{name}.attn", tiny, [case | {"margin": margin}])
        wanted = [(each.case, each.passed) for each in replay(path, "cpu", "ort", threads=1)]
        found = tool("replay", path, "fp32")
        assert [(case, passed) for case, passed, _ in found] == wanted
        assert not all(passed for _, passed in wanted)
        assert all(passed != bool(problem) for _, passed, problem in found)


def test_logits_that_are_fills_decide_nothing_in_either(tmp_path: Path, tool: Tool) -> None:
    tiny = Tiny(layers=1, max_length=24, seed=2)
    case = case_of(tiny, drawn_prompts(tiny, [4, 2, 7]), 20)
    tokens = case["outputs"]["tokens"]
    tokens[1, 0] = 12 if tokens[1, 0] != 12 else 11
    path = write_bundle(tmp_path / "filled.attn", tiny, [case])
    graph = Bundle.open(path).graphs["step"]
    sizes = {dim.name: dim.min for spec in (*graph.inputs, *graph.outputs) for dim in spec.dims if dim.name}
    inputs, answers = (
        {s.name: np.ones(s.shape(sizes), s.dtype) for s in side} for side in (graph.inputs, graph.outputs)
    )
    answers["logits"][0, 0] = -1e9
    manifest = json.loads((path / "manifest.json").read_text())
    golden = {"case": "min", "sizes": sizes, "checked_sizes": sizes, "seed": 0}
    for side, tensors in (("inputs", inputs), ("outputs", answers)):
        golden[side] = f"golden/step.{side}.safetensors"
        save_file(tensors, path / golden[side])
        manifest["files"][golden[side]] = {"sha256": "0" * 64, "size": 0}
    manifest["graphs"]["step"]["golden"].append(golden)
    (path / "manifest.json").write_text(json.dumps(manifest))
    rehash(path)
    for fills in ({}, {"fills": {"logits": [[-1e9, -1e9]]}}):
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["graphs"]["step"]["precisions"]["fp32"]["tolerance"].update(fills)
        (path / "manifest.json").write_text(json.dumps(manifest))
        # Beside 1e9 no choice is clear, and what is wrong is the score alone.
        wanted = ["token 0 is" in each.problem for each in replay(path, "cpu", "ort", threads=1)]
        assert wanted == [bool(fills), False, bool(fills), False]
        assert ["token 0 is" in problem for _, _, problem in tool("replay", path, "fp32")] == wanted


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = make_generator_bundle(tmp_path_factory.mktemp("hostile-generators") / "base.attn")
    made = [base]
    for attack in ATTACKS:
        made.append(shutil.copytree(base, base.parent / f"{attack.name}.attn"))
        attack.make(made[-1])
    return made


def test_every_attack_is_refused_alike(tool: Tool, hostile: list[Path]) -> None:
    for path, (status, message) in zip(hostile, tool("generators", *hostile), strict=True):
        wanted = python_says(path)
        assert place(message) == place(wanted), (path.name, message, wanted)
        assert status == (BUNDLE_STATUS if wanted else 0)
        assert bool(wanted) == (path.stem != "base")


def python_says(path: Path) -> str:
    try:
        bundle = Bundle.open(path)
        GraphIO.of(bundle)
        for _ in generated_cases(bundle):
            pass
    except BundleError as error:
        return str(error)
    return ""


def test_graphs_that_are_not_what_they_claim_are_refused(hostile: list[Path], library: Path) -> None:
    with pytest.raises(AttnError) as wanted:
        open_generator(hostile[0], "cpu", "ort")
    with pytest.raises(Refused) as found:
        Generator(library, hostile[0])
    assert found.value.status == wanted.value.exit_code and "\n" not in str(found.value)


# --- the example --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
def test_the_example_prints_pythons_answers(
    folder: Path, cpp_build: Path, cpp_environment: dict[str, str], beams: int
) -> None:
    wanted, _ = python_texts(folder, TRANSLATOR, TEXTS[:3], GenerateOptions(beams=beams))
    command = [cpp_build / "examples" / "translate", "--beams", str(beams), folder / "translator.attn", *TEXTS[:3]]
    done = subprocess.run(command, env=cpp_environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [row.text for row in wanted]
    assert 'note: words that the model does not know: "wolf", "Wolf"' in done.stderr
