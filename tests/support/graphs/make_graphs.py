"""Small ONNX graphs for the tests of sessions, each with an answer that numpy can give."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.known_hashes import sha256_of
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.tensor_files import write_tensors
from attn_runtime.bundle.writer import BundleWriter
from onnx import TensorProto, helper, numpy_helper

from support.graphs.make_hostile_bundles import dim, valid_manifest


def save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a graph of opset 17 to `file`."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    file.write_bytes(model.SerializeToString())
    return file


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def integers(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


def add(file: Path, metadata: dict[str, str] | None = None) -> Path:
    """z[B, T] = a[B, T] + b[B, T]."""
    sides = [floats("a", "B", "T"), floats("b", "B", "T")], [floats("z", "B", "T")]
    return save(file, [helper.make_node("Add", ["a", "b"], ["z"])], *sides, metadata=metadata)


def embed(file: Path) -> Path:
    """e[B, T, 4] = table[tokens[B, T]] with table of 30 rows, all of row i equal to i."""
    table = numpy_helper.from_array(np.repeat(np.arange(30, dtype=np.float32)[:, None], 4, 1), "table")
    gather = helper.make_node("Gather", ["table", "tokens"], ["e"])
    return save(file, [gather], [integers("tokens", "B", "T")], [floats("e", "B", "T", 4)], [table])


def nonzero(file: Path) -> Path:
    """i[1, n] = the positions of what is not zero in x[N]: a shape that depends on the values."""
    return save(file, [helper.make_node("NonZero", ["x"], ["i"])], [floats("x", "N")], [integers("i", 1, "n")])


def brightness_classifier(path: Path, channels: int = 1) -> Path:
    """A bundle of an image classifier: logits[batch, 2] = (mean pixel of image[batch, C, 4, 4]) * [-1, 1].

    Labels are dark and bright; its `image` asset maps 0..255 to -1..1.
    """
    pixels = channels * 16
    weight = np.repeat(np.array([[-1.0, 1.0]], np.float32) / pixels, pixels, axis=0)
    manifest: dict[str, Any] = valid_manifest()
    model = manifest["graphs"]["model"]
    batch = dim("batch", 1, 2, 4)
    fixed = [dim(None, size, size, size) for size in (channels, 4, 4)]
    model["inputs"] = [{"name": "image", "dtype": "float32", "dims": [batch, *fixed]}]
    model["outputs"] = [{"name": "logits", "dtype": "float32", "dims": [batch, dim(None, 2, 2, 2)]}]
    del model["precisions"]["ext"], model["precisions"]["half"]
    recipe = {"input": "image", "height": 4, "width": 4, "channels": channels, "resize": "bilinear"}
    recipe |= {"scale": 1 / 127.5, "mean": [1.0] * channels, "std": [1.0] * channels}
    with BundleWriter(path) as writer:
        save(
            writer.path("model.onnx"),
            [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
            [floats("image", "batch", channels, 4, 4)],
            [floats("logits", "batch", 2)],
            [numpy_helper.from_array(weight, "w")],
        )
        rng = np.random.default_rng(0)
        for golden in model["golden"]:
            image = rng.standard_normal((golden["sizes"]["batch"], channels, 4, 4), dtype=np.float32)
            writer.add_tensors(golden["inputs"], {"image": image})
            writer.add_tensors(golden["outputs"], {"logits": image.reshape(len(image), -1) @ weight})
        writer.add_json("assets/labels.json", ["dark", "bright"])
        writer.add_json("assets/image.json", recipe)
        writer.commit(manifest)
    return path


def rewrite_answers(bundle: Path, case: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Alter a golden output and make the manifest agree, as a wrong record would."""
    relative = f"golden/{case}.outputs.safetensors"
    found = next(c for c in Bundle.open(bundle).graph().cases() if c.name == case)
    (bundle / relative).unlink()
    write_tensors(bundle / relative, {"y": change(found.outputs["y"].copy())})
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][relative] = {
        "sha256": sha256_of(bundle / relative),
        "size": (bundle / relative).stat().st_size,
    }
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def off_by(error: float) -> Callable[[np.ndarray], np.ndarray]:
    """A change for `rewrite_answers`: element [-1, 7] off by `error`."""

    def change(y: np.ndarray) -> np.ndarray:
        y[-1, 7] += error
        return y

    return change
