"""Exports that only sizes between the corners, unusual values or unusual masks tell apart from right ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export import ExportOptions, export
from attn_export.pipeline.model_export import ExportResult
from attn_runtime.bundle import Bundle
from attn_runtime.errors import ParityError
from attn_runtime.tasks import verify
from onnx import numpy_helper
from support.graphs.spoilt_bundles import failing, spoilt

X = "x:float32[B,T,16]"
DIMS = ["B=1:2:8", "T=3:16:40"]


def exported(name: str, target: Path, inputs: tuple[str, ...] = (X,), sweep: float = 0) -> ExportResult:
    source = f"support.models.rare_nets:{name}"
    return export(source, target, inputs=inputs, dims=DIMS, options=ExportOptions(sweep=sweep))


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return exported("Normed", tmp_path_factory.mktemp("normed") / "a.attn").path


def with_epsilon(model: onnx.ModelProto) -> None:
    (node,) = [n for n in model.graph.node if n.op_type == "LayerNormalization"]
    (epsilon,) = [a for a in node.attribute if a.name == "epsilon"]
    epsilon.f = 1e-6


def with_forced(model: onnx.ModelProto, number: int, value: bool) -> None:
    """One of the choices that a mask makes always the same."""
    model.graph.initializer.append(numpy_helper.from_array(np.array(value), "forced"))
    [n for n in model.graph.node if n.op_type == "Where"][number].input[0] = "forced"


def test_a_branch_on_two_equal_dims_is_found(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r'case "size (\d+)x\1" .*cases that match: \d+ of \d+'):
        exported("Square", tmp_path / "a.attn", sweep=60)
    assert not list(tmp_path.iterdir())


def test_what_was_swept_is_told_and_stored(tmp_path: Path) -> None:
    result = exported("Linear", tmp_path / "a.attn", sweep=60)
    told = Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]["sweep"]
    assert told["dims"] == ["B", "T"] and told["complete"] == ["B", "T"]
    corners = result.export.graph.golden
    assert {s[1] for s in told["sizes"]} | {g.sizes["T"] for g in corners} == set(range(3, 41))
    assert 0 <= told["worst_relative_error"] < 2e-5
    assert result.to_json()["sweep"] == told


def test_zero_seconds_leave_the_sweep_out(tmp_path: Path) -> None:
    exported("Square", tmp_path / "a.attn", sweep=0)
    assert "sweep" not in Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]


def test_tiny_inputs_show_an_epsilon(normed: Path) -> None:
    assert failing(normed) == set()
    assert "tiny" in failing(spoilt(normed, with_epsilon))


def test_an_empty_row_shows_that_its_guard_is_gone(tmp_path: Path) -> None:
    exported("Masked", tmp_path / "a.attn", (X, "keep:bool[B,T]"))
    assert failing(tmp_path / "a.attn") == set()
    choices = sum(n.op_type == "Where" for n in onnx.load(tmp_path / "a.attn/model.onnx").graph.node)
    found = [
        failing(spoilt(tmp_path / "a.attn", partial(with_forced, number=number, value=value)))
        for number in range(choices)
        for value in (True, False)
    ]
    assert {"mask-keep"} in found, "a guard that only a row without anything kept needs"
    assert all(found), "no choice of a mask can be left out unseen"


def test_narrow_types_are_not_held_to_magnitudes(normed: Path) -> None:
    graph = Bundle.open(normed).graph()
    assert {r.name for r in graph.golden_for("fp32")} - {r.name for r in graph.golden_for("fp16")} == {"large", "tiny"}
    assert {c.name for c in graph.cases("fp16")} == {r.name for r in graph.golden_for(None)}


def test_a_branch_on_a_product_is_asked_where_it_is_taken(tmp_path: Path) -> None:
    """No sweep of single dims meets 17 x 23; the guard that torch.export drops says where to look."""
    source = "support.models.rare_nets:Product"
    with pytest.raises(ParityError, match=r'case "size (17x23|23x17)"'):
        export(source, tmp_path / "a.attn", inputs=[X], dims=["B=3:8:60", "T=3:16:60"], options=ExportOptions())
    assert not list(tmp_path.iterdir())


def test_a_number_without_axes_stays_one(tmp_path: Path) -> None:
    exported("Counts", tmp_path / "a.attn")
    assert [output.dims for output in Bundle.open(tmp_path / "a.attn").graph().outputs] == [(), ()]
    for backend in ("ort", "native"):
        assert verify(tmp_path / "a.attn", backend, "cpu").passed
