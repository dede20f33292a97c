"""Write one small bundle per attack into a folder, beside a valid one that each of them was made from.

    python tests/support/graphs/make_hostile_bundles.py [FOLDER]        default: tests/support/hostile/, which git ignores

ATTACKS tells of each what a reader must answer. Everything that a naive reader would follow is really there: the
files outside the bundle exist, the links work, the hashes of altered files are right unless the hash is the attack.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.writer import BundleWriter
from onnx import helper, numpy_helper

HERE = Path(__file__).parents[1]
OUTSIDE = "outside"  # a folder beside the bundles


@dataclass(frozen=True)
class Attack:
    """`says` is what the error must contain; `stage` is who must notice: open, golden, asset or engine."""

    name: str
    says: str
    make: Callable[[Path], None]
    stage: str = "open"


def gemm_model(features: int = 16, classes: int = 10, dtype: type[np.generic] = np.float32) -> onnx.ModelProto:
    """y[batch, classes] = x[batch, features] @ w, with a seeded w, all of one dtype."""
    weight = np.random.default_rng(7).standard_normal((features, classes), dtype=np.float32).astype(dtype)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], name="head")],
        "gemm",
        [helper.make_tensor_value_info("x", element, ["batch", features])],
        [helper.make_tensor_value_info("y", element, ["batch", classes])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def dim(name: str | None, smallest: int, opt: int, largest: int) -> dict[str, Any]:
    return {"name": name, "min": smallest, "opt": opt, "max": largest}


def valid_manifest() -> dict[str, Any]:
    """A manifest with something in every field, but for `files` and `schema_version`, which the writer fills in."""
    corners = {"min": 1, "opt": 2, "max": 4}
    batch = dim("batch", 1, 2, 4)
    return {
        "name": "gemm",
        "task": "image-classification",
        "created": "2026-01-31T12:00:00+00:00",
        "source": {
            "kind": "module",
            "ref": "gemm:build",
            "checkpoint": {"file": "gemm.safetensors", "sha256": "0" * 64},
            "config": {"features": 16, "nested": {"any": [1, 2.5, None, "thing"]}},
            "inputs_from": "gemm:draw",
            "licence": "apache-2.0",
            "huggingface": {
                "repository": "org/gemm",
                "commit": "0" * 40,
                "architecture": "GemmForSequenceClassification",
                "model_type": "gemm",
                "transformers": "5.23.0",
                "files": [{"file": "model.safetensors", "sha256": "0" * 64}],
            },
        },
        "versions": {"attn-export": "0.1.0", "torch": "2.13.0"},
        "graphs": {
            "model": {
                "inputs": [
                    {
                        "name": "x",
                        "dtype": "float32",
                        "dims": [batch, dim(None, 16, 16, 16)],
                        "meaning": "features",
                        "unit": "standard deviations",
                    }
                ],
                "outputs": [{"name": "y", "dtype": "float32", "dims": [batch, dim(None, 10, 10, 10)]}],
                "opset": 17,
                "exporter": "dynamo",
                "precisions": {
                    "fp32": {"file": "model.onnx", "data": [], "tolerance": {"atol": 1e-6, "rtol": 2e-5}},
                    "ext": {
                        "file": "model.ext.onnx",
                        "data": ["model.ext.onnx.data"],
                        "tolerance": {"atol": 1e-6, "rtol": 2e-5},
                    },
                    "half": {
                        "file": "model.half.onnx",
                        "data": [],
                        "tolerance": {
                            "atol": 1e-3,
                            "rtol": 1e-2,
                            "rtols": {"y": 5e-3},
                            "fills": {"y": [[-1e9, -1e9], [7e4, 8e4]]},
                        },
                        "type": "fp16",
                        "target": "tensorrt",
                        "half_io": True,
                        # A Gemm has no attention; what is written here is read, and shown, all the same.
                        "kept": [{"node": "norm", "operator": "Pow", "module": "encoder.norm", "reason": "overflow"}],
                        "attention": [
                            {
                                "module": "encoder.attention",
                                "scores": "scores",
                                "softmax": "softmax",
                                "values": "values",
                                "operator": "MatMul",
                                "dtype": "float16",
                                "heads": 4,
                                "kv_heads": None,
                                "head_size": 16,
                                "value_size": 16,
                                "query_length": "T",
                                "key_length": "64",
                                "mask": "none",
                            }
                        ],
                    },
                },
                "cures": [{"name": "frozen-parameters", "did": "made 1 parameter a constant"}],
                "stages": [
                    {
                        "name": "capture",
                        "precision": "fp32",
                        "nodes_before": None,
                        "nodes_after": 1,
                        "kept": True,
                        "note": "",
                        "checks": [
                            {
                                "case": "min",
                                "sizes": {"batch": 1},
                                "output": "y",
                                "max_error": 1e-7,
                                "max_reference": 3.5,
                                "limit": 7.1e-5,
                                "max_fill": 1e9,
                                "passed": True,
                                "argmax_agreement": 1.0,
                            }
                        ],
                    }
                ],
                "consistency": [{"name": "row-alone", "passed": True, "max_error": 0, "note": ""}],
                "golden": [
                    {
                        "case": case,
                        "sizes": {"batch": size},
                        "checked_sizes": {"batch": size},
                        "seed": 0,
                        "inputs": f"golden/{case}.inputs.safetensors",
                        "outputs": f"golden/{case}.outputs.safetensors",
                    }
                    for case, size in corners.items()
                ],
            }
        },
        "assets": {"labels": "assets/labels.json", "image": "assets/image.json"},
    }


def make_valid_bundle(path: Path) -> Path:
    """A real bundle at `path`: a Gemm in three files (one with external data, one in fp16), golden cases, labels, image."""
    model = gemm_model()
    weight = numpy_helper.to_array(model.graph.initializer[0])
    rng = np.random.default_rng(0)
    manifest = valid_manifest()
    manifest["graphs"]["model"]["sweep"] = {
        "seed": 1000,
        "dims": ["batch"],
        "sizes": [[3]],
        "complete": ["batch"],
        "worst_relative_error": 1e-7,
    }
    manifest["graphs"]["model"]["power"] = {
        "seed": 50_000,
        "mutants": 60,
        "usual": 57,
        "noticed": 58,
        "cases": [{"case": "max", "inputs": "x times 100"}],
    }
    with BundleWriter(path) as writer:
        onnx.save(model, writer.path("model.onnx"))
        onnx.save(
            model,
            writer.path("model.ext.onnx"),
            save_as_external_data=True,
            location="model.ext.onnx.data",
            size_threshold=0,
        )
        onnx.save(gemm_model(dtype=np.float16), writer.path("model.half.onnx"))
        for golden in manifest["graphs"]["model"]["golden"]:
            x = rng.standard_normal((golden["sizes"]["batch"], 16), dtype=np.float32)
            writer.add_tensors(golden["inputs"], {"x": x})
            writer.add_tensors(golden["outputs"], {"y": x @ weight})
        writer.add_json("assets/labels.json", [f"class {index}" for index in range(10)])
        writer.add_json(
            "assets/image.json",
            {
                "input": "x",
                "height": 2,
                "width": 8,
                "channels": 1,
                "resize": "bilinear",
                "scale": 1 / 255,
                "mean": [0.5],
                "std": [0.25],
            },
        )
        writer.commit(manifest)
    return path


# --- tools of the attackers ---------------------------------------------------------------------------------------


def read_manifest(bundle: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    return manifest


def write_manifest(bundle: Path, manifest: Any) -> None:
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def rehash(bundle: Path) -> None:
    """Make the manifest agree with the files again, so that the hash is not what gives the attack away."""
    manifest = read_manifest(bundle)
    for relative, entry in manifest["files"].items():
        data = (bundle / relative).read_bytes()
        entry.update(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    write_manifest(bundle, manifest)


def edit(*place: str | int, to: Any) -> Callable[[Path], None]:
    """Set manifest[place[0]][place[1]]... to a value."""

    def make(bundle: Path) -> None:
        manifest = read_manifest(bundle)
        inner: Any = manifest
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = to
        write_manifest(bundle, manifest)

    return make


def drop(*place: str | int) -> Callable[[Path], None]:
    def make(bundle: Path) -> None:
        manifest = read_manifest(bundle)
        inner: Any = manifest
        for step in place[:-1]:
            inner = inner[step]
        del inner[place[-1]]
        write_manifest(bundle, manifest)

    return make


def text(content: str | bytes) -> Callable[[Path], None]:
    """Replace the whole manifest."""
    return lambda bundle: _void((bundle / "manifest.json").write_bytes(_bytes(content)))


def replace(old: str, new: str) -> Callable[[Path], None]:
    """Replace text in the manifest, for what Python's json would not write."""

    def make(bundle: Path) -> None:
        before = (bundle / "manifest.json").read_text()
        assert old in before
        (bundle / "manifest.json").write_text(before.replace(old, new, 1))

    return make


def content(relative: str, data: bytes | str) -> Callable[[Path], None]:
    """Replace a file, hash and all."""

    def make(bundle: Path) -> None:
        (bundle / relative).write_bytes(_bytes(data))
        rehash(bundle)

    return make


def truncate(relative: str, keep: int) -> Callable[[Path], None]:
    def make(bundle: Path) -> None:
        os.truncate(bundle / relative, keep)
        rehash(bundle)

    return make


def link(relative: str, to: str) -> Callable[[Path], None]:
    """Put a link in the place of a file or folder; what was there moves outside, so that the link leads to it."""

    def make(bundle: Path) -> None:
        away = bundle.parent / OUTSIDE / f"{bundle.stem}-{Path(relative).name}"
        shutil.rmtree(away, ignore_errors=True)
        shutil.move(bundle / relative, away)
        (bundle / relative).symlink_to(to or os.path.relpath(away, (bundle / relative).parent))

    return make


def fifo(relative: str) -> Callable[[Path], None]:
    def make(bundle: Path) -> None:
        (bundle / relative).unlink()
        os.mkfifo(bundle / relative)

    return make


def folder(relative: str) -> Callable[[Path], None]:
    def make(bundle: Path) -> None:
        (bundle / relative).unlink()
        (bundle / relative).mkdir()

    return make


def flip(relative: str) -> Callable[[Path], None]:
    def make(bundle: Path) -> None:
        data = bytearray((bundle / relative).read_bytes())
        data[-1] ^= 1
        (bundle / relative).write_bytes(data)

    return make


def external(location: str) -> Callable[[Path], None]:
    """Let the graph with external data look for it elsewhere."""

    def make(bundle: Path) -> None:
        model = onnx.load(bundle / "model.ext.onnx", load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        (bundle / "model.ext.onnx").write_bytes(model.SerializeToString())
        rehash(bundle)

    return make


def graph_edit(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], None]:
    def make(bundle: Path) -> None:
        model = onnx.load(bundle / "model.onnx")
        change(model)
        (bundle / "model.onnx").write_bytes(model.SerializeToString())
        rehash(bundle)

    return make


def tensors(header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file by hand; `length` is what it claims its header to be."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + data


def entry(shape: list[int], end: int, dtype: str = "F32", begin: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def _void(_: object) -> None:
    return None


# --- the attacks --------------------------------------------------------------------------------------------------

_GRAPH = ("graphs", "model")
_HALF = (*_GRAPH, "precisions", "half")
_FILLS = (*_HALF, "tolerance", "fills")
_RTOLS = (*_HALF, "tolerance", "rtols")
_SWEEP = (*_GRAPH, "sweep")
_POWER = (*_GRAPH, "power")
_X = (*_GRAPH, "inputs", 0)
_BATCH = (*_X, "dims", 0)
_NORMAL = {"mean": 0, "std": 1, "low": -1, "high": 1}
_GOLDEN_OUT = "golden/max.outputs.safetensors"
_PATH_FIELDS: dict[str, tuple[str | int, ...]] = {
    "graph-file": (*_GRAPH, "precisions", "fp32", "file"),
    "data": (*_GRAPH, "precisions", "ext", "data", 0),
    "golden-inputs": (*_GRAPH, "golden", 0, "inputs"),
    "golden-outputs": (*_GRAPH, "golden", 0, "outputs"),
    "asset": ("assets", "labels"),
    "files": ("files",),
}
_PATHS = {
    "up": f"../{OUTSIDE}/secret.json",
    "up-inside": f"golden/../../{OUTSIDE}/secret.json",
    "up-and-back": "golden/../model.onnx",
    "absolute": "/etc/passwd",
    "backslash": f"..\\{OUTSIDE}\\secret.json",
    "drive": "C:/Windows/win.ini",
    "nul": "model.onnx\0.json",
    "newline": "model.onnx\n",
    "dot": ".",
    "hidden": ".ssh/id",
    "twice": "golden//min.inputs.safetensors",
    "empty": "",
    "long": "a" * 600,
}


def _path_attacks() -> Iterator[Attack]:
    for field, place in _PATH_FIELDS.items():
        for kind, path in _PATHS.items():
            says = "characters" if kind in ("empty", "long") else "expected a relative path inside the bundle"
            make = edit(*place, path, to={"sha256": "0" * 64, "size": 1}) if field == "files" else edit(*place, to=path)
            yield Attack(f"path-{kind}-in-{field}", says, make)


ATTACKS: tuple[Attack, ...] = (
    *_path_attacks(),
    # the manifest as a file
    Attack("manifest-missing", "manifest.json is missing", lambda b: (b / "manifest.json").unlink()),
    Attack("manifest-empty", "not JSON", text("")),
    Attack("manifest-words", "not JSON", text("this is no manifest")),
    Attack("manifest-cut", "not JSON", lambda b: os.truncate(b / "manifest.json", 700)),
    Attack("manifest-latin1", "not UTF-8", text(b'{"name": "\xe9"}')),
    Attack("manifest-surrogate", "not UTF-8", replace('"name": "gemm"', r'"name": "\ud800"')),
    Attack("manifest-list", "expected object", text("[]")),
    Attack("manifest-twice", "occurs twice", replace('"name": "gemm"', '"name": "gemm", "name": "other"')),
    Attack("manifest-deep", "nested too deeply", text('{"a":' * 200_000)),
    Attack("manifest-deep-config", "nested too deeply", replace('"config": {', '"config": {"a": ' + "[" * 200_000)),
    Attack("manifest-nan", "NaN is no JSON number", replace('"max_error": 0', '"max_error": NaN')),
    Attack("manifest-infinity", "-Infinity is no JSON number", replace('"max_error": 0', '"max_error": -Infinity')),
    Attack("manifest-1e999", "out of range", replace('"max_error": 0', '"max_error": 1e999')),
    Attack("manifest-long-int", "out of range", replace('"max_error": 0', '"max_error": ' + "9" * 100_000)),
    Attack("manifest-128-bit", "out of range", replace('"seed": 0', f'"seed": {2**128}')),
    Attack("manifest-17-mib", "larger than", text("{" + " " * 17 * 2**20 + "}")),
    Attack("manifest-link", "link out of the bundle", link("manifest.json", "")),
    Attack("manifest-endless", "link out of the bundle", link("manifest.json", "/dev/zero")),
    Attack("manifest-pipe", "not a regular file", fifo("manifest.json")),
    Attack("manifest-folder", "not a regular file", folder("manifest.json")),
    # versions, keys and types
    Attack("version-2", "schema_version 2, this attn-runtime knows 1", edit("schema_version", to=2)),
    Attack("version-0", "schema_version 0, this attn-runtime knows 1", edit("schema_version", to=0)),
    Attack("version-text", 'schema_version "1"', edit("schema_version", to="1")),
    Attack("version-true", "schema_version true", edit("schema_version", to=True)),
    Attack("version-missing", '"schema_version" is missing', drop("schema_version")),
    Attack("key-unknown", 'unknown key "hook"', edit("hook", to="os.system")),
    Attack("key-missing", '"graphs" is missing', drop("graphs")),
    Attack("name-null", "expected string", edit("name", to=None)),
    Attack("name-escape", "without control characters", edit("name", to="gemm\x1b[2J")),
    Attack("name-csi", "without control characters", edit("name", to="gemm\x9b2J")),
    Attack("name-backwards", "without control characters", edit("name", to="gemm\u202etxt")),
    Attack("inputs-from-escape", "without control characters", edit("source", "inputs_from", to="a\x1b[2J")),
    Attack("repository-escape", "expected ORG/NAME", edit("source", "huggingface", "repository", to="a\x1b[2J")),
    Attack("saved-file-hash", "sha256", edit("source", "huggingface", "files", 0, "sha256", to="0")),
    Attack("saved-model-unknown", 'unknown key "hook"', edit("source", "huggingface", "hook", to="os.system")),
    Attack("inputs-from-null", "expected string", edit("source", "inputs_from", to=None)),
    Attack("name-long", "characters", edit("name", to="a" * 100_000)),
    Attack("graphs-none", "graphs: got {}", edit("graphs", to={})),
    Attack("graph-name", "letters, digits", edit("graphs", "../x", to={})),
    Attack("inputs-none", "model.inputs: got []", edit(*_GRAPH, "inputs", to=[])),
    Attack("outputs-none", "model.outputs: got []", edit(*_GRAPH, "outputs", to=[])),
    Attack("precisions-none", "precisions: got {}", edit(*_GRAPH, "precisions", to={})),
    Attack("tolerance-negative", "at least 0", edit(*_GRAPH, "precisions", "fp32", "tolerance", "rtol", to=-1)),
    Attack("tolerance-text", "expected number", edit(*_GRAPH, "precisions", "fp32", "tolerance", "rtol", to="1")),
    Attack("rtols-none", "1 to 4096 keys", edit(*_RTOLS, to={})),
    Attack("rtols-negative", "expected at least 0", edit(*_RTOLS, "y", to=-1e-3)),
    Attack("rtols-text", "expected number", edit(*_RTOLS, "y", to="1e-3")),
    Attack("rtols-output", '"x" is no output', edit(*_RTOLS, "x", to=1e-3)),
    Attack("sweep-dim", '"width" is no dim', edit(*_SWEEP, "dims", 0, to="width")),
    Attack("sweep-complete", '"width" is no dim', edit(*_SWEEP, "complete", to=["width"])),
    Attack("sweep-dim-twice", "one dim occurs twice", edit(*_SWEEP, "dims", to=["batch", "batch"])),
    Attack("sweep-ragged", "got 2 sizes, expected one for each of 1 dims", edit(*_SWEEP, "sizes", 0, to=[1, 2])),
    Attack("sweep-size", "is 5, expected 1..4", edit(*_SWEEP, "sizes", 0, 0, to=5)),
    Attack("sweep-error", "expected number", edit(*_SWEEP, "worst_relative_error", to="none")),
    Attack("power-case", '"other" is no golden case', edit(*_POWER, "cases", 0, "case", to="other")),
    Attack("power-usual", "expected usual <= noticed <= mutants", edit(*_POWER, "usual", to=59)),
    Attack("power-noticed", "expected usual <= noticed <= mutants", edit(*_POWER, "noticed", to=61)),
    Attack("power-count", "expected integer", edit(*_POWER, "mutants", to="60")),
    Attack("power-key", "unknown key", edit(*_POWER, "caught", to=1)),
    Attack("golden-types", "one of", edit(*_GRAPH, "golden", 0, "types", to=["fp12"])),
    Attack("golden-types-none", "1 to 16 items", edit(*_GRAPH, "golden", 0, "types", to=[])),
    Attack("fills-list", "expected object", edit(*_FILLS, to=[[-1, -1]])),
    Attack("fills-none", "1 to 4096 keys", edit(*_FILLS, to={})),
    Attack("fills-of-nothing", "1 to 16 items", edit(*_FILLS, "y", to=[])),
    Attack("fills-huge", "1 to 16 items", edit(*_FILLS, "y", to=[[-1, -1]] * 10_000)),
    Attack("fills-text", "expected number", edit(*_FILLS, "y", 0, 0, to="-1e9")),
    Attack("fills-three-ends", "2 to 2 items", edit(*_FILLS, "y", 0, to=[-3, -2, -1])),
    Attack("fills-low-above-high", "expected low <= high", edit(*_FILLS, "y", 0, to=[-1e9, -2e9])),
    Attack("fills-around-zero", "on one side of 0", edit(*_FILLS, "y", 0, to=[-1e9, 1e9])),
    Attack("fills-zero", "on one side of 0", edit(*_FILLS, "y", 0, to=[0, 0])),
    Attack("fills-output", '"x" is no float output', edit(*_FILLS, "x", to=[[-1, -1]])),
    Attack("fills-nan", "NaN", replace("70000.0", "NaN")),
    Attack("max-fill-negative", "at least 0", edit(*_GRAPH, "stages", 0, "checks", 0, "max_fill", to=-1)),
    Attack("type-unknown", "expected one of", edit(*_HALF, "type", to="fp8")),
    Attack("target-unknown", "expected one of", edit(*_HALF, "target", to="shell")),
    Attack("half-io-text", "expected boolean", edit(*_HALF, "half_io", to="yes")),
    Attack("kept-short", '"reason" is missing', drop(*_HALF, "kept", 0, "reason")),
    Attack("kept-escape", "without control characters", edit(*_HALF, "kept", 0, "node", to="a\x1b[2J")),
    Attack("attention-short", '"softmax" is missing', drop(*_HALF, "attention", 0, "softmax")),
    Attack("attention-mask", "expected one of", edit(*_HALF, "attention", 0, "mask", to="sparse")),
    Attack("attention-heads", "at least 0", edit(*_HALF, "attention", 0, "heads", to=-1)),
    Attack("attention-key", 'unknown key "hook"', edit(*_HALF, "attention", 0, "hook", to=1)),
    Attack("agreement-2", "at most 1", edit(*_GRAPH, "stages", 0, "checks", 0, "argmax_agreement", to=2)),
    # tensors and dims
    Attack("dtype-object", "expected one of", edit(*_X, "dtype", to="object")),
    Attack("tensor-twice", '"x" occurs twice', lambda b: _repeat(b, (*_GRAPH, "inputs"))),
    Attack("tensor-escape", "without control characters", edit(*_X, "name", to="x\x1b]0;")),
    Attack("low-above-high", "expected low < high", lambda b: (edit(*_X, "low", to=5)(b), edit(*_X, "high", to=5)(b))),
    Attack("values-kind", "expected one of", edit(*_X, "values", to={"kind": "cauchy"})),
    Attack("values-low", "expected low < high", edit(*_X, "values", to={"kind": "uniform", "low": 1, "high": 1})),
    Attack("values-short", "expected low and high", edit(*_X, "values", to={"kind": "uniform", "low": 1})),
    Attack("values-both", "expected low and high", edit(*_X, "values", to={"kind": "uniform"} | _NORMAL)),
    Attack(
        "values-one-end",
        "expected mean and std",
        edit(*_X, "values", to={"kind": "normal", "mean": 0, "std": 1, "low": 0}),
    ),
    Attack("values-std", "at least 0", edit(*_X, "values", to={"kind": "normal"} | _NORMAL | {"std": -1})),
    Attack("values-text", "expected number", edit(*_X, "values", to={"kind": "normal"} | _NORMAL | {"mean": "0"})),
    Attack("values-null", "expected number", edit(*_X, "values", to={"kind": "normal"} | _NORMAL | {"low": None})),
    Attack("values-true", "expected number", edit(*_X, "values", to={"kind": "normal"} | _NORMAL | {"high": True})),
    Attack("values-nan", "no JSON number", edit(*_X, "values", to={"kind": "normal"} | _NORMAL | {"mean": math.nan})),
    Attack(
        "values-infinite", "no JSON number", edit(*_X, "values", to={"kind": "normal"} | _NORMAL | {"std": math.inf})
    ),
    Attack("values-key", "unknown key", edit(*_X, "values", to={"kind": "normal", "hook": 1} | _NORMAL)),
    Attack("values-words", "expected object", edit(*_X, "values", to="uniform(0,1)")),
    Attack(
        "values-integer",
        "expected a float dtype",
        lambda b: (edit(*_X, "values", to={"kind": "normal"} | _NORMAL)(b), edit(*_X, "dtype", to="int64")(b)),
    ),
    Attack("dim-huge", "at most 2147483647", edit(*_BATCH, "max", to=2**31)),
    Attack("dim-63-bit", "at most 2147483647", edit(*_BATCH, "max", to=2**63 - 1)),
    Attack("dim-negative", "at least 0", edit(*_BATCH, "min", to=-1)),
    Attack("dim-half", "expected integer", edit(*_BATCH, "opt", to=1.5)),
    Attack("dim-true", "expected integer", edit(*_BATCH, "min", to=True)),
    Attack("dim-min-above-opt", "expected min <= opt <= max", edit(*_BATCH, "min", to=3)),
    Attack("dim-opt-above-max", "expected min <= opt <= max", edit(*_BATCH, "opt", to=5)),
    Attack("dim-nameless-range", "without a name", edit(*_BATCH, "name", to=None)),
    Attack("dim-two-ranges", "in another tensor", edit(*_BATCH, "max", to=8)),
    Attack("rank-17", "0 to 16 items", edit(*_X, "dims", to=[dim(None, 1, 1, 1)] * 17)),
    # files
    Attack("file-unlisted", "is not listed in files", drop("files", "model.onnx")),
    Attack("file-self", "can't list itself", edit("files", "manifest.json", to={"sha256": "0" * 64, "size": 1})),
    Attack("file-engine", "never listed", edit("files", "engines/a.plan", to={"sha256": "0" * 64, "size": 1})),
    Attack("file-case", "differ by case", edit("files", "MODEL.onnx", to={"sha256": "0" * 64, "size": 1})),
    Attack("file-missing", "model.onnx is missing", lambda b: (b / "model.onnx").unlink()),
    Attack("file-link", "link out of the bundle", link("model.onnx", "")),
    Attack("file-link-folder", "link out of the bundle", link("golden", "")),
    Attack("file-link-loop", "links", link("model.onnx", "model.onnx")),
    Attack("file-endless", "link out of the bundle", link("model.onnx", "/dev/zero")),
    Attack("file-pipe", "not a regular file", fifo("model.onnx")),
    Attack("file-folder", "not a regular file", folder("model.onnx")),
    Attack("file-grown", "bytes, manifest says", lambda b: _void((b / "model.onnx").open("ab").write(b"\0"))),
    Attack("file-changed", "sha256 of model.onnx is", flip("model.onnx")),
    Attack("weights-changed", "sha256 of model.ext.onnx.data is", flip("model.ext.onnx.data")),
    Attack("golden-changed", f"sha256 of {_GOLDEN_OUT} is", flip(_GOLDEN_OUT)),
    Attack("size-negative", "at least 0", edit("files", "model.onnx", "size", to=-1)),
    Attack("size-absurd", "at most 9007199254740991", edit("files", "model.onnx", "size", to=2**60)),
    Attack("size-wrong", "manifest says 9007199254740991", edit("files", "model.onnx", "size", to=2**53 - 1)),
    Attack("hash-short", "64 to 64 characters", edit("files", "model.onnx", "sha256", to="ab")),
    Attack("hash-upper", "hexadecimal", edit("files", "model.onnx", "sha256", to="A" * 64)),
    # graphs that a hash can't vouch for
    Attack("onnx-cut", "model.onnx is truncated", truncate("model.onnx", 300)),
    Attack("onnx-empty", "model.onnx is empty", truncate("model.onnx", 0)),
    Attack("onnx-words", "no ONNX file", content("model.onnx", "this is no ONNX file, it is text\n" * 20)),
    Attack("onnx-data-up", "outside its own folder", external("../../x")),
    Attack("onnx-data-secret", "outside its own folder", external(f"../{OUTSIDE}/secret.json")),
    Attack("onnx-data-absolute", "outside its own folder", external("/etc/passwd")),
    Attack("onnx-data-nul", "no file can be called", external("a\0b")),
    Attack("onnx-data-long", "no file can be called", external("x" * 5000)),
    Attack("onnx-data-dot", "is not a regular file", external(".")),
    Attack("onnx-data-unlisted", "does not list as its data", external("model.onnx")),
    Attack("onnx-data-missing", "is not there", external("nowhere.data")),
    Attack("onnx-operator", "", graph_edit(lambda m: setattr(m.graph.node[0], "op_type", "Gemmm")), "engine"),
    Attack("onnx-loose-end", "", graph_edit(lambda m: m.graph.node[0].input.append("nowhere")), "engine"),
    Attack("onnx-no-graph", "", graph_edit(lambda m: m.ClearField("graph")), "engine"),
    # golden cases
    Attack("sizes-unknown-dim", "is no dim of the graph", edit(*_GRAPH, "golden", 0, "sizes", to={"length": 1})),
    Attack("sizes-range", "expected 1..4", edit(*_GRAPH, "golden", 0, "sizes", to={"batch": 5})),
    Attack("case-twice", "one name", lambda b: _repeat(b, (*_GRAPH, "golden"))),
    Attack("golden-empty", "no safetensors file", content(_GOLDEN_OUT, ""), "golden"),
    Attack("golden-words", "claims a header of", content(_GOLDEN_OUT, "no tensors here"), "golden"),
    Attack("golden-cut", "no safetensors file", truncate(_GOLDEN_OUT, 150), "golden"),
    Attack("golden-header-62-bit", "claims a header of", content(_GOLDEN_OUT, tensors({}, length=2**62)), "golden"),
    Attack("golden-header-5-mib", "claims a header of", content(_GOLDEN_OUT, tensors(b" " * 5 * 2**20)), "golden"),
    Attack("golden-header-list", "no safetensors file", content(_GOLDEN_OUT, tensors(b"[1, 2]")), "golden"),
    Attack("golden-header-deep", "no safetensors file", content(_GOLDEN_OUT, tensors(b'{"y":' * 10**5)), "golden"),
    Attack(
        "golden-past-end",
        "no safetensors file",
        content(_GOLDEN_OUT, tensors({"y": entry([4, 10], 160)}, bytes(80))),
        "golden",
    ),
    Attack(
        "golden-terabyte",
        "no safetensors file",
        content(_GOLDEN_OUT, tensors({"y": entry([2**20, 2**18], 2**40)}, bytes(160))),
        "golden",
    ),
    Attack(
        "golden-overflow",
        "no safetensors file",
        content(_GOLDEN_OUT, tensors({"y": entry([2**40, 2**40], 160)}, bytes(160))),
        "golden",
    ),
    Attack(
        "golden-overlap",
        "no safetensors file",
        content(_GOLDEN_OUT, tensors({"y": entry([4, 10], 160), "z": entry([4, 10], 160)}, bytes(160))),
        "golden",
    ),
    Attack(
        "golden-shape",
        "is float32 [10, 4], expected float32 [4, 10]",
        content(_GOLDEN_OUT, tensors({"y": entry([10, 4], 160)}, bytes(160))),
        "golden",
    ),
    Attack(
        "golden-rank",
        "is float32 [40], expected float32 [4, 10]",
        content(_GOLDEN_OUT, tensors({"y": entry([40], 160)}, bytes(160))),
        "golden",
    ),
    Attack(
        "golden-dtype",
        "is float64 [4, 10], expected float32 [4, 10]",
        content(_GOLDEN_OUT, tensors({"y": entry([4, 10], 320, "F64")}, bytes(320))),
        "golden",
    ),
    Attack(
        "golden-bfloat16",
        "is BF16 [4, 10], expected float32 [4, 10]",
        content(_GOLDEN_OUT, tensors({"y": entry([4, 10], 80, "BF16")}, bytes(80))),
        "golden",
    ),
    Attack("golden-lacks", 'lacks ["y"]', content(_GOLDEN_OUT, tensors({})), "golden"),
    Attack(
        "golden-extra",
        'has unknown ["z"]',
        content(_GOLDEN_OUT, tensors({"y": entry([4, 10], 160), "z": entry([1], 164, begin=160)}, bytes(164))),
        "golden",
    ),
    # assets
    Attack("labels-object", "expected array", content("assets/labels.json", "{}"), "asset"),
    Attack("labels-escape", "control characters", content("assets/labels.json", r'["a\u001b[2J"]'), "asset"),
    Attack("labels-deep", "nested too deeply", content("assets/labels.json", "[" * 10**5), "asset"),
    Attack("labels-cut", "not JSON", truncate("assets/labels.json", 20), "asset"),
    Attack("image-partial", "is missing", content("assets/image.json", '{"input": "x"}'), "asset"),
)


def _repeat(bundle: Path, place: tuple[str | int, ...]) -> None:
    manifest = read_manifest(bundle)
    inner: Any = manifest
    for step in place:
        inner = inner[step]
    inner.append(inner[0])
    write_manifest(bundle, manifest)


def make_hostile_bundles(target: Path) -> Path:
    """Write base.attn (valid), outside/ and NAME.attn for each attack into `target`, replacing what was there."""
    if target.exists():
        if not (target / "base.attn").exists():
            raise SystemExit(f"{target} exists and was not made by this script; choose another folder")
        shutil.rmtree(target)
    (target / OUTSIDE).mkdir(parents=True)
    (target / OUTSIDE / "secret.json").write_text('["not yours"]')
    base = make_valid_bundle(target / "base.attn")
    for attack in ATTACKS:
        bundle = target / f"{attack.name}.attn"
        shutil.copytree(base, bundle)
        attack.make(bundle)
    return target


if __name__ == "__main__":
    made = make_hostile_bundles(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "hostile")
    print(f"{len(ATTACKS)} hostile bundles in {made}")
