"""The part of JSON Schema (draft 2020-12) that manifest.schema.json uses, so that reading a bundle needs no library.

A test holds its verdicts against the `jsonschema` package's on thousands of mutated manifests, and another refuses
a keyword in the schema file that is not read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from .strict_json import shown

#: Keywords that decide something, and those that only explain.
KEYWORDS = {
    *["$ref", "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "pattern"],
    *["items", "minItems", "maxItems", "required", "properties", "additionalProperties", "propertyNames"],
    *["minProperties", "maxProperties"],
}
ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}

Schema = Mapping[str, Any]


def _is_integer(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": _is_integer,
    "number": _is_number,
}


def find_problem(value: Any, schema: Schema, root: Schema, at: str = "") -> str | None:
    """The first place where `value` breaks `schema`, as "PLACE: got X, expected Y"; None when it fits.

    `root` is the document that "$ref": "#/$defs/NAME" looks in; `at` is the place of `value` in its own document.
    """
    if "$ref" in schema:
        found = find_problem(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
        if found:
            return found

    def wrong(expected: str) -> str:
        return f"{at or 'top level'}: got {shown(value)}, expected {expected}"

    if "type" in schema:
        wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_TYPES[name](value) for name in wanted):
            return wrong(" or ".join(wanted))
    # True == 1 in Python and not in JSON.
    if "const" in schema and not _equal(value, schema["const"]):
        return wrong(shown(schema["const"]))
    if "enum" in schema and not any(_equal(value, choice) for choice in schema["enum"]):
        return wrong("one of " + ", ".join(map(shown, schema["enum"])))
    if _is_number(value):
        if "minimum" in schema and value < schema["minimum"]:
            return wrong(f"at least {schema['minimum']}")
        if "maximum" in schema and value > schema["maximum"]:
            return wrong(f"at most {schema['maximum']}")
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            return wrong(f"more than {schema['exclusiveMinimum']}")
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return wrong(f"{schema.get('minLength', 0)} to {schema.get('maxLength', 'any number of')} characters")
        if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
            return wrong(schema.get("description", f"a match of {schema['pattern']}"))
    elif isinstance(value, list):
        return _problem_in_array(value, schema, root, at, wrong)
    elif isinstance(value, dict):
        return _problem_in_object(value, schema, root, at, wrong)
    return None


def _problem_in_array(
    value: list[Any], schema: Schema, root: Schema, at: str, wrong: Callable[[str], str]
) -> str | None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return wrong(f"{schema.get('minItems', 0)} to {schema.get('maxItems', 'any number of')} items")
    if "items" in schema:
        for index, item in enumerate(value):
            found = find_problem(item, schema["items"], root, f"{at}[{index}]")
            if found:
                return found
    return None


def _problem_in_object(
    value: dict[str, Any], schema: Schema, root: Schema, at: str, wrong: Callable[[str], str]
) -> str | None:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return wrong(f"{schema.get('minProperties', 0)} to {schema.get('maxProperties', 'any number of')} keys")
    for key in schema.get("required", ()):
        if key not in value:
            return f"{at or 'top level'}: key {shown(key)} is missing"
    known = schema.get("properties", {})
    extra = schema.get("additionalProperties", True)
    for key, item in value.items():
        if "propertyNames" in schema:
            found = find_problem(key, schema["propertyNames"], root, f"{at or 'top level'}, key")
            if found:
                return found
        if key not in known and extra is False:
            return f"{at or 'top level'}: unknown key {shown(key)}, expected {', '.join(known)}"
        rule = known.get(key, extra)
        if isinstance(rule, Mapping):
            found = find_problem(item, rule, root, _inside(at, key))
            if found:
                return found
    return None


def _inside(at: str, key: str) -> str:
    plain = key if re.fullmatch(r"[\w-]{1,64}", key, re.ASCII) else f"[{shown(key)}]"
    return f"{at}{plain}" if plain.startswith("[") or not at else f"{at}.{plain}"


def _equal(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    # JSON Schema's regexes are ECMAScript's, where $ is the very end; Python's also matches before a last newline.
    return re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") and not pattern.endswith(r"\$") else pattern)
