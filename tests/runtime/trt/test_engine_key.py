"""The key of an engine: its schema, what it is compared by, and key files from anywhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from attn_runtime.bundle.attention_block import AttentionBlock
from attn_runtime.errors import EngineError
from attn_runtime.files.json_schema import ANNOTATIONS, KEYWORDS
from attn_runtime.trt.engine_key import EngineKey, Wanted, mismatch_text, mismatches, model_digest, read_key, schema
from attn_runtime.trt.fused_attention import BlockFusion
from attn_runtime.trt.machine import Machine
from attn_runtime.trt.precision_audit import Audit, AuditedLayer

BLOCK = AttentionBlock(
    "enc.attn", "s", "softmax", "v", "MatMul", "float16", 4, None, 64, 64, "T", "64", "none"
)  # fmt: skip
KEY = EngineKey(
    model="net", file="model.fp16.onnx", model_sha256="a" * 64, graph="model", precision="fp16", type="fp16",
    profiles=({"x": ((1, 3), (2, 3), (4, 3)), "n": ((), (), ())},),
    flavour="rtx", version="1.7.1.116", compute_capabilities=("8.6", "8.9"), os="linux-x86_64",
    engine_sha256="b" * 64, engine_size=5, scratch=None, workspace=2**31, level=3, tf32=False,
    audit=Audit("fp16", 3, {"float16": 2}, "", (AuditedLayer("l", "gemm", "float32", ("norm",)),)),
    attention=(BlockFusion(BLOCK, False, "", "why", "cure"),), seconds=1.5, created="2026-01-31T12:00:00+00:00",
    builder="attn-runtime 0.1.0",
)  # fmt: skip
MACHINE = Machine({"rtx": "1.7.1.116"}, "8.9", "linux-x86_64")
WANTED = Wanted("a" * 64, "model", "fp16", "fp16", MACHINE)


def fields_that_differ(key: EngineKey = KEY, wanted: Wanted = WANTED, **machine: Any) -> list[str]:
    wanted = dataclasses.replace(wanted, machine=dataclasses.replace(MACHINE, **machine))
    return [field for field, _, _ in mismatches(key, wanted)]


def test_a_key_reads_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "k.engine.json").write_bytes(KEY.to_bytes())
    assert read_key(tmp_path / "k.engine.json") == KEY


def test_the_schema_is_one_and_uses_what_is_read_here() -> None:
    jsonschema.Draft202012Validator.check_schema(dict(schema()))
    jsonschema.Draft202012Validator(dict(schema())).validate(KEY.to_json())

    def walk(node: dict[str, Any]) -> None:
        assert node.keys() <= KEYWORDS | ANNOTATIONS, node
        kinds = node.get("type", [])
        if "string" in kinds:
            assert "maxLength" in node or "enum" in node, node
        if "array" in kinds:
            assert "maxItems" in node, node
        for key, value in node.items():
            if key in ("properties", "$defs"):
                for inner in value.values():
                    walk(inner)
            elif isinstance(value, dict):
                walk(value)

    walk(dict(schema()))


def test_what_fits() -> None:
    assert fields_that_differ() == []
    assert fields_that_differ(compute_capability=None) == []  # no GPU here: nothing to compare with


@pytest.mark.parametrize(
    ("machine", "field"),
    [
        ({"flavours": {"rtx": "1.8.0.1"}}, "version"),
        ({"flavours": {"tensorrt": "1.7.1.116"}}, "flavour"),
        ({"flavours": {}}, "flavour"),
        ({"compute_capability": "12.0"}, "compute capability"),
        ({"os": "win32-amd64"}, "os"),
        ({"os": "linux-aarch64"}, "os"),
    ],
)
def test_another_machine(machine: dict[str, Any], field: str) -> None:
    assert fields_that_differ(**machine) == [field]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_sha256": "c" * 64}, "model_sha256"),
        ({"graph": "decoder"}, "graph"),
        ({"graph": None}, "graph"),
        ({"precision": "fp16-trt"}, "precision"),
        ({"type": "bf16"}, "type"),
    ],
)
def test_another_model(change: dict[str, Any], field: str) -> None:
    assert fields_that_differ(wanted=dataclasses.replace(WANTED, **change)) == [field]


def test_the_text_tells_wanted_and_found() -> None:
    machine = Machine({"rtx": "1.8"}, "12.0", "linux-x86_64")
    found = mismatches(KEY, Wanted("c" * 64, "model", "fp16", "fp16", machine))
    assert mismatch_text(found) == (
        "model_sha256 (wanted cccccccccccc, found aaaaaaaaaaaa); version (wanted rtx 1.8, found rtx 1.7.1.116); "
        "compute capability (wanted 12.0, found 8.6, 8.9)"
    )


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["engine_sha256"], "x"), (["engine_size"], -1), (["engine_size"], True), (["flavour"], "onnxruntime"),
        (["version"], "1\n2"), (["os"], "x" * 300), (["compute_capabilities"], []), (["compute_capabilities"], ["8"]),
        (["profiles"], []), (["profiles", 0, "x", "min"], [-1]), (["graph"], "../x"), (["audit"], {}),
        (["attention", 0, "fused"], "yes"), (["attention", 0, "block", "heads"], "four"), (["schema_version"], 2),
        (["schema_version"], "1"), (["extra"], 1), (["seconds"], None), (["model"], "\u001b[31m"),
    ],
)  # fmt: skip
def test_a_key_with_a_wrong_field_is_refused_in_one_line(place: list[Any], value: Any, tmp_path: Path) -> None:
    told = KEY.to_json()
    inner = told
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    (tmp_path / "k.engine.json").write_text(json.dumps(told))
    with pytest.raises(EngineError, match="build the engine again") as caught:
        read_key(tmp_path / "k.engine.json")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value) and "k.engine.json" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema_version": 1, "schema_version": 1}', '{"a": NaN}', "[" * 100_000]
)
def test_a_key_that_is_no_key(text: str, tmp_path: Path) -> None:
    (tmp_path / "k.engine.json").write_text(text)
    with pytest.raises(EngineError, match="build the engine again"):
        read_key(tmp_path / "k.engine.json")


def test_a_missing_key(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is missing; build the engine again"):
        read_key(tmp_path / "k.engine.json")


def test_what_a_reader_would_refuse_is_not_written() -> None:
    with pytest.raises(EngineError, match="can't be written: os"):
        dataclasses.replace(KEY, os="").to_bytes()


def test_a_model_with_data_files_is_known_by_all_of_them() -> None:
    one, file = {"m.onnx": "1" * 64}, Path("m.onnx")
    assert model_digest(file, one) == "1" * 64
    two = model_digest(file, {**one, "m.data": "2" * 64})
    assert two == model_digest(file, {"m.data": "2" * 64, **one}) != model_digest(file, one)
    assert two != model_digest(file, {**one, "m.data": "3" * 64})


@pytest.mark.parametrize("shapes", [([1], [1, 2], [4, 2]), ([2, 2], [1, 2], [4, 2]), ([1, 2], [4, 2], [2, 2])])
def test_a_profile_that_is_none_is_refused(shapes: tuple[list[int], ...], tmp_path: Path) -> None:
    told = KEY.to_json()
    told["profiles"] = [{"x": dict(zip(("min", "opt", "max"), shapes, strict=True))}]
    (tmp_path / "x.engine.json").write_text(json.dumps(told))
    with pytest.raises(EngineError, match="shapes of one rank, min <= opt <= max; build the engine again"):
        read_key(tmp_path / "x.engine.json")
