"""What TensorRT misreads, in other operators: the same numbers in ONNX Runtime, and a network that says the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from attn_export.onnx_graph import load
from attn_export.passes.tensorrt import PASS, misread, rewrite
from attn_runtime.compare import Tolerance, compare
from attn_runtime.trt import library
from attn_runtime.trt.builder import network
from onnx import TensorProto
from support.tensorrt import misread_graphs as graphs

rtx = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))
RNG = np.random.default_rng(5)


def answers(path: Path, inputs: dict[str, Any]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]  # type: ignore[no-any-return]


def rewritten(path: Path) -> Path:
    model = load(path)
    done = rewrite(model)
    assert done.changed and not done.notes
    target = path.with_name("rewritten.onnx")
    ir.save(model, target)
    onnx.checker.check_model(target, full_check=True)
    assert not misread(target)
    return target


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def rows(count: int, columns: int, depth: int = 0, negative: bool = False) -> dict[str, Any]:
    places = RNG.integers(-3 if negative else 0, 3, (count, depth) if depth else count)
    return {"x": RNG.standard_normal((count, columns)).astype("f"), "index": places}


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[int], dict[str, Any]]]] = {
    "one group": (graphs.one_group, lambda n: {"x": RNG.standard_normal((2, 6, n, 5)).astype("f")}),
    "one group, opset 20": (lambda p: graphs.one_group(p, 20), lambda n: {"x": RNG.standard_normal((1, 6, n, 5)).astype("f")}),
    "sum": (graphs.scattered, lambda n: rows(n, 4, negative=True)),
    "maximum": (lambda p: graphs.scattered(p, "max"), lambda n: rows(n, 4)),
    "minimum": (lambda p: graphs.scattered(p, "min"), lambda n: rows(n, 4)),
    "product": (lambda p: graphs.scattered(p, "mul"), lambda n: rows(n, 4)),
    "columns apart": (lambda p: graphs.scattered(p, by_row=False), lambda n: rows(n, 4)),
    "rows": (graphs.scattered_rows, lambda n: rows(n, 4, 1, negative=True)),
    "rows of a grid": (lambda p: graphs.scattered_rows(p, depth=2), lambda n: rows(n, 4, 2, negative=True)),
    "maximum of a grid": (lambda p: graphs.scattered_rows(p, "max", 2), lambda n: rows(n, 4, 2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_stay(kind: str, tmp_path: Path) -> None:
    make, draw = KINDS[kind]
    source = make(tmp_path / "m.onnx")
    assert misread(source)
    target = rewritten(source)
    assert not {"GroupNormalization", "ScatterElements", "ScatterND"} & set(operators(target))
    for size in (1, 2, 9, 40):
        inputs = draw(size)
        assert compare("y", answers(source, inputs), answers(target, inputs), Tolerance()).passed


def test_integers_are_counted_exactly(tmp_path: Path) -> None:
    source = graphs.scattered_rows(tmp_path / "m.onnx", depth=2, dtype=TensorProto.INT64)
    target = rewritten(source)
    inputs = {"x": np.full((9, 4), 2**40 + 1), "index": RNG.integers(0, 3, (9, 2))}
    assert (answers(source, inputs) == answers(target, inputs)).all() and "MatMul" not in operators(target)


def test_a_maximum_of_minus_infinity_stays(tmp_path: Path) -> None:
    source = graphs.scattered(tmp_path / "m.onnx", "max", start=-np.inf)
    inputs = {"x": np.full((3, 4), -np.inf, "f"), "index": np.arange(3)}
    assert (answers(source, inputs) == answers(rewritten(source), inputs)).all()


def test_what_would_be_too_large_is_left_and_told(tmp_path: Path) -> None:
    model = load(graphs.scattered(tmp_path / "m.onnx", places=100_000))
    done = rewrite(model)
    assert not done.changed and "node_y (ScatterElements) is left as it is: with 100000 places" in done.notes[0]


def test_other_nodes_are_left(tmp_path: Path) -> None:
    for file in (graphs.one_group(tmp_path / "g.onnx", groups=2), graphs.scattered(tmp_path / "s.onnx", "none")):
        assert not misread(file) and rewrite(load(file)).changed == ()
    assert PASS.requires(type("Info", (), {"opset": 17})())  # type: ignore[arg-type]


def norms(path: Path) -> list[tuple[int, int]]:
    """Axes and groups of each normalization that TensorRT reads in the file."""
    trt = library.load("rtx").api
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    made = builder.create_network(0)
    assert trt.OnnxParser(made, logger).parse_from_file(str(path))
    layers = [made.get_layer(n) for n in range(made.num_layers)]
    found = [layer for layer in layers if layer.type == trt.LayerType.NORMALIZATION]
    for layer in found:
        layer.__class__ = trt.INormalizationLayer
    return [(layer.axes, layer.num_groups) for layer in found]


@rtx
def test_tensorrt_reads_one_group_as_each_channel_by_itself_and_the_other_form_as_it_is(tmp_path: Path) -> None:
    source = graphs.one_group(tmp_path / "m.onnx")
    assert norms(source) == [(0b1100, 1)]  # over H and W: InstanceNormalization
    assert norms(rewritten(source)) == [(0b100, 1)]  # over all of the one long channel


@rtx
@pytest.mark.parametrize("kind", ["one group", "sum", "maximum", "rows of a grid"])
def test_tensorrt_builds_it(kind: str, tmp_path: Path) -> None:
    make, draw = KINDS[kind]
    source = make(tmp_path / "m.onnx")
    profile = {name: tuple([array.shape] * 3) for name, array in draw(9).items()}
    if "group" not in kind:
        assert network.build(library.load("rtx"), source, [profile]).problems
    assert network.build(library.load("rtx"), rewritten(source), [profile]).plan is not None
