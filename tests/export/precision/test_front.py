"""Error against size and speed: measured of a real graph, in a table, in a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from attn_export.parity import ReferenceSet
from attn_export.precision.front import FrontPoint, front_table, measure_front, plot_front
from attn_export.precision.half import TypedGraph
from attn_export.precision.quantisation import Quantisation, file_bytes
from attn_export.precision.quantised import Point, Search
from attn_runtime.bundle import Case, write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import OutputError, UsageError
from support.quantised.products import drawn, model, node, ran, rounded

POINTS = (
    FrontPoint("int8", 0, 0.0123, 0.9876, 1_250_000, 12.345),
    FrontPoint("int8", 2, 0.0045, None, 2_000_000, 15.0, chosen=True),
    FrontPoint("fp32", 9, 0.0, None, 5_100_000, 20.0),
)


@pytest.fixture
def quantised(tmp_path: Path) -> Iterator[tuple[Quantisation, TypedGraph]]:
    """Three products of which the second is left; the first can't be quantised at all."""
    nodes = [node("MatMul", ["x", "a"], "p"), node("MatMul", ["p", "b"], "q"), node("MatMul", ["q", "c"], "y")]
    weights = {name: drawn(64, 64, seed=n) / 8 for n, name in enumerate("abc")}
    made = rounded(model(nodes, {"x": ["B", 64]}, ["y"], weights), "int8-weights", tmp_path)
    inputs, outputs, x = tmp_path / "in.safetensors", tmp_path / "out.safetensors", drawn(4, 64, seed=9)
    write_tensors(inputs, {"x": x})
    write_tensors(outputs, ran(made.source, x=x))
    record = ReferenceSet((Case("one", {"B": 4}, inputs, outputs),), "PyTorch")
    chosen, others = (
        Point(("node q",), 0.5, 0.77, None),
        (Point((), 2.0, 0.05, None), Point(("node q", "node y"), 0.1, 0.01, None)),
    )
    with ChildProcess(120) as isolated:
        one = Quantisation(
            "g", made.source, made.scheme, record, Tolerance(rtol=5e-2), isolated, tmp_path, every=tuple(made.sites),
            places=dict.fromkeys([site.node for site in made.sites], ""), sites=tuple(made.sites[1:]),
            found=Search({"node q": 0.9, "node y": 0.2}, chosen, others),
            unfit={"node p": "for a reason"}, left={"node p": "for a reason", "node q": "error alone 0.9 of the limit"},
        )  # fmt: skip
        made.file.rename(one.weights_file)
        yield one, one.write()


def test_every_point_is_written_timed_and_taken_away(
    quantised: tuple[Quantisation, TypedGraph], tmp_path: Path
) -> None:
    one, written = quantised
    points = measure_front(one, written)
    assert [(p.precision, p.left, p.chosen) for p in points] == [
        ("int8-weights", 0, False), ("int8-weights", 1, True), ("int8-weights", 2, False), ("fp32", 2, False)
    ]  # fmt: skip
    assert [p.error for p in points] == [0.05, written.worst, 0.01, 0.0], "of the chosen, what its file answered"
    sizes = [p.bytes for p in points]
    assert sizes == sorted(sizes) and sizes[1] == file_bytes(written.path) and sizes[3] == file_bytes(one.source)
    assert sizes[0] > 64 * 64 * 4, "the first product is left in all of them"
    assert all(p.milliseconds > 0 for p in points)
    assert not [*tmp_path.glob("front*")]
    json.dumps([p.to_json() for p in points], allow_nan=False)


def test_there_is_no_front_without_a_search(quantised: tuple[Quantisation, TypedGraph]) -> None:
    one, written = quantised
    assert measure_front(replace(one, found=None), written) == ()
    assert one.found is not None
    assert measure_front(replace(one, found=replace(one.found, chosen=None)), written) == ()


def test_a_graph_with_its_data_file_counts_both(tmp_path: Path) -> None:
    made = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", 64]}, ["y"], {"w": drawn(64, 64)})
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="data", size_threshold=0)
    assert file_bytes(tmp_path / "m.onnx") == (tmp_path / "m.onnx").stat().st_size + 4 * 64 * 64


def test_the_table_has_a_row_a_point_with_the_chosen_marked() -> None:
    head, *rows = front_table(POINTS).splitlines()
    assert head.split() == ["precision", "left", "in", "fp32", "error", "agreement", "MB", "ms", "a", "call"]
    assert [row.split() for row in rows] == [
        ["int8", "0", "1.2e-02", "98.8%", "1.2", "12.35"], [">", "int8", "2", "4.5e-03", "2.0", "15.00"],
        ["fp32", "5.1", "20.00"],
    ]  # fmt: skip


def drawn_front(typed: TypedGraph, *points: FrontPoint) -> TypedGraph:
    return replace(typed, front=tuple(p.to_json() for p in points))


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_picture_is_written_in_the_format_of_its_suffix(
    suffix: str, quantised: tuple[Quantisation, TypedGraph], tmp_path: Path
) -> None:
    typed = drawn_front(quantised[1], *POINTS)
    nothing, other = drawn_front(typed), replace(drawn_front(typed, *POINTS), graph="step <b>")
    file = tmp_path / f"front.{suffix}"
    plot_front([typed, nothing, other], file)
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert file.read_bytes().startswith(begins)
    if suffix == "svg":
        text = file.read_text()
        assert "<!-- 12.3 ms -->" in text and "<!-- 15 ms, chosen -->" in text and "<!-- fp32, 20 ms -->" in text
        assert "int8-weights -->" in text and "<b>" not in text.replace("<!--", "")


def test_the_picture_tells_errors_apart(quantised: tuple[Quantisation, TypedGraph], tmp_path: Path) -> None:
    pictures = []
    for number, error in enumerate((0.02, 0.02, 0.03)):
        file = tmp_path / f"{number}.png"
        plot_front([drawn_front(quantised[1], replace(POINTS[0], error=error), *POINTS[1:])], file)
        pictures.append(file.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_an_error_of_nothing_is_drawn_too(quantised: tuple[Quantisation, TypedGraph], tmp_path: Path) -> None:
    typed = drawn_front(quantised[1], replace(POINTS[1], error=0.0), POINTS[2])
    plot_front([typed], tmp_path / "front.png")
    assert (tmp_path / "front.png").stat().st_size > 1000


def test_a_picture_that_cannot_be_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"got suffix xyz, expected one of .*png"):
        plot_front([], tmp_path / "front.xyz")
    with pytest.raises(OutputError):
        plot_front([], tmp_path / "no" / "front.png")
    assert not [*tmp_path.iterdir()]
