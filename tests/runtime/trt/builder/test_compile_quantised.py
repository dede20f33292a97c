"""Precisions that are quantised, from the bundle to the engine: what they are called is not their type."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import EngineError, PrecisionError, UsageError
from attn_runtime.trt import library
from attn_runtime.trt.builder import compile as compiling
from attn_runtime.trt.builder.compile import compile_engine
from attn_runtime.trt.engine_files import find_engine
from attn_runtime.trt.engine_key import read_key
from attn_runtime.trt.library import Library
from attn_runtime.trt.machine import this_machine
from attn_runtime.trt.profiles import Profile, ShapeTexts
from support.graphs.make_hostile_bundles import read_manifest, rehash, write_manifest
from support.tensorrt import quantised_graphs as graphs
from support.tensorrt import trt_graphs
from support.tensorrt.quantised_graphs import FP8, INT4, INT8

pytestmark = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))
BATCHES = ShapeTexts(("x:1x64",), ("x:2x64",), ("x:4x64",))
GPUS = ("8.0", "8.6", "8.9", "12.0", "12.1")
Make = Callable[..., Path]


@pytest.fixture
def bundle(valid_bundle: Path) -> Make:
    """The bundle with a precision `name` of type fp16, and one made of it for TensorRT, whose weights have their scales along
    `axis`."""

    def make(name: str = "int8", dtype: int = INT8, axis: int = 1) -> Path:
        manifest = read_manifest(valid_bundle)
        precisions = manifest["graphs"]["model"]["precisions"]
        half = {key: value for key, value in precisions["half"].items() if key not in ("attention", "kept", "target")}
        precisions["half"].pop("target")  # so that another of its type is there, as fp16 is beside int8
        for made, target in ((name, {}), (f"{name}-trt", {"target": "tensorrt"})):
            graph, file = graphs.Graph(), f"model.{made}.onnx"
            w = graph.channels("w", (16, 10), dtype, axis if target else 1)
            product = graph.add("MatMul", [graph.activations("x", dtype), w], "product")
            graph.save(valid_bundle / file, product, "batch", 16)
            precisions[made] = {**half, **target, "file": file}
            manifest["files"][file] = {**manifest["files"]["model.half.onnx"]}
        write_manifest(valid_bundle, manifest)
        rehash(valid_bundle)
        return valid_bundle

    return make


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attn_runtime.cli.app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_file_for_tensorrt_is_built_and_found_by_its_precision(bundle: Make) -> None:
    path = bundle()
    done = compile_engine(path, precision="int8")
    assert done.path == path / "engines" / "model.int8-trt.rtx.engine"
    assert (done.key.precision, done.key.type) == ("int8-trt", "fp16")
    assert done.audit.counts == {"int8": 1} and done.notes == () and done.key.compute_capabilities == GPUS
    assert find_engine(Bundle.open(path), "model", "int8", this_machine()).path == done.path
    assert read_key(done.path.with_name(f"{done.path.name}.json")) == done.key


def test_the_command_line_says_what_is_multiplied_in_int8(bundle: Make) -> None:
    done = run("compile", bundle(), "--precision", "int8")
    assert done.returncode == 0, done.stderr
    assert "1 matmul/conv in int8, 0 in float16" in done.stdout and "int8-trt" in done.stdout


def test_what_is_not_is_exit_code_5_and_nothing_is_written(bundle: Make) -> None:
    path = bundle(axis=0)
    before = sorted(path.rglob("*"))
    done = run("compile", path, "--precision", "int8")
    assert done.returncode == 5, done.stderr
    assert "the graph quantises 1 product to int8 that the engine multiplies otherwise: product runs in" in done.stderr
    assert sorted(path.rglob("*")) == before
    compile_engine(path, precision="int8", exact=True).audit.require()  # the other file's are right
    with pytest.raises(PrecisionError):
        compile_engine(path, precision="int8")


def test_a_plain_file_is_counted_and_not_judged(tmp_path: Path) -> None:
    file = graphs.linear(tmp_path / "m.onnx", weight_axis=0)
    done = compile_engine(file, profiles=BATCHES)
    assert done.key.type == "fp16" and [layer.asked for layer in done.audit.offenders] == ["int8"]
    with pytest.raises(PrecisionError):
        compile_engine(file, precision="fp16", profiles=BATCHES)
    written = json.loads((tmp_path / "m.fp16.rtx.engine.json").read_text())["audit"]["offenders"]
    assert [(one["asked"], one["why"]) for one in written] == [
        ("int8", "its weights have other scales than one for each output")
    ]
    assert read_key(tmp_path / "m.fp16.rtx.engine.json").audit == done.audit


def test_a_portable_engine_leaves_out_what_lacks_the_type(bundle: Make) -> None:
    """Its key would else promise that it runs on an 8.0."""
    done = compile_engine(bundle("fp8", FP8), precision="fp8")
    assert done.key.compute_capabilities == GPUS[2:] and done.path.name == "model.fp8-trt.rtx.engine"
    assert done.notes == ("fp8 needs compute capability 8.9 or later: the engine is for 8.9, 12.0, 12.1",)


def test_a_gpu_that_lacks_the_type_is_named_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = graphs.linear(tmp_path / "m.onnx", FP8)
    told = "fp8 needs compute capability 8.9 or later; 8.6 lacks it"
    with pytest.raises(UsageError, match=f"^file m.onnx: {told}; leave it out with --compute-capability 8.9$"):
        compile_engine(file, profiles=BATCHES, capabilities=["8.6", "8.9"])
    four = graphs.of_weights(tmp_path / "four.onnx", INT4, block=32)
    with pytest.raises(UsageError, match="int4 needs compute capability 8.0 or later; 7.5 lacks it; compile another"):
        compile_engine(four, profiles=BATCHES, capabilities=["7.5"])
    # The other library builds for the GPU that is here.
    monkeypatch.setattr(compiling, "compute_capability", lambda: "8.6")
    monkeypatch.setattr(compiling, "choose", lambda *_: Library("tensorrt", "11.4.1", None))
    with pytest.raises(EngineError, match=f"{told}; compile another precision"):
        compile_engine(file, profiles=BATCHES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["four.onnx", "m.onnx"]


def test_weights_that_are_widened_are_told(tmp_path: Path) -> None:
    done = compile_engine(graphs.of_weights(tmp_path / "m.onnx", block=32), profiles=BATCHES)
    assert done.audit.widened == ("product",) and len(done.notes) == 1
    assert done.notes[0].startswith("1 product widens its quantised weights before each use")
    assert read_key(tmp_path / "m.fp16.rtx.engine.json").audit == done.audit


def rows(*counts: tuple[int, int, int]) -> list[Profile]:
    return [{"x": ((low, 64), (usual, 64), (high, 64))} for low, usual, high in counts]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([(1, 1, 1), (1, 2, 4)], True),
        ([(1, 1, 1), (8, 8, 8)], True),
        ([(1, 1, 1)], False),
        ([(1, 1, 1), (1, 1, 1)], False),
        ([(1, 1, 2), (1, 2, 4)], False),
        ([(1, 2, 4), (8, 8, 8)], False),
    ],
)
def test_a_profile_of_one_row_beside_another_holds_the_weights_twice(
    counts: list[tuple[int, int, int]], told: bool, tmp_path: Path
) -> None:
    """Seen by size: 4 MiB of weights."""
    graph = graphs.Graph(graphs.FLOAT)
    graph.weights.append(trt_graphs.weight("w", 64, 16384))
    file = graph.save(tmp_path / "m.onnx", graph.add("MatMul", ["x", "w"], "product"), "batch", 64)
    done = compile_engine(file, profiles=rows(*counts))
    assert (done.key.engine_size > 7 * 2**20) == told
    assert [note.startswith('input "x" has exactly one row in a profile') for note in done.notes] == [True] * told
