"""A plain ONNX file's inputs: from its own metadata where an export wrote them, else from the graph."""

import json
from pathlib import Path

import onnx
import pytest
from attn_runtime.errors import BundleError
from attn_runtime.onnx_file.graph import METADATA_KEY
from attn_runtime.trt.builder.onnx_source import find_source
from onnx import helper
from support.tensorrt import trt_graphs as graphs


def carrying(file: Path, text: str) -> Path:
    """A graph of one matmul with `text` as its metadata."""
    model = onnx.load(graphs.matmul(file))
    helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, file)
    return file


def test_ranges_that_the_file_carries(tmp_path: Path) -> None:
    dims = [{"name": "batch", "min": 1, "opt": 2, "max": 4}, {"name": None, "min": 64, "opt": 64, "max": 64}]
    spec = {"name": "x", "dtype": "float32", "dims": dims}
    embedded = {"inputs": [spec], "outputs": [{**spec, "name": "y", "dims": [dims[0]]}]}
    source = find_source(carrying(tmp_path / "m.onnx", json.dumps(embedded)), None, None)
    assert [str(one) for one in source.inputs] == ["x: float32[batch=1..4, 64]"] and not source.inputs[0].open


def test_without_metadata_the_ranges_are_open(tmp_path: Path) -> None:
    source = find_source(graphs.matmul(tmp_path / "m.onnx"), None, None)
    assert [one.name for one in source.inputs] == ["x"] and source.inputs[0].open


@pytest.mark.parametrize("text", ["[", "{}", json.dumps({"inputs": [], "outputs": [{}]})])
def test_metadata_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BundleError, match=r"file m\.onnx: m\.onnx: metadata attn_export\.graph"):
        find_source(carrying(tmp_path / "m.onnx", text), None, None)
