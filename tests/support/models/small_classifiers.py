"""The smallest bundles that classify: one of texts, one of recordings, one of pictures. Their graphs are made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.spec import Dim, TensorSpec
from onnx import TensorProto, helper, numpy_helper

BATCH, LENGTH, SAMPLES = Dim("batch", 1, 2, 4), Dim("length", 1, 4, 8), Dim.fixed(100)
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}


def write_bundle(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    assets: Mapping[str, Any],
    called: str | None = None,
) -> Path:
    """A bundle of one graph without golden cases. `called` is the model's, in place of the file's."""

    def values(specs: Sequence[TensorSpec]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(s.name, _TYPES[s.dtype], [d.name if d.dynamic else d.opt for d in s.dims])
            for s in specs
        ]

    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "g", values(inputs), values(outputs), weights)
    with BundleWriter(path) as writer:
        opsets = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), writer.path("model.onnx"))
        for name, value in assets.items():
            writer.add_json(f"assets/{name}.json", value)
        entry = {
            "inputs": [s.to_json() for s in inputs],
            "outputs": [s.to_json() for s in outputs],
            "opset": 18,
            "exporter": "dynamo",
            "precisions": {"fp32": {"file": "model.onnx", "data": [], "tolerance": {"atol": 1e-6, "rtol": 1e-5}}},
            **{key: [] for key in ("cures", "stages", "consistency", "golden")},
        }
        writer.commit(
            {
                "name": called or path.stem,
                "task": None,
                "created": "2026-01-31T12:00:00+00:00",
                "source": {"kind": "module", "ref": "by:hand", "checkpoint": None, "config": {}},
                "versions": {},
                "graphs": {"model": entry},
                "assets": {name: f"assets/{name}.json" for name in assets},
            }
        )
    return path


WORDS = ("[PAD]", "[UNK]", "good", "bad", "odd", "very", ".")


def texts(path: Path, batch: Dim = BATCH, length: Dim = LENGTH, **assets: Any) -> Path:
    """Counts words: each "good", "bad", "odd" adds 1 to its class. Padding that is not masked would add 9 to "odd"."""
    table = np.zeros((len(WORDS), 3), np.float32)
    table[[2, 3, 4], [0, 1, 2]] = 1
    table[0, 2] = 9
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    }
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["scores"]),
        helper.make_node("Cast", ["mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "last"], ["seen3"]),
        helper.make_node("Mul", ["scores", "seen3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    constants = {"table": table, "last": np.array([2]), "middle": np.array([1])}
    inputs = (
        TensorSpec("tokens", "int64", (batch, length), low=0, high=len(WORDS)),
        TensorSpec("mask", "bool", (batch, length)),
    )
    output = TensorSpec("logits", "float32", (batch, Dim.fixed(3)))
    own = {
        "labels": ["praise", "blame", "wonder"],
        "text": {"input": "tokens", "mask": "mask", "pad": 0, "unknown": 1},
        "tokenizer": tokenizer,
    }
    return write_bundle(path, nodes, constants, inputs, (output,), {**own, **assets})


def recordings(path: Path, samples: Dim = SAMPLES) -> Path:
    """At 1000 Hz: sound where the mean of |x| is over 0.1, else silence."""
    nodes = [
        helper.make_node("Abs", ["wave"], ["loud"]),
        helper.make_node("ReduceMean", ["loud", "last"], ["level"], keepdims=1),
        helper.make_node("Sub", ["level", "limit"], ["sound"]),
        helper.make_node("Neg", ["sound"], ["silence"]),
        helper.make_node("Concat", ["silence", "sound"], ["logits"], axis=1),
    ]
    constants = {"last": np.array([1]), "limit": np.float32(0.1)}
    batch = BATCH
    assets = {"labels": ["silence", "sound"], "audio": {"input": "wave", "sample_rate": 1000}}
    inputs = (TensorSpec("wave", "float32", (batch, samples)),)
    return write_bundle(
        path, nodes, constants, inputs, (TensorSpec("logits", "float32", (batch, Dim.fixed(2))),), assets
    )


def pictures(path: Path, **changes: Any) -> Path:
    """Which of red, green and blue there is most of. `changes` are to image.json."""
    batch = Dim("batch", 1, 2, 2)
    nodes = [helper.make_node("ReduceMean", ["image", "places"], ["logits"], keepdims=0)]
    recipe = {"input": "image", "height": 4, "width": 4, "channels": 3, "resize": "nearest", "scale": 1 / 255}
    assets = {"labels": ["red", "green", "blue"], "image": {**recipe, "mean": [0.0] * 3, "std": [1.0] * 3, **changes}}
    inputs = (TensorSpec("image", "float32", (batch, Dim.fixed(3), Dim.fixed(4), Dim.fixed(4))),)
    output = TensorSpec("logits", "float32", (batch, Dim.fixed(3)))
    return write_bundle(path, nodes, {"places": np.array([2, 3])}, inputs, (output,), assets)
