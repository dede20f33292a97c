"""What a bundle keeps of a folder's tokenizer: the tokens of its texts are those of transformers, or there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.huggingface import SavedModel
from attn_export.huggingface.assets import text_assets
from attn_export.huggingface.assets.probe_texts import TEXTS
from attn_runtime.bundle import Bundle
from attn_runtime.errors import UsageError
from attn_runtime.preprocess import open_text
from attn_runtime.spec import Dim, TensorSpec
from support.models.small_classifiers import write_bundle
from support.texts.saved_folders import byte_level, inputs, saved, size_of, unigram, word_piece
from tokenizers import Tokenizer

transformers = pytest.importorskip("transformers")

#: What a folder says that leaves its tokenizer.json as it is.
PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast"}
CHARACTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789.,?!'"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]


def bert(rows: int, **changed: Any) -> Any:
    return transformers.BertConfig(vocab_size=rows, **changed)


def of(tokenizer: dict[str, Any], path: Path, rows: int | None = None, **files: Any) -> SavedModel:
    rows = rows or size_of(tokenizer)
    settings = PLAIN | files.pop("settings", {})
    return saved(
        path, bert(rows, pad_token_id=0), {"tokenizer.json": tokenizer, "tokenizer_config.json": settings, **files}
    )


# --- a tokenizer.json that is there -------------------------------------------------------------------------------

KINDS = {"WordPiece": word_piece, "BPE": byte_level, "Unigram": unigram}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_kept_as_it_is(tmp_path: Path, kind: str) -> None:
    tokenizer = KINDS[kind]()
    folder = of(tokenizer, tmp_path)
    assets = text_assets(folder, inputs(size_of(tokenizer), types=kind == "WordPiece"))
    assert assets["tokenizer.json"] == tokenizer
    expected = {"WordPiece": (1, "token_type_ids"), "BPE": (None, None), "Unigram": (2, None)}[kind]
    assert (assets["text.json"]["unknown"], assets["text.json"].get("types")) == expected
    assert assets["text.json"] | {"unknown": 0, "types": 0} == {
        "input": "input_ids", "mask": "attention_mask", "pad": 0, "unknown": 0, "types": 0,
    }  # fmt: skip


def test_a_bundle_makes_the_inputs_that_transformers_makes(tmp_path: Path) -> None:
    tokenizer = word_piece()
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    marks = {**names, "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    folder = of(tokenizer, tmp_path / "folder", settings=marks)
    assets = text_assets(folder, inputs(size_of(tokenizer), types=True))
    assert assets["text.json"]["mask_token"] == 4
    named = {name.removesuffix(".json"): value for name, value in assets.items()}
    specs = inputs(size_of(tokenizer), types=True)
    text = open_text(Bundle.open(_bundle(tmp_path / "b.attn", specs, named)))
    library = transformers.AutoTokenizer.from_pretrained(folder.folder, config=folder.config, local_files_only=True)
    given = [given for given in TEXTS[:12] if len(library(given)["input_ids"]) <= text.most][:4]
    wanted = library(given, padding=True, return_tensors="np")
    for name, value in text.inputs(given).items():
        np.testing.assert_array_equal(value, wanted[name], name)
    pair = library("who are you", "the cat", return_tensors="np")
    for name, value in text.batch([text.encoded("who are you", "the cat")]).items():
        np.testing.assert_array_equal(value, pair[name], name)


def _bundle(path: Path, specs: list[Any], assets: dict[str, Any]) -> Path:
    from onnx import helper

    nodes = [helper.make_node("Identity", [specs[0].name], ["same"])]
    output = type(specs[0])("same", "int64", specs[0].dims)
    return write_bundle(path, nodes, {}, specs, (output,), assets)


OTHERWISE = {
    "special tokens": ({"post_processor": None}, {}),
    "capitals": ({"normalizer": {**word_piece()["normalizer"], "lowercase": False}}, {}),
    "a setting": ({}, {"do_lower_case": False}),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_transformers_reads_otherwise_is_as_transformers_reads_it(tmp_path: Path, what: str) -> None:
    """It makes a BertTokenizer anew, from the words alone: what tokenizer.json says besides is lost."""
    of_file, of_settings = OTHERWISE[what]
    tokenizer = word_piece() | of_file
    folder = of(tokenizer, tmp_path, settings={"tokenizer_class": "BertTokenizer", **of_settings})
    kept = text_assets(folder, inputs(size_of(tokenizer)))["tokenizer.json"]
    assert kept != tokenizer and any("tokenizer.json is not kept as it is" in note for note in folder.notes)
    library = transformers.AutoTokenizer.from_pretrained(tmp_path, config=folder.config, local_files_only=True)
    made, before = (Tokenizer.from_str(json.dumps(value)) for value in (kept, tokenizer))
    assert all(made.encode(text).ids == library(text)["input_ids"] for text in TEXTS)
    assert any(before.encode(text).ids != library(text)["input_ids"] for text in TEXTS)


def test_truncation_and_padding_of_the_file_are_no_rule(tmp_path: Path) -> None:
    tokenizer = unigram() | {
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                    "pad_token": "<pad>"},
    }  # fmt: skip
    folder = of(tokenizer, tmp_path, **{"sentence_bert_config.json": {"max_seq_length": 20}})
    assets = text_assets(folder, inputs(size_of(tokenizer)))
    assert any("tokenizer.json cuts texts at 4 tokens" in note for note in folder.notes)
    assert assets["text.json"]["max_length"] == 20 and any("at most 20 tokens" in note for note in folder.notes)
    specs = inputs(size_of(tokenizer))
    text = open_text(
        Bundle.open(
            _bundle(tmp_path / "b.attn", specs, {"text": assets["text.json"], "tokenizer": assets["tokenizer.json"]})
        )
    )
    assert len(text.encoded("the cat sat on a mat").tokens) > 4 and text.most == 20
    assert len(text.encoded("a").tokens) < 16


def test_a_chat_template_is_kept_and_not_run(tmp_path: Path) -> None:
    tokenizer = byte_level()
    folder = of(tokenizer, tmp_path, settings={"chat_template": "{{ cycler.__init__.__globals__ }}"})
    assets = text_assets(folder, inputs(size_of(tokenizer)))
    assert assets["chat_template.json"] == {"template": "{{ cycler.__init__.__globals__ }}"}
    assert any("never run" in note for note in folder.notes)


# --- slow files ---------------------------------------------------------------------------------------------------


def test_a_vocabulary_becomes_a_tokenizer(tmp_path: Path) -> None:
    folder = saved(tmp_path, bert(len(WORDS)), {"vocab.txt": "\n".join(WORDS)})
    assets = text_assets(folder, inputs(len(WORDS), types=True))
    assert assets["tokenizer.json"]["model"]["vocab"] == {word: n for n, word in enumerate(WORDS)}
    assert assets["text.json"] == {"input": "input_ids", "mask": "attention_mask", "pad": 0, "unknown": 1, "mask_token": 4,
                                   "types": "token_type_ids"}  # fmt: skip


def test_words_and_merges_become_a_tokenizer(tmp_path: Path) -> None:
    model = byte_level()["model"]
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in model["merges"])])
    config = transformers.GPT2Config(vocab_size=len(model["vocab"]), bos_token_id=0, eos_token_id=0)
    folder = saved(tmp_path, config, {"vocab.json": model["vocab"], "merges.txt": merges})
    made = text_assets(folder, inputs(len(model["vocab"]), ("tokens", "tokens_mask")))
    assert made["tokenizer.json"]["model"]["vocab"] == model["vocab"]
    assert made["text.json"]["unknown"] is None and made["text.json"]["pad"] == 0


# --- what is left out, and told ------------------------------------------------------------------------------------


def left_out(folder: SavedModel, rows: int) -> str:
    assert text_assets(folder, inputs(rows)) == {}
    return folder.notes[-1]


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    assert "has no tokenizer" in left_out(saved(tmp_path, bert(99), {}), 99)
    assert text_assets(saved(tmp_path, bert(99), {}), inputs(99)[1:]) == {}  # pictures and the like


def test_a_vocabulary_that_was_not_read(tmp_path: Path) -> None:
    """transformers makes a tokenizer of its special tokens alone, and says nothing."""
    other = saved(tmp_path / "a", transformers.AlbertConfig(vocab_size=len(WORDS)), {"vocab.txt": "\n".join(WORDS)})
    assert f"vocab.txt has {len(WORDS)} words, and transformers makes a AlbertTokenizer of 5" in left_out(
        other, len(WORDS)
    )
    none = saved(tmp_path / "b", bert(99), {"tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}})
    assert "100% of the characters of texts in many languages are unknown to the tokenizer of 5 tokens" in left_out(
        none, 99
    )


def test_another_alphabet_is_no_fault(tmp_path: Path) -> None:
    tokenizer = word_piece()
    tokenizer["model"]["vocab"] = {word: n for n, word in enumerate([*WORDS[:5], "ⅰ", "ⅱ"])}
    folder = of(tokenizer, tmp_path, rows=7)
    assert "text.json" in text_assets(folder, inputs(7))
    assert any("it is of another alphabet" in note for note in folder.notes)


def test_a_tokenizer_in_python(tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=384)
    folder = saved(tmp_path, config, {"tokenizer_config.json": {"tokenizer_class": "ByT5Tokenizer"}})
    assert "ByT5Tokenizer of transformers, which is written in Python" in left_out(folder, 384)


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_tokenizer_of_another_size(tmp_path: Path) -> None:
    tokenizer = unigram()
    size = size_of(tokenizer)
    larger = of(tokenizer, tmp_path / "a", rows=size + 2)
    text_assets(larger, inputs(size + 2))
    assert f"the tokenizer has {size} tokens, the model {size + 2}: the last ones stand for no text" in larger.notes
    with pytest.raises(UsageError, match=rf"of another size than the model: 2 of its tokens lie beyond the {size - 2}"):
        text_assets(of(tokenizer, tmp_path / "b", rows=size - 2), inputs(size - 2))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["t.T", None]}}}, r"\(auto_map\); it is never run"),
        ({"tokenizer.json": {"model": 3}}, "transformers can't read its tokenizer .*save it again"),
    ],
)  # fmt: skip
def test_folders_that_are_refused(tmp_path: Path, files: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        text_assets(saved(tmp_path, bert(99), files), inputs(99))
    assert "\n" not in str(caught.value)


def test_a_sentencepiece_model_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import sentencepiece  # noqa: F401
    except ImportError:
        folder = saved(tmp_path, transformers.T5Config(vocab_size=99), {"spiece.model": b"\n\x0a"})
        with pytest.raises(UsageError, match=r"a sentencepiece model \(spiece.model\).*pip install sentencepiece"):
            text_assets(folder, inputs(99))
    else:
        pytest.skip("sentencepiece is installed")


def test_a_text_alone_makes_no_boxes(tmp_path: Path) -> None:
    tokenizer = word_piece()
    folder = of(tokenizer, tmp_path)
    tokens = inputs(size_of(tokenizer))
    boxes = TensorSpec("bbox", "int64", (*tokens[0].dims, Dim.fixed(4)), low=0, high=1001)
    assert list(text_assets(folder, (*tokens, boxes))) == ["tokenizer.json"]
    assert folder.notes[-1].endswith("tokens are given as arrays: a text alone makes no bbox")
