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
    found = _find(value, schema, root)
    if found is None:
        return None
    text, steps = found
    for step in reversed(steps):
        if step is None:
            at = f"{at or 'top level'}, key"
        elif isinstance(step, int):
            at = f"{at}[{step}]"
        else:
            at = _inside(at, step)
    return f"{at or 'top level'}: {text}"


#: What is wrong, and the way to it from within: an index, a key, or None for a key itself. Written out where there is a problem
#: alone, since most values have none.
_Problem = tuple[str, list[int | str | None]]


def _find(value: Any, schema: Schema, root: Schema) -> _Problem | None:
    if "$ref" in schema:
        found = _find(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
        if found:
            return found
    if "type" in schema:
        wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_TYPES[name](value) for name in wanted):
            return _wrong(value, " or ".join(wanted))
    # True == 1 in Python and not in JSON.
    if "const" in schema and not _equal(value, schema["const"]):
        return _wrong(value, shown(schema["const"]))
    if "enum" in schema and not any(_equal(value, choice) for choice in schema["enum"]):
        return _wrong(value, "one of " + ", ".join(map(shown, schema["enum"])))
    if _is_number(value):
        if "minimum" in schema and value < schema["minimum"]:
            return _wrong(value, f"at least {schema['minimum']}")
        if "maximum" in schema and value > schema["maximum"]:
            return _wrong(value, f"at most {schema['maximum']}")
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            return _wrong(value, f"more than {schema['exclusiveMinimum']}")
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return _wrong(
                value, f"{schema.get('minLength', 0)} to {schema.get('maxLength', 'any number of')} characters"
            )
        if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
            return _wrong(value, schema.get("description", f"a match of {schema['pattern']}"))
    elif isinstance(value, list):
        return _problem_in_array(value, schema, root)
    elif isinstance(value, dict):
        return _problem_in_object(value, schema, root)
    return None


def _wrong(value: Any, expected: str) -> _Problem:
    return f"got {shown(value)}, expected {expected}", []


def _problem_in_array(value: list[Any], schema: Schema, root: Schema) -> _Problem | None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return _wrong(value, f"{schema.get('minItems', 0)} to {schema.get('maxItems', 'any number of')} items")
    if "items" in schema:
        for index, item in enumerate(value):
            if found := _find(item, schema["items"], root):
                found[1].append(index)
                return found
    return None


def _problem_in_object(value: dict[str, Any], schema: Schema, root: Schema) -> _Problem | None:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return _wrong(value, f"{schema.get('minProperties', 0)} to {schema.get('maxProperties', 'any number of')} keys")
    for key in schema.get("required", ()):
        if key not in value:
            return f"key {shown(key)} is missing", []
    known = schema.get("properties", {})
    extra = schema.get("additionalProperties", True)
    for key, item in value.items():
        if "propertyNames" in schema and (found := _find(key, schema["propertyNames"], root)):
            found[1].append(None)
            return found
        if key not in known and extra is False:
            return f"unknown key {shown(key)}, expected {', '.join(known)}", []
        rule = known.get(key, extra)
        if isinstance(rule, Mapping) and (found := _find(item, rule, root)):
            found[1].append(key)
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
