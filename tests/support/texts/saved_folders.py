"""Folders as save_pretrained makes them, as far as the readers of tokenizers, labels and model cards look: small tokenizers,
trained on texts of ours, and files written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn_export.huggingface import SavedModel
from attn_runtime.spec import Dim, TensorSpec
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

#: What the small tokenizers are trained on.
LINES = ["the cat sat on a mat and saw a dog run far away .", "who are you , and where is the small question ?"] * 4
BATCH, LENGTH = Dim("batch", 1, 2, 4), Dim("length", 1, 8, 48)


def saved(folder: Path, config: Any, files: Mapping[str, Any]) -> SavedModel:
    """`files` by name: texts and bytes as they are, all else as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return SavedModel(folder, None, None, config)


def inputs(
    rows: int, names: tuple[str, str | None] = ("input_ids", "attention_mask"), types: bool = False
) -> list[TensorSpec]:
    tokens, mask = names
    found = [TensorSpec(tokens, "int64", (BATCH, LENGTH), low=0, high=rows)]
    found += [TensorSpec(mask, "bool", (BATCH, LENGTH))] if mask else []
    found += [TensorSpec("token_type_ids", "int64", (BATCH, LENGTH), low=0, high=2)] if types else []
    return found


def word_piece() -> dict[str, Any]:
    """As BERT has it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        LINES, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return json.loads(made.to_str())


def byte_level() -> dict[str, Any]:
    """As GPT-2 has it: it knows every text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(LINES, trainer)
    return json.loads(made.to_str())


def unigram() -> dict[str, Any]:
    """As T5 has it, but for the letters of other languages, which it does not know."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        LINES, trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return json.loads(made.to_str())


def size_of(tokenizer: Mapping[str, Any]) -> int:
    return Tokenizer.from_str(json.dumps(tokenizer)).get_vocab_size()
