"""The smallest models of texts: what they answer is looked up by word, so that it can be told from the text. Their graphs are
made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.spec import Dim, TensorSpec
from onnx import NodeProto, TensorProto, helper

from support.models.small_classifiers import write_bundle

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "anna",
    "lives",
    "in",
    "new",
    "york",
    "paris",
    "and",
    "where",
    "who",
    "?",
    ".",
]
BATCH, LENGTH = Dim("batch", 1, 2, 4), Dim("length", 1, 6, 12)
V = len(WORDS)


def tokenizer(words: Sequence[str] = WORDS) -> dict[str, Any]:
    """Words between [CLS] and [SEP], as BERT has them; of a pair, the second text is of type 1."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    cls, sep = ({"SpecialToken": {"id": words[n], "type_id": 0}} for n in (2, 3))
    first, second = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    end = {"SpecialToken": {"id": words[3], "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": n, "content": words[n], **special} for n in range(5)],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, first, sep],
            "pair": [cls, first, sep, second, end],
            "special_tokens": {words[n]: {"id": words[n], "ids": [n], "tokens": [words[n]]} for n in (2, 3)},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(words)}, "unk_token": words[1]},
    }


TEXT: dict[str, Any] = {"input": "input_ids", "mask": "attention_mask", "pad": 0, "unknown": 1, "mask_token": 4}


def table(size: int, **words: Sequence[float]) -> np.ndarray:
    """float32 [V, size]: what is looked up for each word."""
    found = np.zeros((V, size), np.float32)
    for word, values in words.items():
        found[WORDS.index({"MASK": "[MASK]", "PAD": "[PAD]"}.get(word, word))] = values
    return found


def inputs(mask: bool = True, types: bool = False, batch: Dim = BATCH, length: Dim = LENGTH) -> list[TensorSpec]:
    found = [TensorSpec("input_ids", "int64", (batch, length), low=0, high=V)]
    found += [TensorSpec("attention_mask", "bool", (batch, length))] if mask else []
    found += [TensorSpec("token_type_ids", "int64", (batch, length), low=0, high=2)] if types else []
    return found


def per_token(path: Path, tables: Mapping[str, np.ndarray], **assets: Any) -> Path:
    """Outputs [batch, length, size] (or [batch, length] of tables [V]): each token's row of the table of that name."""
    nodes, outputs = [], []
    for name, values in tables.items():
        nodes.append(helper.make_node("Gather", [f"{name}_table", "input_ids"], [name]))
        outputs.append(TensorSpec(name, "float32", (BATCH, LENGTH, *map(Dim.fixed, values.shape[1:]))))
    nodes += _used("attention_mask")
    outputs.append(TensorSpec("seen", "float32", (BATCH, LENGTH)))
    constants = {f"{name}_table": values for name, values in tables.items()}
    text = {"text": TEXT, "tokenizer": tokenizer()}
    return write_bundle(path, nodes, constants, inputs(), outputs, {**text, **assets})


def pooled(
    path: Path,
    values: np.ndarray,
    output: str = "embeddings",
    mask: bool = True,
    types: bool = False,
    length: Dim = LENGTH,
    **assets: Any,
) -> Path:
    """One output [batch, size]: the sum of each token's row, twice that of a second text; the mask leaves padding out."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    constants: dict[str, Any] = {"table": values, "middle": np.array([1]), "last": np.array([2]), "one": np.float32(1)}
    if mask:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["seen", "last"], ["seen3"]),
            helper.make_node("Mul", ["rows", "seen3"], ["kept"]),
        ]
    if types:
        nodes += [
            helper.make_node("Cast", ["token_type_ids"], ["type"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["type", "one"], ["times"]),
            helper.make_node("Unsqueeze", ["times", "last"], ["times3"]),
            helper.make_node("Mul", ["kept" if mask else "rows", "times3"], ["weighted"]),
        ]
    nodes.append(
        helper.make_node(
            "ReduceSum", ["weighted" if types else "kept" if mask else "rows", "middle"], [output], keepdims=0
        )
    )
    recipe = TEXT | {"mask": TEXT["mask"] if mask else None} | ({"types": "token_type_ids"} if types else {})
    own = {"text": recipe, "tokenizer": tokenizer()}
    outputs = (TensorSpec(output, "float32", (BATCH, Dim.fixed(values.shape[1]))),)
    return write_bundle(path, nodes, constants, inputs(mask, types, length=length), outputs, {**own, **assets})


def _used(name: str) -> list[NodeProto]:
    return [helper.make_node("Cast", [name], ["seen"], to=TensorProto.FLOAT)]
