"""Our reading of manifest.schema.json is the `jsonschema` package's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attn_runtime
import jsonschema
import pytest
from attn_runtime.bundle.manifest import schema
from attn_runtime.bundle.reader import Bundle
from attn_runtime.files.json_schema import ANNOTATIONS, KEYWORDS, find_problem
from attn_runtime.spec import DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs.manifest_strategies import mutated, texts, values, whole_manifest

REFERENCE = jsonschema.Draft202012Validator(dict(schema()))


def subschemas(node: Any, below: str = "") -> Iterator[dict[str, Any]]:
    """Every schema inside the document: `properties` and `$defs` hold schemas under names that are no keywords."""
    yield node
    for key, value in node.items():
        if key in ("properties", "$defs"):
            for inner in value.values():
                yield from subschemas(inner)
        elif isinstance(value, dict):
            yield from subschemas(value)


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(dict(schema()))


def test_schema_uses_only_what_is_read_here() -> None:
    for node in subschemas(schema()):
        assert node.keys() <= KEYWORDS | ANNOTATIONS, node
        assert re.fullmatch(r"#/\$defs/\w+", node.get("$ref", "#/$defs/x"))
        # A pattern is anchored at both ends, and means the same to ECMAScript, std::regex and Python.
        if "pattern" in node:
            assert node["pattern"].startswith("^") and node["pattern"].endswith("$")
            assert not re.search(r"\\[a-zA-Z](?<!\\u)|\(\?|\$.", node["pattern"])
        for value in [node.get("const"), *node.get("enum", [])]:
            assert not isinstance(value, (dict, list)), "equality is that of scalars"


def test_every_string_and_list_is_bounded() -> None:
    for node in subschemas(schema()):
        kinds = node.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "string" in kinds:
            assert "maxLength" in node, node
        if "array" in kinds:
            assert "maxItems" in node and "items" in node, node
        if "integer" in kinds:
            assert "minimum" in node and "maximum" in node, node
        if "object" in kinds:
            assert "maxProperties" in node or node.get("additionalProperties") is False, node


def test_dtypes_are_those_of_the_specs() -> None:
    assert set(schema()["$defs"]["tensor"]["properties"]["dtype"]["enum"]) == DTYPES


def test_schema_is_package_data() -> None:
    assert (Path(attn_runtime.__file__).parent / "bundle" / "manifest.schema.json").is_file()


def test_whole_manifest_fits(valid_bundle: Path) -> None:
    for manifest in (whole_manifest(), Bundle.open(valid_bundle).manifest):
        assert find_problem(manifest, schema(), schema()) is None
        assert REFERENCE.is_valid(manifest)


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_same_verdict_as_jsonschema(manifest: Any) -> None:
    ours = find_problem(manifest, schema(), schema())
    assert (ours is None) == REFERENCE.is_valid(manifest), ours


ASSET = {"input": "x", "height": 2, "width": 8, "channels": 1, "resize": "bilinear", "scale": 0.5}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["labels", "image"]),
    values
    | st.lists(texts)
    | st.builds(
        lambda key, value: ASSET | {"mean": [0], "std": [1]} | {key: value},
        st.sampled_from([*ASSET, "mean", "std", "extra"]),
        values,
    ),
)
def test_same_verdict_on_assets(name: str, value: Any) -> None:
    definition = schema()["$defs"][name]
    reference = jsonschema.Draft202012Validator({"$defs": schema()["$defs"], **definition})
    assert (find_problem(value, definition, schema()) is None) == reference.is_valid(value)


@pytest.mark.parametrize("place", ["name", "task", "created"])
def test_last_newline_is_refused(place: str) -> None:
    manifest = whole_manifest()
    manifest[place] = {"created": "2026-01-31T12:00:00Z"}.get(place, "a")
    assert find_problem(manifest, schema(), schema()) is None
    manifest[place] += "\n"
    assert find_problem(manifest, schema(), schema()) is not None


def test_every_keyword_refuses_something() -> None:
    """The mutations reach each keyword: here is one value for each that fits but for that keyword."""
    cases: list[tuple[dict[str, Any], Any, Any]] = [
        ({"$ref": "#/$defs/size"}, 0, -1),
        ({"type": ["null", "string"]}, None, 1),
        ({"type": "integer"}, 1.0, True),
        ({"type": "number"}, 1.5, True),
        ({"enum": ["a", 1]}, "a", True),
        ({"const": 1}, 1.0, True),
        ({"minimum": 1}, 1, 0.5),
        ({"maximum": 1}, 1, 1.5),
        ({"exclusiveMinimum": 1}, 1.5, 1),
        ({"minLength": 1}, "a", ""),
        ({"maxLength": 1}, "\U0001f600", "ab"),
        ({"pattern": "^[0-9]*$"}, "1", "1\n"),
        ({"items": {"type": "null"}}, [None], [None, 1]),
        ({"minItems": 1}, [0], []),
        ({"maxItems": 1}, [0], [0, 0]),
        ({"required": ["a"]}, {"a": 1}, {"b": 1}),
        ({"properties": {"a": {"type": "null"}}}, {"b": 1}, {"a": 1}),
        ({"additionalProperties": False, "properties": {"a": {}}}, {"a": 1}, {"b": 1}),
        ({"additionalProperties": {"type": "null"}}, {"a": None}, {"a": 1}),
        ({"propertyNames": {"maxLength": 1}}, {"a": 1}, {"ab": 1}),
        ({"minProperties": 1}, {"a": 1}, {}),
        ({"maxProperties": 1}, {"a": 1}, {"a": 1, "b": 1}),
    ]
    assert {keyword for rule, _, _ in cases for keyword in rule} == KEYWORDS
    for rule, good, bad in cases:
        assert find_problem(good, rule, schema()) is None, (rule, good)
        assert find_problem(bad, rule, schema()) is not None, (rule, bad)
