"""Where a graph says that its tensors lie."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from attn_runtime.errors import BundleError
from attn_runtime.onnx_file.external_data import check_external_data, external_ranges
from onnx import TensorProto, helper


def graph(path: Path, *tensors: list[tuple[str, str]]) -> Path:
    """A file whose initializers have these keys and values of external data."""
    made = []
    for number, entries in enumerate(tensors):
        tensor = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[2])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries:
            tensor.external_data.add(key=key, value=value)
        made.append(tensor)
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], made)), path)
    for name in ("a.data", "b.data"):
        (path.parent / name).write_bytes(bytes(100))
    return path


def test_bounds_are_told_and_the_rest_of_a_file_without_them(tmp_path: Path) -> None:
    whole = [("location", "b.data"), ("offset", "60")]
    part = [("location", "a.data"), ("offset", "8"), ("length", "16")]
    path = graph(tmp_path / "m.onnx", part, part, [("location", "a.data"), ("length", "8")], whole)
    assert external_ranges(path, "m") == {("a.data", 8, 24), ("a.data", 0, 8), ("b.data", 60, 100)}


def test_every_location_is_checked_also_of_a_key_that_occurs_twice(tmp_path: Path) -> None:
    twice = [("location", "a.data"), ("location", "b.data"), ("length", "8")]
    path = graph(tmp_path / "m.onnx", twice)
    assert [file.name for file in check_external_data(path, "m")] == ["a.data", "b.data"]
    (tmp_path / "b.data").unlink()
    with pytest.raises(BundleError, match=r'"b\.data", which is not there'):
        check_external_data(path, "m")


@pytest.mark.parametrize("value", ["", "x", "1.5", "9" * 5000])
def test_a_bound_that_is_no_number_is_told(tmp_path: Path, value: str) -> None:
    path = graph(tmp_path / "m.onnx", [("location", "a.data"), ("length", value)])
    with pytest.raises(BundleError, match="m: m.onnx is truncated or no ONNX file"):
        external_ranges(path, "m")
