"""sentencepiece models become a tokenizer.json, by transformers or, where that has them in Python alone, by us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attn_export.huggingface.assets import text_assets
from attn_export.huggingface.assets.probe_texts import TEXTS
from support.texts.saved_folders import LINES, inputs, saved

sentencepiece = pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")

OF_AN_ENCODER = ("source", "source_mask")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("spm")
    special = {"unigram": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 80},
               "bpe": {"unk_id": 0, "bos_id": 1, "eos_id": 2, "vocab_size": 350, "byte_fallback": True}}  # fmt: skip
    for kind, options in special.items():
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(LINES), model_prefix=str(folder / kind), model_type=kind, hard_vocab_limit=False,
            minloglevel=2, **options,
        )  # fmt: skip
    return {kind: (folder / f"{kind}.model").read_bytes() for kind in special}


def pieces(model: bytes) -> list[str]:
    loaded = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [loaded.id_to_piece(n) for n in range(loaded.get_piece_size())]


def numbered(model: bytes, *more: str) -> dict[str, int]:
    """vocab.json: special ones first, and words of the other language at the end."""
    return {word: n for n, word in enumerate(dict.fromkeys(["</s>", "<unk>", "<pad>", *pieces(model), *more]))}


def compare(folder: Any, rows: int, names: tuple[str, str]) -> dict[str, Any]:
    from tokenizers import Tokenizer

    assets = text_assets(folder, inputs(rows, names))
    made = Tokenizer.from_str(json.dumps(assets["tokenizer.json"]))
    library = transformers.AutoTokenizer.from_pretrained(folder.folder, config=folder.config, local_files_only=True)
    for text in TEXTS:
        assert made.encode(text).ids == library(text)["input_ids"], text
    tokens = library("the small cat sat")["input_ids"]
    assert made.decode(tokens).strip() == library.decode(tokens, skip_special_tokens=True).strip()
    return assets


def test_by_transformers(models: dict[str, bytes], tmp_path: Path) -> None:
    t5 = saved(tmp_path / "t5", transformers.T5Config(vocab_size=200), {"spiece.model": models["unigram"]})
    assert compare(t5, 200, OF_AN_ENCODER)["tokenizer.json"]["model"]["type"] == "Unigram"
    llama = saved(tmp_path / "l", transformers.LlamaConfig(vocab_size=350), {"tokenizer.model": models["bpe"]})
    assert compare(llama, 350, ("tokens", "tokens_mask"))["tokenizer.json"]["model"]["byte_fallback"]


def test_marian_has_words_of_two_languages(models: dict[str, bytes], tmp_path: Path) -> None:
    """Those of the other language alone are in no text, however well they fit; a letter is, as Marian's own reader has it."""
    words = numbered(models["unigram"], "▁ü", "▁für", "ß", "▁Straße", "ater", ">>de<<")
    settings = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    both = {"source.spm": models["unigram"], "target.spm": models["unigram"]}
    files = {**both, "vocab.json": words, "tokenizer_config.json": settings}
    folder = saved(tmp_path, transformers.MarianConfig(vocab_size=len(words), pad_token_id=2), files)
    assets = compare(folder, len(words), OF_AN_ENCODER)
    assert assets["text.json"] == {"input": "source", "mask": "source_mask", "pad": 2, "unknown": 1}
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(json.dumps(assets["tokenizer.json"]))
    library = transformers.AutoTokenizer.from_pretrained(tmp_path, config=folder.config, local_files_only=True)
    for text in ("Straße für ü", "water and mater", ">>de<< the cat", "ß", "süß ist ß."):
        assert made.encode(text).ids == library(text)["input_ids"], text


def test_a_word_of_the_other_alphabet_is_unknown_and_told(models: dict[str, bytes], tmp_path: Path) -> None:
    words = numbered(models["unigram"], "البنت")  # of one of our texts
    files = {"source.spm": models["unigram"], "target.spm": models["unigram"], "vocab.json": words,
             "tokenizer_config.json": {"tokenizer_class": "MarianTokenizer"}}  # fmt: skip
    folder = saved(tmp_path, transformers.MarianConfig(vocab_size=len(words), pad_token_id=2), files)
    assert "text.json" in text_assets(folder, inputs(len(words), OF_AN_ENCODER))
    assert any("words in letters that the source's vocabulary lacks are unknown here" in note for note in folder.notes)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_m2m100_puts_a_language_in_front(models: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    words = numbered(models[kind])
    config = transformers.M2M100Config(vocab_size=len(words) + 120)
    folder = saved(tmp_path, config, {"sentencepiece.bpe.model": models[kind], "vocab.json": words})
    assets = compare(folder, len(words) + 120, OF_AN_ENCODER)
    first = assets["tokenizer.json"]["post_processor"]["single"][0]
    assert first == {"SpecialToken": {"id": "__en__", "type_id": 0}}
    assert any("texts are read as en" in note for note in folder.notes)
