"""audio.json, ctc.json and tokenizer.json of folders, whose tokenizers are held against transformers' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from attn_export.huggingface import SavedModel
from attn_export.huggingface.front_ends import audio_assets
from attn_runtime.bundle import check_asset
from attn_runtime.errors import UsageError
from attn_runtime.preprocess import CtcText, TokenText
from attn_runtime.spec import Dim, TensorSpec
from support.sound.saved_folders import LETTERS, RATE, WAVES, letters

INPUTS = (TensorSpec("waveform", "float32", (Dim("batch", 1, 1, 2), Dim("samples", 100, 200, 400))),)
LOGITS = (TensorSpec("logits", "float32", (Dim("batch", 1, 1, 2),)),)
AUDIO = {"input": "waveform", "sample_rate": RATE, "pad": "end", "cut": "end"}


def folder(path: Path, kind: str = "Wav2Vec2ForCTC", tokenizer: Any = None, **config: Any) -> SavedModel:
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(path)
    made = transformers.Wav2Vec2Config(**WAVES | config, architectures=[kind])
    made.save_pretrained(path)
    if tokenizer is not None:
        tokenizer.save_pretrained(path)
    return SavedModel(path, None, None, made)


def test_a_ctc_head_with_a_vocabulary_alone(tmp_path: Path) -> None:
    tokenizer = letters(tmp_path)
    saved = folder(tmp_path, tokenizer=tokenizer)
    assets = audio_assets(saved, INPUTS, LOGITS)
    assert assets["audio.json"] == AUDIO
    assert assets["ctc.json"] == {"output": "logits", "blank": 0, "frame": 80, "word_delimiter": "|"}
    for name, value in assets.items():
        check_asset(Path(name).stem, value, "test")
    text = CtcText(assets["ctc.json"], assets["tokenizer.json"], "test")
    frames = [LETTERS.index(letter) for letter in ["A", "A", "<pad>", "A", "|", "|", "B", "<pad>", "|"]]
    assert text.text(frames) == tokenizer.decode(frames) == "AA B"
    assert saved.notes == []


def test_another_delimiter_lower_case_and_a_vocabulary_of_another_size(tmp_path: Path) -> None:
    tokenizer = letters(tmp_path, word_delimiter_token="'", do_lower_case=True)
    saved = folder(tmp_path, tokenizer=tokenizer, vocab_size=14)
    assets = audio_assets(saved, INPUTS, LOGITS)
    assert assets["ctc.json"]["lowercase"] and assets["ctc.json"]["word_delimiter"] == "'"
    assert saved.notes[0] == "the word delimiter is ', as the folder says; transformers goes by its default"
    assert saved.notes[1:] == ["the model answers 14 tokens, its tokenizer knows 12; unknown ones are not written"]
    text = CtcText(assets["ctc.json"], assets["tokenizer.json"], "test")
    assert text.text([5, 11, 6, 4]) == tokenizer.decode([5, 11, 6, 4]) == "a b|"


def test_a_tokenizer_that_writes_otherwise_is_left_out_and_told(tmp_path: Path) -> None:
    saved = folder(tmp_path, tokenizer=letters(tmp_path, replace_word_delimiter_char="_"))
    assert audio_assets(saved, INPUTS, LOGITS) == {"audio.json": AUDIO}
    assert len(saved.notes) == 1 and "Wav2Vec2CTCTokenizer: has no form as tokenizer.json" in saved.notes[0]


def test_no_tokenizer_no_head_and_no_recording(tmp_path: Path) -> None:
    saved = folder(tmp_path)
    assert audio_assets(saved, INPUTS, LOGITS) == {"audio.json": AUDIO}
    assert len(saved.notes) == 1 and saved.notes[0].startswith("no tokenizer (")
    saved = folder(tmp_path, kind="Wav2Vec2ForSequenceClassification")
    assert audio_assets(saved, INPUTS, LOGITS) == {"audio.json": AUDIO} and saved.notes == []
    other = (TensorSpec("source", "float32", INPUTS[0].dims),)
    assert audio_assets(saved, other, LOGITS) == {"audio.json": {**AUDIO, "input": "source"}}
    assert audio_assets(saved, (TensorSpec("source", "float32", (*INPUTS[0].dims, Dim.fixed(80))),), LOGITS) == {}
    assert audio_assets(saved, (*INPUTS, TensorSpec("mask", "bool", INPUTS[0].dims)), LOGITS) == {}


def test_a_head_without_logits_or_a_blank_is_refused(tmp_path: Path) -> None:
    saved = folder(tmp_path, tokenizer=letters(tmp_path))
    with pytest.raises(UsageError, match="a CTC head answers logits, found the outputs hidden"):
        audio_assets(saved, INPUTS, (TensorSpec("hidden", "float32", LOGITS[0].dims),))
    saved.config.vocab_size, columns = 12, json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(columns | {"pad_token": None}))
    with pytest.raises(UsageError, match="there is no pad_token, which is the blank"):
        audio_assets(saved, INPUTS, LOGITS)


def test_a_writers_tokenizer_is_its_own(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    backend = Tokenizer(models.BPE({"a": 0, "b": 1, "Ġ": 2, "</s>": 3}, [], unk_token="a"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    saved = folder(tmp_path, kind="WhisperForConditionalGeneration", tokenizer=tokenizer)
    assets = audio_assets(saved, INPUTS, ())
    assert set(assets) == {"audio.json", "tokenizer.json"} and saved.notes == []
    assert TokenText(assets["tokenizer.json"], "test").decode([0, 2, 1, 3]) == "a b"


def test_a_writer_of_pieces_without_a_file_of_its_own(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece", reason="pip install sentencepiece")
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"the cat number {n} sat on mat {n * 7}" for n in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(tmp_path / "spm"),
        vocab_size=60,
        minloglevel=2,
        pad_id=1,
        bos_id=0,
        eos_id=2,
        unk_id=3,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spm.model"))
    vocabulary = tmp_path / "pieces.json"
    vocabulary.write_text(json.dumps({model.id_to_piece(n): n for n in range(60)}))
    tokenizer = transformers.Speech2TextTokenizer(str(vocabulary), str(tmp_path / "spm.model"))
    saved = folder(tmp_path, kind="Speech2TextForConditionalGeneration", tokenizer=tokenizer)
    assets = audio_assets(saved, INPUTS, ())
    assert saved.notes == []
    tokens = tokenizer("the cat sat on mat 14").input_ids
    assert TokenText(assets["tokenizer.json"], "test").decode(tokens) == "the cat sat on mat 14"


@pytest.mark.parametrize(("kind", "frame"), [("Parakeet", 8 * 160), ("Lasr", 4 * 160)])
def test_a_head_behind_an_encoder_of_frames_and_a_tokenizer_of_pieces(kind: str, frame: int, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models

    vocabulary = {"<unk>": 0, "▁the": 1, "▁c": 2, "at": 3, "s": 4, "<pad>": 5}
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.decoder = decoders.Metaspace()
    tokenizer = transformers.ParakeetTokenizer(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>")
    tokenizer.save_pretrained(tmp_path)
    getattr(transformers, f"{kind}FeatureExtractor")().save_pretrained(tmp_path)
    config = getattr(transformers, f"{kind}CTCConfig")(vocab_size=6, pad_token_id=5, architectures=[f"{kind}ForCTC"])
    saved = SavedModel(tmp_path, None, None, config)
    assets = audio_assets(saved, INPUTS, LOGITS)
    assert assets["ctc.json"] == {"output": "logits", "blank": 5, "frame": frame} and saved.notes == []
    text = CtcText(assets["ctc.json"], assets["tokenizer.json"], "test")
    frames = [1, 1, 5, 2, 3, 3, 5, 4, 5, 4, 0]
    assert text.text(frames) == tokenizer.decode(frames) == "the catss<unk>"
