"""Weakly typed builds: which bits and flags each TensorRT gets, what is held in float32, and what the audit lets pass."""

from __future__ import annotations

from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attn_runtime.errors import EngineError, PrecisionError, UsageError
from attn_runtime.trt.builder.compile import _check_typing
from attn_runtime.trt.builder.network import _choose_types, _network_flags
from attn_runtime.trt.layers import Layer, LayerTensor
from attn_runtime.trt.library import Library
from attn_runtime.trt.precision_audit import audit
from attn_runtime.trt.profiles import GraphInput

BITS = {
    "8.6.2": {"EXPLICIT_BATCH": 0},
    "10.3.0": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
    "11.4.1": {"STRONGLY_TYPED": 0},
}


def library(version: str) -> Library:
    flags = IntEnum("NetworkDefinitionCreationFlag", BITS[version])
    return Library("tensorrt", version, SimpleNamespace(NetworkDefinitionCreationFlag=flags))


@pytest.mark.parametrize(
    ("version", "weak", "bits"),
    [("8.6.2", False, 0b1), ("8.6.2", True, 0b1), ("10.3.0", False, 0b10), ("10.3.0", True, 0), ("11.4.1", False, 0b1)],
)
def test_network_bits(version: str, weak: bool, bits: int) -> None:
    assert _network_flags(library(version), weak) == bits


class Layer_:
    num_outputs = 2

    def __init__(self, name: str, dtypes: list[Any]) -> None:
        self.name, self.metadata = name, f"[ONNX Layer: {name}]"
        self.precision: Any = None
        self.types: dict[int, Any] = {}
        self._outputs = [SimpleNamespace(dtype=dtype) for dtype in dtypes]

    def get_output(self, number: int) -> Any:
        return self._outputs[number]

    def set_output_type(self, number: int, dtype: Any) -> None:
        self.types[number] = dtype


def test_nodes_that_must_stay_are_held_in_float32() -> None:
    dtype = Enum("DataType", ["FLOAT", "HALF", "INT32"])
    trt = SimpleNamespace(
        BuilderFlag=Enum("BuilderFlag", ["FP16", "OBEY_PRECISION_CONSTRAINTS"]), float32=dtype.FLOAT, float16=dtype.HALF
    )
    layers = [Layer_("kept", [dtype.FLOAT, dtype.INT32]), Layer_("free", [dtype.HALF, dtype.HALF])]
    network = SimpleNamespace(num_layers=2, get_layer=lambda number: layers[number])
    on: list[Any] = []
    _choose_types(trt, network, SimpleNamespace(set_flag=on.append), ["kept"])
    assert on == [trt.BuilderFlag.FP16, trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS]
    assert layers[0].precision is dtype.FLOAT and layers[0].types == {0: dtype.FLOAT}  # indices stay integers
    assert layers[1].precision is None and not layers[1].types


def layer(node: str, dtype: str) -> Layer:
    tensor = (LayerTensor("t", (4, 16), dtype),)
    return Layer(node, "gemm", "", tensor, tensor, (node,))


def test_the_library_may_choose_float32_but_not_for_all() -> None:
    products = {"a": "float16", "b": "float16"}
    mixed = [layer("a", "float16"), layer("b", "float32")]
    with pytest.raises(PrecisionError):
        audit(mixed, products, "fp16").require()
    found = audit(mixed, products, "fp16", weak=True)
    found.require()
    assert found.counts == {"float16": 1, "float32": 1}
    with pytest.raises(PrecisionError, match="2 in float32"):
        audit([layer("a", "float32"), layer("b", "float32")], products, "fp16", weak=True).require()
    with pytest.raises(PrecisionError, match="kept in float32 on purpose run in float16"):
        audit(mixed, {**products, "a": "float32"}, "fp16", ["a"], weak=True).require()


def source(type: str, dtype: str = "float32", quantised: bool = False) -> Any:
    nodes = [SimpleNamespace(op_type="DequantizeLinear")] if quantised else []
    inputs = (GraphInput("tokens", dtype, None),)
    return SimpleNamespace(type=type, where="bundle b.attn", inputs=inputs, onnx=SimpleNamespace(nodes=nodes))


@pytest.mark.parametrize(
    ("version", "type", "dtype", "weak", "error", "told"),
    [
        ("8.6.2", "fp16", "float32", False, EngineError, "no strongly typed networks"),
        ("8.6.2", "bf16", "float32", False, EngineError, "no strongly typed networks"),
        ("8.6.2", "fp32", "int64", False, EngineError, 'input "tokens" is int64'),
        ("8.6.2", "fp16", "int64", True, EngineError, 'input "tokens" is int64'),
        ("10.3.0", "fp32", "float32", True, UsageError, "is for an fp16 graph"),
        ("10.3.0", "bf16", "float32", True, UsageError, "is for an fp16 graph"),
        ("11.4.1", "fp16", "float32", True, UsageError, "has the types of its graph"),
        ("8.6.2", "fp32", "float32", False, None, ""),
        ("8.6.2", "fp16", "float32", True, None, ""),
        ("10.3.0", "fp16", "int64", False, None, ""),
        ("10.3.0", "fp16", "int64", True, None, ""),
    ],
)
def test_what_can_be_promised(
    version: str, type: str, dtype: str, weak: bool, error: Any, told: str, tmp_path: Path
) -> None:
    if error is None:
        _check_typing(source(type, dtype), library(version), weak)
        return
    with pytest.raises(error, match=told):
        _check_typing(source(type, dtype), library(version), weak)


@pytest.mark.parametrize(
    ("version", "type", "weak", "error", "told"),
    [
        ("8.6.2", "fp32", False, EngineError, "a quantised graph needs strong types, which TensorRT 8.6.2 has not"),
        ("8.6.2", "fp16", True, UsageError, "--weakly-typed: bundle b.attn is quantised"),
        ("10.3.0", "fp16", True, UsageError, "--weakly-typed: bundle b.attn is quantised"),
        ("10.3.0", "fp16", False, None, ""),
    ],
)
def test_what_is_quantised_is_typed_by_its_graph(version: str, type: str, weak: bool, error: Any, told: str) -> None:
    if error is None:
        _check_typing(source(type, quantised=True), library(version), weak)
        return
    with pytest.raises(error, match=told):
        _check_typing(source(type, quantised=True), library(version), weak)
