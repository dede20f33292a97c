"""The exporter's table of operators is read once, and PyTorch's own function is there again afterwards."""

from __future__ import annotations

from attn_export.capture.operator_table import kept_table
from torch.onnx._internal.exporter import _registration


def test_it_is_read_once_and_put_back() -> None:
    library = _registration.onnxscript_apis
    own = library.get_torchlib_ops
    tables = []
    for _ in range(2):
        with kept_table():
            tables.append(library.get_torchlib_ops())
            registry = _registration.ONNXRegistry.from_torchlib()
    assert tables[0] is tables[1] and len(tables[0]) > 300
    assert library.get_torchlib_ops is own
    assert registry.functions.keys() == _registration.ONNXRegistry.from_torchlib().functions.keys()
