"""What a command prints with --json: one document, as answer.schema.json describes it, and nothing that it does not name."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import attn_runtime
from jsonschema import Draft202012Validator

SCHEMA: dict[str, Any] = json.loads((Path(attn_runtime.__file__).parent / "cli" / "answer.schema.json").read_text())


def described() -> dict[tuple[str, str], dict[str, Any]]:
    """(program, command) -> the schema of its result."""
    found = {}
    for rule in SCHEMA["allOf"]:
        told = rule["if"]["properties"]
        (reference,) = [each["$ref"] for each in rule["then"]["properties"]["result"]["anyOf"] if "$ref" in each]
        found[told["tool"]["const"], told["command"]["const"]] = SCHEMA["$defs"][reference.rpartition("/")[2]]
    return found


def answer_of(text: str) -> dict[str, Any]:
    """The document that was printed. AssertionError where it is not what the schema says."""
    document: dict[str, Any] = json.loads(text)
    problems = [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(document)]
    assert not problems, problems
    result = document["result"]
    if isinstance(result, dict):
        schema = described()[document["tool"], document["command"]]
        named = {key for each in schema.get("anyOf", [schema]) for key in each.get("properties", {})}
        assert set(result) <= named, f"answer.schema.json does not name {set(result) - named}"
    return document


def result_of(text: str) -> Any:
    """The result of a command that ended well."""
    answer = answer_of(text)
    assert answer["ok"] and answer["error"] is None, answer["error"]
    return answer["result"]


@cache
def _validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator(SCHEMA)
