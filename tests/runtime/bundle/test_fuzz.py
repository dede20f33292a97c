"""Whatever the bytes, a reader answers with a value or a BundleError of one line, and soon."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.bundle.manifest import check_manifest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.tensor_files import read_tensors, write_tensors
from attn_runtime.errors import BundleError
from attn_runtime.files.strict_json import parse_json
from attn_runtime.onnx_file.external_data import check_external_data
from attn_runtime.spec import Dim, TensorSpec
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.graphs.make_hostile_bundles import gemm_model
from support.graphs.manifest_strategies import mutated, values, whole_manifest

#: The tests overwrite one file again and again, which is what hypothesis warns of.
on_one_file = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answer(read: Callable[[], Any]) -> Any:
    """What `read` returns; None for a BundleError of one line. Anything else fails, and so does taking long."""
    began = time.process_time()  # not the clock: other tests run beside this one
    value = None
    try:
        value = read()
    except BundleError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 2000, message
        event("refused")
    else:
        event("read")
    assert time.process_time() - began < 2.0, "seconds for a few kilobytes"
    return value


MANIFEST = json.dumps({"schema_version": 1} | whole_manifest()).encode()
TOKENS = [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b'"\\ud800"', b"\\u0000", b"[" * 5000, b'{"a":' * 5000]
TOKENS += [b"\xff", b"\xef\xbb\xbf", b"\0", b"{", b"}", b'"', b",", b":", b"-", b"true", b'"files":{}', b"1.0", b"-0"]


@st.composite
def spoiled(draw: st.DrawFn, data: bytes, tokens: list[bytes]) -> bytes:
    """`data` with one to four of its slices removed, repeated, overwritten or added to, and perhaps cut short."""
    spoilt = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(spoilt)))
        end = min(len(spoilt), begin + draw(st.integers(0, 16)))
        spoilt[begin:end] = draw(
            st.sampled_from([b"", bytes(spoilt[begin:end]) * 2, *tokens]) | st.binary(max_size=end - begin)
        )
    return bytes(spoilt[: draw(st.sampled_from([len(spoilt), len(spoilt), len(spoilt) // 2]))])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | spoiled(MANIFEST, TOKENS))
def test_json(data: bytes) -> None:
    value = answer(lambda: parse_json(data, "bundle a.attn: manifest.json"))
    if value is not None:
        # What is accepted here, any other reader of JSON reads as the same.
        assert json.loads(json.dumps(value, allow_nan=False)) == value == json.loads(data)


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_manifest(manifest: Any) -> None:
    def read() -> Bundle:
        check_manifest(manifest, "bundle a.attn")
        return Bundle(Path("a.attn"), manifest)

    bundle = answer(read)
    if bundle is not None:
        for graph in bundle.graphs.values():
            for spec in (*graph.inputs, *graph.outputs):
                assert all(0 <= dim.min <= dim.opt <= dim.max < 2**31 for dim in spec.dims)


@settings(on_one_file, max_examples=200)
@given(st.binary(max_size=100) | spoiled(MANIFEST, TOKENS) | mutated().map(lambda value: json.dumps(value).encode()))
def test_bundle_with_any_manifest(valid_bundle: Path, data: bytes) -> None:
    (valid_bundle / "manifest.json").write_bytes(data)
    answer(lambda: Bundle.open(valid_bundle))


SPECS = (
    TensorSpec("x", "float32", (Dim("batch", 1, 2, 4), Dim.fixed(3))),
    TensorSpec("mask", "bool", (Dim("batch", 1, 2, 4),)),
    TensorSpec("scale", "float16", ()),
)


@pytest.fixture(scope="module")
def tensor_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tensors") / "good.safetensors"
    write_tensors(
        path,
        {
            "x": np.arange(6, dtype=np.float32).reshape(2, 3),
            "mask": np.array([True, False]),
            "scale": np.array(0.5, np.float16),
        },
    )
    return path.read_bytes()


def read_back(path: Path, data: bytes) -> dict[str, Any] | None:
    path.write_bytes(data)
    found = answer(lambda: read_tensors(path, SPECS, {"batch": 2}, "bundle a.attn"))
    if found is not None:
        assert [(value.dtype, value.shape) for value in found.values()] == [
            ("float32", (2, 3)),
            ("bool", (2,)),
            ("float16", ()),
        ]
    return found


def test_unspoiled_tensors_are_read(tensor_file: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(tensor_file)
    found = read_tensors(tmp_path / "t.safetensors", SPECS, {"batch": 2}, "bundle a.attn")
    assert list(found) == ["x", "mask", "scale"] and found["x"][1, 2] == 5


@pytest.mark.parametrize("byte", [2, 128, 255])
def test_a_bool_that_is_neither_true_nor_false_is_refused(tensor_file: bytes, tmp_path: Path, byte: int) -> None:
    """numpy and ONNX Runtime each take such a byte for what they like."""
    path = tmp_path / "t.safetensors"
    start = 8 + int.from_bytes(tensor_file[:8], "little")
    begin, end = json.loads(tensor_file[8:start])["mask"]["data_offsets"]
    assert tensor_file[start + begin : start + end] == b"\1\0"
    path.write_bytes(tensor_file[: start + begin + 1] + bytes([byte]) + tensor_file[start + end :])
    with pytest.raises(BundleError, match=rf'tensor "mask" is bool and holds a byte {byte}, expected 0 and 1 alone'):
        read_tensors(path, SPECS, {"batch": 2}, "bundle a.attn")


@settings(on_one_file, max_examples=500)
@given(data=st.data())
def test_tensors(data: st.DataObject, tensor_file: bytes, tmp_path: Path) -> None:
    tokens = [
        b"F64",
        b"BF16",
        b"I64",
        b"BOOL",
        b"18446744073709551615",
        b"-1",
        b"[]",
        b"[" * 300,
        b"\xff",
        b"__metadata__",
    ]
    kind = data.draw(st.sampled_from(["bytes", "spoiled", "header", "length"]))
    if kind == "bytes":
        spoilt = data.draw(st.binary(max_size=200))
    elif kind == "spoiled":
        spoilt = data.draw(spoiled(tensor_file, tokens))
    elif kind == "length":
        spoilt = struct.pack("<Q", data.draw(st.integers(0, 2**64 - 1))) + tensor_file[8:]
    else:
        # A header in the right form with any values in it, and the length that fits it.
        number = st.integers(-1, 40) | st.sampled_from([2**31, 2**40, 2**63, 2**64 - 1])
        entry = st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "F16", "BOOL", "I64", "U64", "BF16", "F8_E4M3", "F4", "C64", "", "X"]),
                "shape": st.lists(number, max_size=4),
                "data_offsets": st.lists(number, min_size=2, max_size=2),
            }
        )
        names = st.sampled_from([spec.name for spec in SPECS]) | st.text(max_size=3)
        header = json.dumps(data.draw(st.dictionaries(names, entry | values, max_size=4))).encode()
        spoilt = struct.pack("<Q", len(header)) + header + bytes(data.draw(st.integers(0, 64)))
    read_back(tmp_path / "t.safetensors", spoilt)


@settings(on_one_file, max_examples=300)
@given(data=st.data())
def test_graph_file(data: st.DataObject, tmp_path: Path) -> None:
    model = gemm_model(2, 2)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "model.onnx.data")
    (tmp_path / "model.onnx.data").write_bytes(bytes(16))
    (tmp_path / "model.onnx").write_bytes(
        data.draw(spoiled(model.SerializeToString(), [b"\xff" * 11, b"\0", b"../", b"\x2a" * 300]))
    )
    answer(lambda: check_external_data(tmp_path / "model.onnx", "bundle a.attn"))
