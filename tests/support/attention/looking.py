"""The smallest bundles with attention weights as outputs: one of pictures, one of texts, one of sound, one that translates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.spec import Dim, TensorSpec
from onnx import TensorProto, helper
from PIL import Image

from support.models import tiny_generators
from support.models.small_classifiers import WORDS, write_bundle
from support.models.tiny_generators import Tiny

BATCH = Dim("batch", 1, 2, 4)
ROWS, COLUMNS, PATCH = 3, 5, 2
GRID = {"kind": "grid", "rows": ROWS, "columns": COLUMNS, "skip": 1}
CELLS = 1 + ROWS * COLUMNS


def asset(*maps: tuple[str, str, dict[str, Any], dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"graph": g, "output": o, "module": o.removeprefix("attention_"), "query": q, "key": k} for g, o, q, k in maps
    ]


def watcher(path: Path) -> Path:
    """Class token: looks at the brightest cell. The cells: each looks at the one behind it, the last at the class token."""
    turned = np.roll(np.eye(CELLS, dtype=np.float32), 1, axis=1)[None, None, 1:]
    nodes = [
        helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[PATCH] * 2, strides=[PATCH] * 2),
        helper.make_node("ReduceMean", ["means", "channels"], ["grey"], keepdims=1),
        helper.make_node("Reshape", ["grey", "flat"], ["cells"]),
        helper.make_node("Mul", ["cells", "sharp"], ["scores"]),
        helper.make_node("Pad", ["scores", "pads", "low"], ["row"]),
        helper.make_node("Softmax", ["row"], ["first"], axis=-1),
        helper.make_node("Shape", ["image"], ["rows"], end=1),
        helper.make_node("Concat", ["rows", "ones"], ["repeats"], axis=0),
        helper.make_node("Tile", ["turned", "repeats"], ["others"]),
        helper.make_node("Concat", ["first", "others"], ["attention_look"], axis=2),
        helper.make_node("ReduceMax", ["cells", "inner"], ["logits"], keepdims=0),
    ]
    constants = {
        "channels": np.array([1]),
        "flat": np.array([0, 1, 1, ROWS * COLUMNS]),
        "sharp": np.float32(40),
        "pads": np.array([0, 0, 0, 1, 0, 0, 0, 0]),
        "low": np.float32(-40),
        "ones": np.array([1, 1, 1]),
        "turned": turned,
        "inner": np.array([2, 3]),
    }
    side = (Dim.fixed(ROWS * PATCH), Dim.fixed(COLUMNS * PATCH))
    return write_bundle(
        path,
        nodes,
        constants,
        (TensorSpec("image", "float32", (BATCH, Dim.fixed(3), *side)),),
        (
            TensorSpec("logits", "float32", (BATCH, Dim.fixed(1))),
            TensorSpec("attention_look", "float32", (BATCH, Dim.fixed(1), Dim.fixed(CELLS), Dim.fixed(CELLS))),
        ),
        {
            "labels": ["light"],
            "image": {"input": "image", "height": side[0].opt, "width": side[1].opt, "channels": 3, "resize": "nearest",
                      "scale": 1 / 255, "mean": [0.0] * 3, "std": [1.0] * 3},
            "attention_maps": asset(("model", "attention_look", GRID, GRID)),
        },
    )  # fmt: skip


def lamp(file: Path) -> Path:
    """A picture of 60 x 30 pixels with a light in the cell of row 2, column 1."""
    pixels = np.full((30, 60, 3), 90, np.uint8)
    pixels[20:30, 12:24] = 255
    Image.fromarray(pixels).save(file)
    return file


def uniform(
    path: Path, heeds_mask: bool = True, least: int = 6, words: Sequence[str] = WORDS, name: str | None = None
) -> Path:
    """Every word looks at all words alike; texts are padded to 6. `name` is the model's, in place of the file's."""
    nodes = [
        helper.make_node("Cast", ["mask" if heeds_mask else "yes"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["seen", "one"], ["low"]),
        helper.make_node("Mul", ["low", "much"], ["scores"]),
        helper.make_node("Unsqueeze", ["scores", "axes"], ["row"]),
        helper.make_node("Shape", ["mask"], ["length"], start=1),
        helper.make_node("Concat", ["heads", "length", "single"], ["repeats"], axis=0),
        helper.make_node("Tile", ["row", "repeats"], ["all"]),
        helper.make_node("Softmax", ["all"], ["attention_words"], axis=-1),
        helper.make_node("Identity", ["seen"], ["logits"]),
    ]
    if not heeds_mask:
        nodes.insert(0, helper.make_node("Equal", ["tokens", "tokens"], ["yes"]))
    constants = {"one": np.float32(1), "much": np.float32(1e4), "axes": np.array([1, 2]), "heads": np.array([1, 2]),
                 "single": np.array([1])}  # fmt: skip
    length = Dim("length", least, 8, 12)
    axis = {"kind": "tokens", "of": "tokens"}
    tokenizer = json.loads(tokenizer_of(words))
    return write_bundle(
        path,
        nodes,
        constants,
        (
            TensorSpec("tokens", "int64", (BATCH, length), low=0, high=len(words)),
            TensorSpec("mask", "bool", (BATCH, length)),
        ),
        (
            TensorSpec("logits", "float32", (BATCH, length)),
            TensorSpec("attention_words", "float32", (BATCH, Dim.fixed(2), length, length)),
        ),
        {
            "text": {"input": "tokens", "mask": "mask", "pad": 0, "unknown": 1},
            "tokenizer": tokenizer,
            "attention_maps": asset(("model", "attention_words", axis, axis)),
        },
        name,
    )


def tokenizer_of(words: Sequence[str]) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({word: token for token, word in enumerate(words)}, unk_token=words[1]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return str(made.to_str())


def sound(path: Path) -> Path:
    """A second at 1000 Hz in 10 frames, each of which looks at all frames by how loud they are."""
    nodes = [
        helper.make_node("Abs", ["wave"], ["loud"]),
        helper.make_node("Reshape", ["loud", "frames"], ["framed"]),
        helper.make_node("ReduceMean", ["framed", "last"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "sharp"], ["scores"]),
        helper.make_node("Unsqueeze", ["scores", "axes"], ["row"]),
        helper.make_node("Tile", ["row", "repeats"], ["all"]),
        helper.make_node("Softmax", ["all"], ["attention_frames"], axis=-1),
        helper.make_node("ReduceMax", ["means", "one"], ["logits"], keepdims=1),
    ]
    constants = {"frames": np.array([0, 10, 100]), "last": np.array([2]), "sharp": np.float32(20), "axes": np.array([1, 2]),
                 "repeats": np.array([1, 2, 10, 1]), "one": np.array([1])}  # fmt: skip
    frames = {"kind": "frames", "seconds": 0.1}
    return write_bundle(
        path,
        nodes,
        constants,
        (TensorSpec("wave", "float32", (BATCH, Dim.fixed(1000))),),
        (
            TensorSpec("logits", "float32", (BATCH, Dim.fixed(1))),
            TensorSpec("attention_frames", "float32", (BATCH, Dim.fixed(2), Dim.fixed(10), Dim.fixed(10))),
        ),
        {
            "labels": ["sound"],
            "audio": {"input": "wave", "sample_rate": 1000},
            "attention_maps": asset(("model", "attention_frames", frames, frames)),
        },
    )


def translator(path: Path, tiny: Tiny, cases: Sequence[Mapping[str, Any]] = ()) -> Path:
    """An encoder-decoder with attention outputs, whose words are called w3, w4, ..."""
    words = ("<pad>", "</s>", "<s>", *(f"w{n}" for n in range(3, tiny.vocabulary)))
    source, written = {"kind": "tokens", "of": "source"}, {"kind": "generated"}
    return tiny_generators.write_bundle(
        path,
        tiny,
        cases,
        text={"input": "source", "mask": "source_mask", "pad": 0, "unknown": 1},
        tokenizer=json.loads(tokenizer_of(words)),
        attention_maps=asset(
            ("encoder", "attention_encoder_self", source, source),
            ("first", "attention_layer0_self", written, written),
            ("first", "attention_layer0_cross", written, source),
        ),
    )
