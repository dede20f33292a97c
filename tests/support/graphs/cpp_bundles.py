"""The bundles that the C++ tests open, and what the Python runtime answers on them.

    PYTHONPATH=tests python -m support.graphs.cpp_bundles FOLDER

Small, and made without PyTorch. Each NAME.attn has answers/NAME.GRAPH.PRECISION.CASE.safetensors beside it, where Python can
run it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.reader import Bundle, to_fp16
from attn_runtime.bundle.tensor_files import write_tensors
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.session import open_session
from onnx import TensorProto, helper

from support.graphs.half_graphs import half_norm, half_norm_answer, half_transpose
from support.graphs.make_graphs import embed, floats, integers, nonzero, off_by, rewrite_answers, save
from support.graphs.make_hostile_bundles import dim, make_valid_bundle, valid_manifest
from support.graphs.next_export import next_export
from support.models import small_classifiers
from support.models.tiny_generators import Tiny, case_of, drawn_prompts, write_bundle
from support.models.tiny_texts import text_assets

Arrays = Mapping[str, np.ndarray]


def make_bundles(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    make_valid_bundle(folder / "gemm.attn")
    rewrite_answers(make_valid_bundle(folder / "wrong.attn"), "opt", off_by(0.5))
    write_bundle(folder / "tiny.attn", Tiny())
    (folder / "next").mkdir()  # what takes the place of these two while they are open
    next_export(folder / "gemm.attn", folder / "next/gemm.attn")
    write_bundle(folder / "next/tiny.attn", Tiny(seed=1))
    speaker = Tiny(layers=1, max_length=24, seed=2)
    write_bundle(
        folder / "speaker.attn", speaker, [case_of(speaker, drawn_prompts(speaker, [4, 2]), 20)], **text_assets(speaker)
    )
    bundle(
        folder / "nonzero.attn",
        nonzero,
        {"x": np.array([0, 3, 0, 5], np.float32)},
        lambda x: {"i": np.array(np.nonzero(x))},
        "N",
        "n",
    )
    bundle(
        folder / "embed.attn", embed, {"tokens": np.array([[1, 2, 29]])}, lambda tokens: {"e": rows(tokens)}, "BT", "BT"
    )
    sides = {"a": np.array([1.5, -2], np.float32), "flag": np.array(True), "many": np.array([], np.int64)}
    bundle(folder / "sides.attn", several, sides, several_answer, "BM", "BM")
    bundle(folder / "other_graph.attn", several, {"a": sides["a"]}, lambda a: {"double": a * 2}, "B", "B")
    bundle(
        folder / "half_norm.attn", half_norm, {"x": np.full((1, 8), 0.06, np.float16)}, half_norm_answer, "B", "B", 0.02
    )
    bundle(folder / "half_transpose.attn", half_transpose, {"x": np.ones((2, 3, 4), np.float16)},
           lambda x: {"y": np.full((3, 2, 5), 4, np.float16)}, "", "")  # fmt: skip
    classifiers(folder)
    answers = folder / "answers"
    answers.mkdir()
    for path in sorted(folder.glob("*.attn")):
        if path.name != "other_graph.attn":
            write_answers(path, answers)
    (folder / "complete").touch()


def classifiers(folder: Path) -> None:
    """What the example programs are tried on."""
    small_classifiers.pictures(folder / "pictures.attn")
    (folder / "red.ppm").write_bytes(b"P6 2 1 255\n" + bytes([200, 10, 20, 220, 5, 5]))
    small_classifiers.recordings(folder / "recordings.attn")
    write_wav(folder / "tone.wav", np.sin(np.arange(1200, dtype=np.float32) / 8), 8000)


def bundle(
    path: Path,
    make: Callable[[Path], object],
    feed: Arrays,
    answer: Callable[..., Arrays],
    dims_in: str,
    dims_out: str,
    rtol: float = 2e-5,
    data: Sequence[str] = (),
) -> None:
    """A bundle with one golden case, called `one`. Axes without a size of their own in the graph take names from `dims_*`; `data`
    are files that `make` writes beside the graph."""
    expected = answer(**feed)
    kind = "fp16" if any(array.dtype == np.float16 for array in feed.values()) else "fp32"
    manifest: dict[str, Any] = valid_manifest()
    model = manifest["graphs"]["model"]
    with BundleWriter(path) as writer:
        file = writer.path("model.onnx")
        make(file)
        graph = onnx.load(file).graph
        sizes: dict[str, int] = {}

        def specs(values: Any, arrays: Arrays) -> list[dict[str, Any]]:
            found = []
            for value in values:
                if value.name not in arrays:
                    continue
                dims = []
                for axis, size in zip(value.type.tensor_type.shape.dim, arrays[value.name].shape, strict=True):
                    if axis.dim_param:
                        sizes.setdefault(axis.dim_param, size)
                        dims.append(dim(axis.dim_param, 0, size, 64))
                    else:
                        dims.append(dim(None, size, size, size))
                found.append({"name": value.name, "dtype": arrays[value.name].dtype.name, "dims": dims})
            return found

        model["inputs"], model["outputs"] = specs(graph.input, feed), specs(graph.output, expected)
        model["precisions"] = {
            "fp32": {"file": "model.onnx", "data": [*data], "tolerance": {"atol": 1e-6, "rtol": rtol}, "type": kind}
        }
        named = {d["name"] for spec in model["inputs"] for d in spec["dims"]}
        golden = model["golden"][0] | {"case": "one", "sizes": {k: v for k, v in sizes.items() if k in named}}
        golden |= {"checked_sizes": golden["sizes"]}
        model["golden"] = [golden]
        writer.add_tensors(golden["inputs"], dict(feed))
        writer.add_tensors(golden["outputs"], dict(expected))
        manifest["assets"] = {}
        writer.commit(manifest)


def rows(tokens: np.ndarray) -> np.ndarray:
    return np.repeat(tokens[..., None].astype(np.float32), 4, -1)


def several(file: Path) -> None:
    """double[B] = 2 a[B]; negated[] = not flag[]; copied[M] = many[M]: dtypes, a scalar, a tensor without elements."""
    nodes = [
        helper.make_node("Add", ["a", "a"], ["double"]),
        helper.make_node("Not", ["flag"], ["negated"]),
        helper.make_node("Identity", ["many"], ["copied"]),
    ]
    flag, negated = (helper.make_tensor_value_info(name, TensorProto.BOOL, ()) for name in ("flag", "negated"))
    save(
        file,
        nodes,
        [floats("a", "B"), flag, integers("many", "M")],
        [floats("double", "B"), negated, integers("copied", "M")],
    )


def several_answer(a: np.ndarray, flag: np.ndarray, many: np.ndarray) -> Arrays:
    return {"double": a * 2, "negated": ~flag, "copied": many}


def write_answers(path: Path, folder: Path) -> None:
    """What Python's runtime answers to every golden case, in every precision."""
    found = Bundle.open(path)
    for graph in found.graphs.values():
        for precision, entry in graph.precisions.items():
            with open_session(found, "cpu", "ort", graph=graph.name, precision=precision, threads=1) as session:
                for case in graph.cases():
                    answers = session.run(to_fp16(case.inputs) if entry.half_io else case.inputs)
                    write_tensors(folder / f"{path.stem}.{graph.name}.{precision}.{case.name}.safetensors", answers)


if __name__ == "__main__":
    make_bundles(Path(sys.argv[1]))
