"""A bundle of two graphs over common weights, and precisions of it of which some weights are as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from attn_export.onnx_graph.shared_weights import share
from attn_export.precision.half.typed_graph import TypedGraph
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.compare import Tolerance
from onnx import helper, numpy_helper

from support.graphs import make_graphs
from support.graphs.make_hostile_bundles import dim, valid_manifest

_DRAWN = np.random.default_rng(0)
BIG = _DRAWN.standard_normal((96, 200)).astype(np.float32)  # 75 KiB
DOWN = _DRAWN.standard_normal((200, 4)).astype(np.float32)  # 3 KiB
OWN = _DRAWN.standard_normal((200, 4)).astype(np.float32)
GRAPHS: Mapping[str, np.ndarray] = {"left": DOWN, "right": OWN}


def products(path: Path, big: np.ndarray, down: np.ndarray) -> Path:
    """y[batch, 4] = x[batch, 96] @ big @ down."""
    nodes = [helper.make_node("MatMul", ["x", "big"], ["h"]), helper.make_node("MatMul", ["h", "down"], ["y"])]
    weights = [numpy_helper.from_array(big, "big"), numpy_helper.from_array(down, "down")]
    borders = [make_graphs.floats("x", "batch", 96)], [make_graphs.floats("y", "batch", 4)]
    return make_graphs.save(path, nodes, *borders, weights)


def two_graphs(path: Path) -> Path:
    """Graphs left and right: BIG is in both, DOWN and OWN in one each; 81 KiB in weights.data."""
    manifest = valid_manifest()
    one = manifest["graphs"].pop("model")
    for side, name, size in (("inputs", "x", 96), ("outputs", "y", 4)):
        one[side] = [{"name": name, "dtype": "float32", "dims": [dim("batch", 1, 2, 4), dim(None, size, size, size)]}]
    manifest["assets"] = {"words": "assets/words.json"}
    with BundleWriter(path) as writer:
        writer.add_json("assets/words.json", ["a", "b"])
        share(
            [products(writer.path(f"{n}.onnx"), BIG, down) for n, down in GRAPHS.items()], writer.path("weights.data")
        )
        for name, down in GRAPHS.items():
            files = {side: f"golden/{name}.{side}.safetensors" for side in ("inputs", "outputs")}
            x = np.random.default_rng(1).standard_normal((2, 96)).astype(np.float32)
            writer.add_tensors(files["inputs"], {"x": x})
            writer.add_tensors(files["outputs"], {"y": x @ BIG @ down})
            precision = {"file": f"{name}.onnx", "data": ["weights.data"], "tolerance": {"atol": 1e-6, "rtol": 1e-4}}
            manifest["graphs"][name] = {
                **one,
                "precisions": {"fp32": precision},
                "golden": [{**one["golden"][1], "case": "opt", **files}],
            }
        writer.commit(manifest)
    return path


def rounded(bundle: Path, work: Path, name: str, *, bits: int = 6) -> dict[str, list[TypedGraph]]:
    """What `write_precision` takes: the graphs of `bundle` with BIG rounded, as precision `name`; the rest is as it was.

    With 0 bits nothing is rounded.
    """
    big = np.round(BIG * 2**bits) / 2**bits if bits else BIG
    made = {}
    for graph in Bundle.open(bundle).graphs:
        path = products(work / f"{graph}.{name}.onnx", big.astype(np.float32), GRAPHS[graph])
        limit = Tolerance(1e-6, 5e-2)
        target = "tensorrt" if name.endswith("-trt") else None
        made[graph] = [TypedGraph(name, path, "fp32", graph, (), 0.0, (), limit, (), False, 2, 2, 1.0, target=target)]
    return made


def stored(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Weight -> the data file that it lies in ("" for none), and its values."""
    model = onnx.load(path, load_external_data=False)
    places = {
        t.name: next((e.value for e in t.external_data if e.key == "location"), "") for t in model.graph.initializer
    }
    values = {t.name: numpy_helper.to_array(t, str(path.parent)) for t in model.graph.initializer}
    return {name: (place, values[name]) for name, place in places.items()}
