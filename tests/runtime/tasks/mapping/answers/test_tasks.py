"""What each task answers to rows: what the call for a few inputs does; and what is wrong with one row stays with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from attn_runtime import GenerateOptions, classify, detect, embed, generate_texts, open_session, tag, transcribe
from attn_runtime.bundle import Bundle
from attn_runtime.errors import AttnError, BackendError, InputError, UsageError
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.spec import Dim, TensorSpec
from attn_runtime.tasks.mapping.answers import NOTES, Answers, Opening, TaskOptions, table_of, task_of
from attn_runtime.tasks.mapping.answers.batches import Batched
from attn_runtime.tasks.mapping.answers.choice import usual_task
from onnx import helper
from PIL import Image
from support.models import small_classifiers, tiny_generators
from support.models.tiny_texts import text_assets
from support.sound.small_transcribers import RATE, speller, writer
from support.texts.small_text_models import per_token, pooled, table

TEXTS = ["good", "odd odd very .", "bad", "", "very good good", "good " * 9, "ODD"]


def answers(
    bundle: Path,
    rows: Sequence[Mapping[str, Any]],
    options: TaskOptions | None = None,
    task: str | None = None,
    **where: Any,
) -> list[Any]:
    opening = Opening(str(bundle), **where)
    made = task_of(Bundle.open(bundle), task, options or TaskOptions(), opening)
    with made.open(opening) as answering:
        found = answering.answers(rows)
    assert found.columns.keys() <= set(made.schema.names)
    return in_order(found, made.schema, len(rows))


def in_order(found: Answers, schema: pa.Schema, rows: int) -> list[Any]:
    """A dict, or an error, for each row."""
    table = table_of(found.columns, schema, rows - len(found.errors)).to_pylist()
    good = iter({name: value for name, value in row.items() if name != NOTES or value} for row in table)
    return [found.errors[number] if number in found.errors else next(good) for number in range(rows)]


def of_texts(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"text": text, "pair": None} for text in texts]


def of_file(name: str, file: str | Path) -> dict[str, Any]:
    return {name: {"file": Path(file).name, "content": Path(file).read_bytes()}}


# --- texts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [Dim("batch", 1, 2, 4), Dim.fixed(3)])
def test_texts_are_classified_as_one_by_one(tmp_path: Path, batch: Dim) -> None:
    bundle = small_classifiers.texts(tmp_path / "t.attn", batch)
    found = answers(bundle, of_texts(TEXTS), TaskOptions(top=2))
    for text, answer in zip(TEXTS, found, strict=True):
        if not text or len(text) > 40:
            assert isinstance(answer, InputError) and ("is empty" in str(answer) or "has 9 tokens" in str(answer))
            continue
        (alone,) = classify(bundle, [text], top=2).inputs
        assert [each["label"] for each in answer["top"]] == [guess.label for guess in alone.guesses]
        assert answer["label"] == alone.guesses[0].label
        assert answer["score"] == pytest.approx(alone.guesses[0].probability)
    (cut,) = answers(bundle, of_texts(["good " * 9]), TaskOptions(truncate=True))
    assert cut[NOTES] == ["cut to 8 tokens, 1 were left out"]


def test_embeddings(tmp_path: Path) -> None:
    values = table(3, anna=(1, 0, 0), paris=(0, 3, 4), PAD=(9, 9, 9), york=(np.nan, 0, 0))
    texts = ["anna", "paris and paris", "york", "anna anna anna anna anna"]
    bundle = pooled(tmp_path / "s.attn", values)
    first, second, third, fourth = answers(bundle, of_texts(texts))
    np.testing.assert_array_equal(
        [first["embedding"], second["embedding"], fourth["embedding"]], [[1, 0, 0], [0, 6, 8], [5, 0, 0]]
    )
    assert "not finite" in str(third)
    assert answers(bundle, of_texts(texts), TaskOptions(normalize=True))[1]["embedding"] == pytest.approx([0, 0.6, 0.8])
    tokens = per_token(tmp_path / "t.attn", {"last_hidden_state": values[:, :2] * 2})
    asked = TaskOptions(of="last_hidden_state", pooling="mean", normalize=True)
    found = answers(tokens, of_texts(["anna", "paris and paris"]), asked, "embed")
    told = embed(tokens, ["anna", "paris and paris"], of="last_hidden_state", pooling="mean", normalize=True)
    np.testing.assert_allclose([each["embedding"] for each in found], told.array)


def test_a_model_without_a_mask_gets_texts_of_one_length(tmp_path: Path) -> None:
    bundle = pooled(tmp_path / "s.attn", table(3, anna=(1, 0, 0), paris=(0, 3, 4)), mask=False)
    texts = ["anna", "paris and", "paris", "anna anna", "anna"]
    found = answers(bundle, of_texts(texts))
    np.testing.assert_array_equal([each["embedding"] for each in found], embed(bundle, texts).array)


def test_entities(tmp_path: Path) -> None:
    logits = table(3, anna=(0, 3, 0), paris=(0, 0, 3), york=(np.inf, 0, 0))
    bundle = per_token(tmp_path / "t.attn", {"logits": logits}, labels=["O", "PER", "LOC"])
    texts = ["anna lives in paris", "york", "who"]
    first, second, third = answers(bundle, of_texts(texts))
    (alone,) = tag(bundle, texts[:1]).inputs
    assert [(e["label"], e["text"], e["begin"], e["end"]) for e in first["entities"]] == [
        (e.label, e.text, e.begin, e.end) for e in alone.entities
    ]
    assert len(first["entities"]) == 2 and third["entities"] == [] and "not finite" in str(second)


@pytest.mark.parametrize("encoder", [True, False])
def test_what_is_written_is_what_is_written_alone(tmp_path: Path, encoder: bool) -> None:
    tiny = tiny_generators.Tiny(encoder=encoder)
    bundle = tiny_generators.write_bundle(tmp_path / "g.attn", tiny, **text_assets(tiny))
    texts = ["the cat sat", "dog", "", "the dog ran far on the mat ."]
    found = answers(bundle, of_texts(texts), TaskOptions(max_length=6))
    assert isinstance(found.pop(2), InputError)
    told = generate_texts(bundle, [text for text in texts if text], GenerateOptions(max_length=6, beams=1)).answers
    assert [(each["answer"], each["tokens"], each["stopped"]) for each in found] == [
        (each.text, len(each.tokens), each.stopped) for each in told
    ]


# --- pictures and recordings --------------------------------------------------------------------------------------------


def test_pictures(tmp_path: Path) -> None:
    bundle = small_classifiers.pictures(tmp_path / "p.attn")
    rows = []
    for name, colour in (("r", "red"), ("b", "blue"), ("g", "lime")):
        Image.new("RGB", (9, 7), colour).save(tmp_path / f"{name}.png")
        rows.append(of_file("picture", tmp_path / f"{name}.png"))
    rows.insert(1, {"picture": {"file": "x.png", "content": b"\x89PNG nothing"}})
    found = answers(bundle, rows)
    assert [each["label"] for each in found if not isinstance(each, AttnError)] == ["red", "blue", "green"]
    assert isinstance(found[1], InputError)


def test_boxes(tmp_path: Path) -> None:
    from runtime.tasks.pictures.test_detection import detector

    logits, boxes = np.array([[4.0, 0, 0], [0, 0, 4]]), np.array([[0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]])
    bundle = detector(tmp_path / "d.attn", logits, boxes)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    ((found),) = answers(bundle, [of_file("picture", tmp_path / "a.png")])
    (told,) = detect(bundle, [str(tmp_path / "a.png")]).inputs
    assert (found["height"], found["width"]) == (20, 30)
    ((box),) = found["boxes"]
    assert box == {
        **{n: getattr(told.boxes[0], n) for n in ("label", "left", "top", "right", "bottom")},
        "score": told.boxes[0].probability,
    }


@pytest.mark.parametrize("make", [speller, writer])
def test_recordings(tmp_path: Path, make: Any) -> None:
    bundle, rows = make(tmp_path / "t.attn"), []
    for seconds in (1, 3):
        sound = np.random.default_rng(seconds).uniform(-0.9, 0.9, seconds * RATE).astype(np.float32)
        write_wav(tmp_path / f"{seconds}.wav", sound, RATE)
        rows.append(of_file("recording", tmp_path / f"{seconds}.wav"))
    rows.append({"recording": {"file": "x.wav", "content": b"RIFF"}})
    first, second, third = answers(bundle, rows)
    options = None if make is speller else GenerateOptions(beams=1)
    told = transcribe(bundle, [str(tmp_path / "1.wav"), str(tmp_path / "3.wav")], options).recordings
    assert [(each["answer"], each["seconds"]) for each in (first, second)] == [
        (each.text, each.seconds) for each in told
    ]
    assert isinstance(third, InputError)
    loud = small_classifiers.recordings(tmp_path / "c.attn", Dim.fixed(RATE))
    assert answers(loud, rows[:1])[0]["label"] == classify(loud, [str(tmp_path / "1.wav")]).inputs[0].guesses[0].label


# --- outputs ------------------------------------------------------------------------------------------------------------


def sums(path: Path) -> Path:
    """row[batch, length] = a + b, and total[batch]; the inputs have no assets."""
    batch, length = Dim("batch", 1, 2, 4), Dim("length", 1, 2, 5)
    nodes = [
        helper.make_node("Add", ["a", "b"], ["row"]),
        helper.make_node("ReduceSum", ["row", "last"], ["total"], keepdims=0),
    ]
    inputs = [TensorSpec(name, "float32", (batch, length)) for name in "ab"]
    outputs = [TensorSpec("row", "float32", (batch, length)), TensorSpec("total", "float32", (batch,))]
    return small_classifiers.write_bundle(path, nodes, {"last": np.array([1])}, inputs, outputs, {})


def test_every_output_of_rows_of_tensors(tmp_path: Path) -> None:
    def tensor(*values: float) -> dict[str, Any]:
        return {"shape": [len(values)], "data": np.array(values, np.float32).tobytes()}

    rows = [
        {"a": tensor(1, 2), "b": tensor(3, 4)},
        {"a": tensor(1), "b": tensor(1, 2)},
        {"a": tensor(5), "b": tensor(6)},
    ]
    rows += [{"a": tensor(*range(6)), "b": tensor(*range(6))}, rows[0]]
    first, second, third, fourth, fifth = answers(sums(tmp_path / "s.attn"), rows)
    # A column of every row is called row already.
    assert first["output.row"] == [4, 6] == fifth["output.row"] and first["total"] == 10
    assert third["output.row"] == [11]
    assert "dim length is 2 here and 1" in str(second) and "allows 1..5" in str(fourth)
    (alone,) = answers(tmp_path / "s.attn", rows[:1], TaskOptions(of="total"))
    assert alone == {"total": 10}
    with pytest.raises(UsageError, match=r'of: got "x", graph .*row, total|of: got "x"'):
        answers(tmp_path / "s.attn", [], TaskOptions(of="x"))


def test_outputs_of_texts_are_nested_lists(tmp_path: Path) -> None:
    bundle = per_token(tmp_path / "t.attn", {"hidden": table(2, anna=(1, 2))})
    first, second = answers(bundle, of_texts(["anna", "anna in paris"]), TaskOptions(of="hidden"))
    assert first["hidden"][1] == [1, 2] and [len(first["hidden"]), len(second["hidden"])] == [5, 5]


def test_an_engine_that_fails_ends_the_run_and_a_row_that_fails_does_not(tmp_path: Path) -> None:
    bundle = small_classifiers.texts(tmp_path / "t.attn")
    bad: list[str] = []

    def run(feed: Mapping[str, Any]) -> dict[str, Any]:
        for number, row in enumerate(feed["tokens"]):
            if 4 in row or "all" in bad:
                raise BackendError(f"row {number}")
        return {"logits": np.zeros((len(feed["tokens"]), 3), np.float32)}

    with open_session(bundle) as session:
        made = task_of(Bundle.open(bundle), None, TaskOptions(), Opening(str(bundle)))
        with made.open(Opening(str(bundle))) as answering:
            assert isinstance(answering, Batched)
            session.run = run  # type: ignore[method-assign]
            answering._session = session
            found = in_order(answering.answers(of_texts(["good", "odd", "bad", "good odd", ""])), made.schema, 5)
            assert [type(each) for each in found] == [dict, BackendError, dict, BackendError, InputError]
            bad.append("all")
            with pytest.raises(BackendError, match="row 0"):
                answering.answers(of_texts(["good", "bad"]))


def test_batches_are_as_large_as_asked_and_of_like_lengths(tmp_path: Path) -> None:
    bundle = small_classifiers.texts(tmp_path / "t.attn")
    made = task_of(Bundle.open(bundle), None, TaskOptions(), Opening(str(bundle), batch=2))
    with made.open(Opening(str(bundle), batch=2)) as answering:
        assert isinstance(answering, Batched)
        shapes, run = [], answering._session.run
        answering._session.run = lambda feed: shapes.append(feed["tokens"].shape) or run(feed)  # type: ignore
        answering.answers(of_texts(["good", "bad bad bad bad", "good", "bad bad bad bad"]))
    assert shapes == [(2, 4), (2, 1)]
    with pytest.raises(UsageError, match=r"batch: got 2, .* takes 3\.\.3 rows"):
        answers(small_classifiers.texts(tmp_path / "f.attn", Dim.fixed(3)), [], batch=2)


# --- what a bundle is for -----------------------------------------------------------------------------------------------


def test_the_task_that_a_bundle_is_for(tmp_path: Path) -> None:
    tiny = tiny_generators.Tiny()
    made = {
        "classify": small_classifiers.texts(tmp_path / "a.attn"),
        "classify ": small_classifiers.pictures(tmp_path / "b.attn"),
        "embed": pooled(tmp_path / "c.attn", table(3)),
        "tag": per_token(tmp_path / "d.attn", {"logits": table(2)}, labels=["O", "X"]),
        "outputs": per_token(tmp_path / "e.attn", {"last_hidden_state": table(2)}),
        "generate": tiny_generators.write_bundle(tmp_path / "f.attn", tiny, **text_assets(tiny)),
        "transcribe": speller(tmp_path / "g.attn"),
        "transcribe ": writer(tmp_path / "h.attn"),
    }
    assert {name: usual_task(Bundle.open(path)) for name, path in made.items()} == {n: n.strip() for n in made}


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("clasify", "did you mean classify"),
        ("detect", "does not detect"),
        ("transcribe", "no recordings"),
        ("tag", "labels no tokens"),
    ],
)
def test_a_task_that_the_bundle_is_not_for(tmp_path: Path, task: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        answers(small_classifiers.texts(tmp_path / "t.attn"), [], task=task)
