"""What can be asked for, what is refused, and how a generation ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import AttnError, BackendError, BundleError, InputError, UsageError
from attn_runtime.generate import GenerateOptions, Generator, Sample, Settings, open_generator
from attn_runtime.generate.graphs import GenerationRules
from attn_runtime.generate.graphs.graph_io import GraphIO
from support.models.tiny_generators import Tiny, asset_of, drawn_prompts, greedy_of, inputs_of, logits_of, write_bundle

TRANSLATOR = Tiny(layers=1, max_length=24, seed=2)
WRITER = Tiny(layers=1, max_length=24, seed=2, encoder=False, stop=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("options")
    write_bundle(made / "translator.attn", TRANSLATOR)
    write_bundle(made / "writer.attn", WRITER)
    return made


@pytest.fixture(scope="module")
def translator(folder: Path) -> Iterator[Generator]:
    with open_generator(folder / "translator.attn", "cpu", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def writer(folder: Path) -> Iterator[Generator]:
    with open_generator(folder / "writer.attn", "cpu", threads=1) as opened:
        yield opened


# --- what is asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GenerateOptions(max_length=-1), "max_length: got -1"),
        (lambda: GenerateOptions(max_length=2**62), "expected a whole number of tokens, 0..2147483647"),
        (lambda: GenerateOptions(max_length=2.5), "max_length: got 2.5"),  # type: ignore[arg-type]
        (lambda: GenerateOptions(max_length=True), "max_length: got True"),
        (lambda: GenerateOptions(beams=0), "beams: got 0, expected 1..4096"),
        (lambda: GenerateOptions(beams=10**9), "beams: got 1000000000"),
        (lambda: GenerateOptions(length_penalty=-0.1), "length_penalty: got -0.1"),
        (lambda: GenerateOptions(length_penalty=float("nan")), "length_penalty: got nan"),
        (lambda: GenerateOptions(beams=2, sample=Sample()), "2 beams and sampling"),
        (lambda: GenerateOptions(stop=[-1]), "stop: got -1"),
        (lambda: Sample(temperature=0), "temperature: got 0"),
        (lambda: Sample(temperature=-1.0), "temperature: got -1.0"),
        (lambda: Sample(temperature=float("inf")), "temperature: got inf"),
        (lambda: Sample(temperature=float("nan")), "temperature: got nan"),
        (lambda: Sample(top_k=0), "top_k: got 0"),
        (lambda: Sample(top_p=0.0), "top_p: got 0.0"),
        (lambda: Sample(top_p=1.01), "top_p: got 1.01"),
        (lambda: Sample(seed=-1), "seed: got -1"),
        (lambda: Sample(seed=[1, "2"]), 'seed: got "2"'),  # type: ignore[list-item]
        (lambda: Sample(seed=None), "seed: got None"),  # type: ignore[arg-type]
        (lambda: Sample(seed=10**5000), "seed: got a number of"),  # str() of it raises
        (lambda: Sample(temperature=10**400), "temperature: got a number of"),
        (lambda: Sample(temperature=np.array([1.0, 2.0])), r"temperature: got float64 [2]"),  # type: ignore[arg-type]
        (lambda: Sample(top_k=np.array([1, 2])), "top_k: got int64"),  # type: ignore[arg-type]
        (lambda: GenerateOptions(stop=np.array(3)), "stop: got int64"),  # type: ignore[arg-type]
        (lambda: GenerateOptions(stop="ab"), 'stop: got "ab"'),  # type: ignore[arg-type]
        (lambda: GenerateOptions(stop=[[1, 2]]), "stop: got list"),  # type: ignore[list-item]
        (lambda: GenerateOptions(sample=True), "sample: got True"),  # type: ignore[arg-type]
        (lambda: GenerateOptions(early_stop="no"), 'early_stop: got "no"'),  # type: ignore[arg-type]
        (lambda: GenerateOptions(scores=np.array([1, 2])), "scores: got int64"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_value_is_refused_where_it_is_given(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        make()
    assert str(raised.value).startswith(says) or says in str(raised.value)


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    """A Decimal does not go with NumPy's numbers, and an iterator can be read but once."""
    sample = Sample(Decimal("0.5"), np.int32(3), np.float32(0.5), (n for n in (1, 2)))  # type: ignore[arg-type]
    assert sample == Sample(0.5, 3, 0.5, (1, 2)) and sample.seeds(2) == [1, 2]
    assert Sample(seed=np.array([4, 5])) == Sample(seed=(4, 5)) and Sample(seed=np.array(3)).seeds(2) == [3, 4]  # type: ignore[arg-type]
    assert GenerateOptions(stop=iter([1, 2]), early_stop=np.True_) == GenerateOptions(stop=(1, 2), early_stop=True)  # type: ignore[arg-type]


def test_check_raises_what_generate_would(translator: Generator, writer: Generator) -> None:
    good = inputs_of(WRITER, drawn_prompts(WRITER, [6]))
    writer.check(good)
    for inputs, options in (
        ({"tokens": np.array([[3, 13]])}, None),
        (good, {"beams": 2}),
        (good, GenerateOptions(beams=9)),
        (good, GenerateOptions(stop=[13])),
        (good, GenerateOptions(sample=Sample(seed=[1, 2]))),
    ):
        told = []
        for call in (writer.check, writer.generate):
            with pytest.raises(AttnError) as raised:
                call(inputs, options)  # type: ignore[arg-type]
            told.append((raised.type, str(raised.value)))
        assert told[0] == told[1]


def test_no_tokens_is_an_empty_answer(translator: Generator, writer: Generator) -> None:
    for generator, tiny, beams in ((translator, TRANSLATOR, 1), (translator, TRANSLATOR, 2), (writer, WRITER, 1)):
        inputs = inputs_of(tiny, drawn_prompts(tiny, [3, 5]))
        found = generator.generate(inputs, GenerateOptions(0, beams, scores=True))
        assert found.tokens.shape == (2, 0) and found.lengths.tolist() == [0, 0] and found.steps == 0
        assert found.stopped == ("length", "length") and found.scores is not None and found.scores.tolist() == [0, 0]


def test_the_most_tokens_are_counted_with_the_stop_token(translator: Generator) -> None:
    prompt = drawn_prompts(TRANSLATOR, [4, 2, 7])[0]
    whole = greedy_of(TRANSLATOR, prompt, 23)
    for most in range(1, len(whole) + 2):
        found = translator.generate(inputs_of(TRANSLATOR, [prompt]), GenerateOptions(most))
        assert found.row(0) == whole[:most]
        assert found.stopped == ("stop" if most >= len(whole) and whole[-1] in TRANSLATOR.stop else "length",)


def test_the_models_own_limit_ends_each_row_by_itself(writer: Generator) -> None:
    prompts = drawn_prompts(WRITER, [24, 23, 10])
    for options in (GenerateOptions(), GenerateOptions(100), GenerateOptions(beams=2)):
        found = writer.generate(inputs_of(WRITER, prompts), options)
        assert found.lengths.tolist() == [0, 1, 14] and found.stopped == ("length",) * 3


def test_other_stop_tokens(writer: Generator) -> None:
    prompt = drawn_prompts(WRITER, [6])[0]
    whole = greedy_of(WRITER, prompt, 18)
    stop = whole[8]
    found = writer.generate(inputs_of(WRITER, [prompt]), GenerateOptions(stop=[stop]))
    assert found.row(0) == whole[: whole.index(stop) + 1] and found.finished.tolist() == [True]
    with pytest.raises(UsageError, match=r"stop: got token 13, the model has 0\.\.12"):
        writer.generate(inputs_of(WRITER, [prompt]), GenerateOptions(stop=[13]))


def test_scores_are_sums_of_log_probabilities(writer: Generator) -> None:
    prompt = drawn_prompts(WRITER, [6])[0]
    for penalty in (0.0, 1.0, 1.7):
        options = GenerateOptions(10, length_penalty=penalty, scores=True)
        found = writer.generate(inputs_of(WRITER, [prompt]), options)
        logits = logits_of(WRITER, [*prompt, *found.row(0)[:-1]])[5:]
        logits -= np.log(np.exp(logits).sum(1, keepdims=True))
        assert found.scores is not None
        np.testing.assert_allclose(found.scores[0], logits[range(10), found.row(0)].sum() / 10**penalty, rtol=1e-5)
    assert writer.generate(inputs_of(WRITER, [prompt])).scores is None


# --- while it goes on ---------------------------------------------------------------------------------------------


def test_tokens_are_told_as_they_come(translator: Generator, writer: Generator) -> None:
    for generator, tiny in ((translator, TRANSLATOR), (writer, WRITER)):
        told: list[tuple[int, int]] = []
        prompts = drawn_prompts(tiny, [4, 2, 7])
        found = generator.generate(inputs_of(tiny, prompts), on_token=lambda *pair: told.append(pair))  # noqa: B023
        for row in range(3):
            assert [token for each, token in told if each == row] == found.row(row)
    with pytest.raises(UsageError, match="on_token"):
        writer.generate(inputs_of(WRITER, prompts), GenerateOptions(beams=2), on_token=print)


@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_there_is_returned_when_it_is_cancelled(writer: Generator, beams: int) -> None:
    inputs = inputs_of(WRITER, drawn_prompts(WRITER, [6, 21]))
    options, looks = GenerateOptions(beams=beams), iter(range(100))
    found = writer.generate(inputs, options, cancel=lambda: next(looks) == 5)
    assert found.cancelled and found.stopped == ("cancelled", "length") and found.lengths.tolist() == [5, 3]
    if beams == 1:
        assert found.row(0) == writer.generate(inputs, options).row(0)[:5]
    event = threading.Event()
    assert not writer.generate(inputs, options, cancel=event).cancelled
    event.set()
    assert writer.generate(inputs, options, cancel=event).lengths.tolist() == [0, 0]


def test_a_callback_that_raises_leaves_the_generator_usable(writer: Generator) -> None:
    inputs = inputs_of(WRITER, drawn_prompts(WRITER, [6]))
    wanted = writer.generate(inputs).row(0)

    def fail(row: int, token: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        writer.generate(inputs, on_token=fail)
    assert writer.generate(inputs).row(0) == wanted


@pytest.mark.timeout(20)
def test_a_callback_that_generates_is_told_instead_of_waiting_for_ever(writer: Generator) -> None:
    inputs = inputs_of(WRITER, drawn_prompts(WRITER, [6]))
    with pytest.raises(UsageError, match="is in use"):
        writer.generate(inputs, on_token=lambda *_: writer.generate(inputs))
    with pytest.raises(UsageError, match="is in use"):
        writer.generate(inputs, cancel=writer.close)
    assert writer.generate(inputs).row(0)


def test_options_of_another_kind_are_refused(writer: Generator) -> None:
    with pytest.raises(UsageError, match="got dict, expected GenerateOptions"):
        writer.generate(inputs_of(WRITER, drawn_prompts(WRITER, [6])), {"beams": 2})  # type: ignore[arg-type]


def test_threads_take_turns(writer: Generator) -> None:
    prompts = drawn_prompts(WRITER, [3, 4, 5, 6, 7, 8])
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = writer.generate(inputs_of(WRITER, [prompts[number]])).row(0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: greedy_of(WRITER, prompt, 24 - len(prompt)) for n, prompt in enumerate(prompts)}


def test_logits_that_are_not_finite_are_told(writer: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    from attn_runtime.generate.graphs.step_graphs import StepGraphs

    advance = StepGraphs.advance

    def damaged(plan: StepGraphs, *rest: Any) -> Any:
        logits = advance(plan, *rest)
        logits[0, 3] = np.nan
        return logits

    monkeypatch.setattr(StepGraphs, "advance", damaged)
    inputs = inputs_of(WRITER, drawn_prompts(WRITER, [6]))
    for options in (GenerateOptions(), GenerateOptions(beams=2), GenerateOptions(sample=Sample())):
        with pytest.raises(BackendError, match=r"logits of row 0 are nan at step 1: .* precision fp32"):
            writer.generate(inputs, options)


# --- what is given ------------------------------------------------------------------------------------------------


def test_a_mask_may_be_left_out_where_nothing_is_padded(writer: Generator) -> None:
    prompt = drawn_prompts(WRITER, [6])[0]
    assert writer.generate({"tokens": np.array([prompt])}).row(0) == greedy_of(WRITER, prompt, 18)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"tokens": np.array([[3, 4]]), "tokens_mask": np.array([[False, True]])}, "padded at its end alone"),
        ({"tokens": np.array([[3], [4]]), "tokens_mask": np.array([[True], [False]])}, "row 1 is empty"),
        ({"tokens": np.zeros((0, 3), np.int64)}, "dim batch allows 1..8"),
        ({"tokens": np.array([[3, 13]])}, r"values 3..13; expected 0..12"),
        ({"tokens": np.array([[-1]])}, r"values -1..-1; expected 0..12"),
        ({"tokens": np.array([[3]], np.int32)}, "expected dtype int64"),
        ({"tokens": np.ones((1, 25), np.int64)}, "dim prompt allows 1..24"),
        ({"tokens": np.ones((9, 2), np.int64)}, "dim batch allows 1..8"),
        ({"token": np.ones((1, 2), np.int64)}, "missing input tokens"),
        ([1, 2], "expected a mapping"),
    ],
)
def test_prompts_that_are_refused(writer: Generator, inputs: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        writer.generate(inputs)
    assert "\n" not in str(raised.value)


def test_more_rows_with_beams_than_the_graphs_take_are_refused(writer: Generator) -> None:
    with pytest.raises(InputError, match="got 3 rows of 4 beams; the graphs take up to 8 rows"):
        writer.generate(inputs_of(WRITER, drawn_prompts(WRITER, [3] * 3)), GenerateOptions(beams=4))


def test_a_closed_generator_says_so(folder: Path) -> None:
    generator = open_generator(folder / "writer.attn", "cpu", threads=1)
    generator.close()
    generator.close()
    with pytest.raises(UsageError, match="is closed; open another"):
        generator.generate({"tokens": np.array([[3]])})


# --- how graphs are wired -----------------------------------------------------------------------------------------


def drop(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(asset: dict[str, Any]) -> None:
        for name in names:
            asset["cache"].remove(name)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.update(step="stop"), 'step is graph "stop", the bundle has'),
        (lambda a: a.update(step="first"), "name one graph twice"),
        (lambda a: a.update(encoder="first", first="encoder"), 'graph encoder has no input "tokens"'),
        (lambda a: a.update(first="step", step="first"), 'graph step has no input "tokens"'),
        (lambda a: a.update(encoder=None, begin=None), 'graph first: nobody gives its input "memory"'),
        (lambda a: a["cache"].append("key_9"), 'graph first has no "new_key_9", which cache asks for'),
        (lambda a: a["cache"].append("key_0"), "one of them twice"),
        (drop("key_0"), 'graph step: nobody gives its input "past_key_0"'),
        (lambda a: a.update(pad=13), "pad is token 13, the graphs have 13 tokens"),
        (lambda a: a.update(stop=[1, 99]), "stop is token 99"),
        (lambda a: a.update(begin=13), "begin is token 13"),
        (lambda a: a.update(begin=None), "begin is given for a model with an encoder"),
        (lambda a: a.update(max_length=0), "max_length"),
        (lambda a: a.pop("cache"), "cache"),
    ],
)
def test_graphs_that_do_not_fit_are_refused(tmp_path: Path, change: Callable[[Any], Any], says: str) -> None:
    asset = asset_of(TRANSLATOR)
    change(asset)
    path = write_bundle(tmp_path / "tiny.attn", TRANSLATOR, generation=asset)
    with pytest.raises(BundleError) as raised:
        open_generator(path, "cpu")
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_a_bundle_that_does_not_generate_says_so(valid_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"is no generator: it has no assets/generation.json; its graphs are model"):
        open_generator(valid_bundle, "cpu")


def test_an_unknown_precision_or_device_is_refused(folder: Path) -> None:
    for options in ({"precision": "fp8"}, {"device": "gpu"}, {"backend": "none"}):
        with pytest.raises(AttnError):
            open_generator(folder / "writer.attn", **options)  # type: ignore[arg-type]


def test_the_room_of_the_exported_cache_limits_a_row(folder: Path) -> None:
    """A graph may have been exported for a shorter cache than the model has room for."""
    bundle = Bundle.open(folder / "writer.attn")
    asset = bundle.asset("generation") | {"max_length": 100}
    bundle.asset = lambda name: asset  # type: ignore[method-assign]
    assert GraphIO.of(bundle).max_length == WRITER.max_length + 1


def test_low_memory_answers_the_same(folder: Path, writer: Generator) -> None:
    inputs = inputs_of(WRITER, drawn_prompts(WRITER, [6, 3]))
    with open_generator(folder / "writer.attn", "cpu", threads=1, low_memory=True) as generator:
        np.testing.assert_array_equal(generator.generate(inputs).tokens, writer.generate(inputs).tokens)


def test_stop_tokens_may_be_an_array() -> None:
    options = GenerateOptions(stop=np.array([1, 2]))  # type: ignore[arg-type]
    Settings.of(options, GenerationRules(), (), "here").check(3, "here")
    with pytest.raises(UsageError, match="stop: got 3, expected tokens"):
        GenerateOptions(stop=3)  # type: ignore[arg-type]


def test_rows_end_where_the_positions_do(tmp_path: Path) -> None:
    """Behind the end of a table of positions a GPU would read whatever lies there."""
    tiny = Tiny(layers=1, max_length=12, stop=())
    path = write_bundle(tmp_path / "t.attn", tiny)
    manifest = json.loads((path / "manifest.json").read_text())
    (position,) = [each for each in manifest["graphs"]["step"]["inputs"] if each["name"] == "position"]
    position |= {"low": 0, "high": 7}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with open_generator(path, "cpu", threads=1) as generator:
        assert generator.max_length == 7
        assert generator.generate(inputs_of(tiny, drawn_prompts(tiny, [3]))).lengths.tolist() == [6]
