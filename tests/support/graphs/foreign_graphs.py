"""Graphs and bundles whose names mean something to a terminal, a plot, a page or a shell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attn_runtime.bundle.writer import BundleWriter
from onnx import helper

from support.checks.foreign_names import HOSTILE, PLAIN
from support.graphs.make_graphs import brightness_classifier, floats, save
from support.graphs.make_hostile_bundles import dim, rehash, valid_manifest


def odd_graph(file: Path, names: Sequence[str] = HOSTILE) -> Path:
    """For each of the names out NAME[DIM, 2] = relu(NAME[DIM, 2]), by a node of that name; the first of them is every DIM."""
    return save(
        file,
        [helper.make_node("Relu", [name], [f"out {name}"], name=name) for name in names],
        [floats(name, names[0], 2) for name in names],
        [floats(f"out {name}", names[0], 2) for name in names],
        metadata={"key " + names[0]: names[0]},
    )


def odd_operator(file: Path, operator: str, domain: str = "") -> Path:
    """A graph with an operator that nobody knows."""
    node = helper.make_node(operator, ["x"], ["y"], name=operator, domain=domain)
    graph = helper.make_graph([node], "g", [floats("x", "B")], [floats("y", "B")])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return file


def odd_inputs(file: Path, names: Sequence[str] = HOSTILE) -> Path:
    """An .npz for `odd_graph`, with ones."""
    np.savez(file, **{name: np.ones((1, 2), np.float32) for name in names})
    return file


def odd_bundle(path: Path, names: Sequence[str] = PLAIN) -> Path:
    """A bundle of `odd_graph`, and the names in every field of the manifest that may hold any text."""
    manifest = valid_manifest()
    model = manifest["graphs"]["model"]
    dims = [dim(names[0], 1, 2, 4), dim(None, 2, 2, 2)]
    model["inputs"] = [{"name": n, "dtype": "float32", "dims": dims, "meaning": n, "unit": n} for n in names]
    model["outputs"] = [{"name": f"out {n}", "dtype": "float32", "dims": dims} for n in names]
    half = model["precisions"].pop("half")
    del model["precisions"]["ext"]
    model["precisions"]["fp32"]["attention"] = [{**half["attention"][0], "module": n} for n in names]
    model["precisions"]["fp32"]["kept"] = [{"node": n, "operator": "Pow", "module": n, "reason": n} for n in names]
    model["cures"] = [{"name": "frozen-parameters", "did": n} for n in names]
    model["consistency"] = [{"name": "row-alone", "passed": True, "max_error": 0, "note": n} for n in names]
    stage = model["stages"][0]
    model["stages"] = [{**stage, "note": n, "checks": []} for n in names]
    manifest |= {"name": names[0], "task": names[1], "assets": {}}
    manifest["source"] |= {"ref": names[2], "inputs_from": names[3]}
    manifest["source"]["checkpoint"]["file"] = "weights"
    with BundleWriter(path) as writer:
        odd_graph(writer.path("model.onnx"), names)
        for golden in model["golden"]:
            rows = golden["sizes"].pop("batch")
            golden["sizes"] = golden["checked_sizes"] = {names[0]: rows}
            writer.add_tensors(golden["inputs"], {n: np.ones((rows, 2), np.float32) for n in names})
            writer.add_tensors(golden["outputs"], {f"out {n}": np.ones((rows, 2), np.float32) for n in names})
        writer.commit(manifest)
    return path


def odd_classifier(path: Path, labels: Sequence[str]) -> Path:
    """`brightness_classifier` with two other labels."""
    brightness_classifier(path)
    (path / "assets/labels.json").write_text(json.dumps(list(labels)))
    rehash(path)
    return path
