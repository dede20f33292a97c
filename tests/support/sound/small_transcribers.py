"""The smallest bundles that transcribe, made by hand: one with a CTC head, one that writes token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.spec import Dim, TensorSpec
from onnx import TensorProto, helper

from support.graphs.make_hostile_bundles import dim
from support.models.small_classifiers import write_bundle
from support.models.tiny_generators import Net, Tiny, encoder_net
from support.models.tiny_generators import write_bundle as write_generator
from support.models.tiny_texts import tokenizer

RATE, FRAME, REACH = 1000, 10, 30  # Hz; samples from a frame to the next, and those that a frame looks at
LETTERS = ("<pad>", "|", "A", "B", "C", "<unk>")
SAMPLES = Dim("samples", 30, 200, 600)
BATCH = Dim("batch", 1, 2, 3)


def letters_tokenizer(**changed: Any) -> dict[str, Any]:
    """assets/tokenizer.json of LETTERS."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
        "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(LETTERS)}, "unk_token": "<unk>"},
        **changed,
    }


def letters_weights() -> np.ndarray:
    """[letters, 1, REACH] float32"""
    return np.random.default_rng(4).standard_normal((len(LETTERS) - 1, 1, REACH)).astype(np.float32)


def frames_of(samples: np.ndarray) -> list[int]:
    """The likeliest letter of every frame of a whole recording, float32 [samples], in numpy."""
    views = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), REACH)[::FRAME]
    return [int(n) for n in (views @ letters_weights()[:, 0].T.astype(np.float64)).argmax(1)]


def speller(path: Path, samples: Dim = SAMPLES, batch: Dim = BATCH, **assets: Any) -> Path:
    """A CTC head: each frame of 10 samples, at 1000 Hz, is the letter whose weights fit the next 30 samples best."""
    nodes = [
        helper.make_node("Unsqueeze", ["wave", "one"], ["channel"]),
        helper.make_node("Conv", ["channel", "weights"], ["found"], strides=[FRAME]),
        helper.make_node("Transpose", ["found"], ["logits"], perm=[0, 2, 1]),
    ]
    constants = {"one": np.array([1]), "weights": letters_weights()}
    inputs = (TensorSpec("wave", "float32", (batch, samples)),)
    least, usual, most = ((count - REACH) // FRAME + 1 for count in (samples.min, samples.opt, samples.max))
    frames = Dim("frames", least, usual, most) if samples.dynamic else Dim.fixed(most)
    outputs = (TensorSpec("logits", "float32", (batch, frames, Dim.fixed(len(LETTERS) - 1))),)
    own = {
        "audio": {"input": "wave", "sample_rate": RATE, "pad": "end", "cut": "end"},
        "ctc": {"output": "logits", "blank": 0, "frame": FRAME, "word_delimiter": "|"},
        "tokenizer": letters_tokenizer(),
    }
    return write_bundle(path, nodes, constants, inputs, outputs, own | assets)


#: Samples of a window of the writer, and those that it makes one token of.
WINDOW, PIECE = 40, 5
WRITER = Tiny(layers=1, max_length=12, batch=3, seed=2)


class HearingNet(Net):
    """An encoder whose tokens are how loud each piece of a recording is."""

    def input(self, name: str, dtype: str, *dims: Any) -> str:
        if name == "source":
            batch = dim("batch", 1, 2, self.tiny.batch)
            wave = super().input("wave", "float32", batch, dim("samples", WINDOW, WINDOW, WINDOW))
            pieces = self.op("Reshape", wave, self.constant([0, -1, PIECE], np.int64))
            level = self.op("ReduceMean", self.op("Abs", pieces), axes=[2], keepdims=0)
            scaled = self.op("Floor", self.op("Mul", level, self.constant(20.0)))
            most = self.constant(float(self.tiny.vocabulary - 4))
            token = self.op("Cast", self.op("Min", scaled, most), to=TensorProto.INT64)
            self.source = self.op("Add", token, self.constant(3, np.int64))
            return self.source
        self.nodes.append(helper.make_node("Greater", [self.source, self.constant(0, np.int64)], ["source_mask"]))
        self.outputs.append(helper.make_tensor_value_info("source_mask", TensorProto.BOOL, ["batch", "source"]))
        self.specs[1].append({"name": "source_mask", "dtype": "bool", "dims": list(dims)})
        return "source_mask"


def source_of(samples: np.ndarray) -> list[int]:
    """The tokens that the writer's encoder makes of one window, float32 [samples]; silence is behind a shorter one."""
    pieces = np.pad(samples, (0, WINDOW - len(samples))).reshape(-1, PIECE)
    return [
        3 + int(min(np.floor(np.abs(piece).mean(dtype=np.float32) * 20), WRITER.vocabulary - 4)) for piece in pieces
    ]


def writer(path: Path, **assets: Any) -> Path:
    """An encoder-decoder that hears windows of 40 samples at 1000 Hz."""

    def encoder(tiny: Tiny, half: bool) -> Net:
        return encoder_net(tiny, half, HearingNet)

    own = {"audio": {"input": "wave", "sample_rate": RATE, "pad": "end", "cut": "end"}, "tokenizer": tokenizer()}
    return write_generator(path, WRITER, encoder=encoder, **(own | assets))
