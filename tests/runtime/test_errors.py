"""Errors as data: a message taken apart, and all of it as JSON."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from attn_runtime import errors
from attn_runtime.errors import AttnError, InputError, ParityError, parts
from support.checks.import_graph import PACKAGES, ROOT


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("bundle a.attn: a.attn does not exist; check the path",
         ("bundle a.attn: a.attn does not exist", None, "check the path")),
        ("image: more than 9 pixels. Make it smaller.", ("image: more than 9 pixels", None, "Make it smaller")),
        ("--mutate 0: expected 1 mutant or more", ("--mutate 0", "1 mutant or more", None)),
        ("x: got float64 [2], expected float32 [batch, 3] (bundle a.attn); export the file again",
         ("x: got float64 [2]", "float32 [batch, 3] (bundle a.attn)", "export the file again")),
        ("options: got dict; expected GenerateOptions. Call it with one.",
         ("options: got dict", "GenerateOptions", "Call it with one")),
        ("can't write a: no room; what was there is unchanged; free some space",
         ("can't write a: no room; what was there is unchanged", None, "free some space")),
        ('unknown device "gpu"; did you mean cuda? available: auto, cpu',
         ('unknown device "gpu"', None, "did you mean cuda? available: auto, cpu")),
        ('unknown model "lmm"; did you mean lm? built in: lm, vit. Your own: a .pt2 file.',
         ('unknown model "lmm"', None, "did you mean lm? built in: lm, vit. Your own: a .pt2 file")),
        # What is no advice is not called so: remarks, the words of a library, what stands in quotes and brackets.
        ("the build was cancelled; nothing was written", ("the build was cancelled; nothing was written", None, None)),
        ("ort failed: Non-zero status. Name:'n' Status", ("ort failed: Non-zero status. Name:'n' Status", None, None)),
        ('file "a; take b": none (x; give y)', ('file "a; take b": none (x; give y)', None, None)),
        ("interrupted", ("interrupted", None, None)),
    ],
)  # fmt: skip
def test_a_message_has_three_parts(message: str, expected: tuple[str, str | None, str | None]) -> None:
    assert parts(message) == expected


def test_an_error_as_json() -> None:
    assert InputError("x: got\n1, expected 2; give 2").to_json() == {
        "code": 7, "kind": "InputError", "message": "x: got 1, expected 2; give 2",
        "found": "x: got 1", "expected": "2", "do": "give 2", "details": None,
    }  # fmt: skip
    assert ParityError("off", "a\ntable").to_json()["details"] == "a\ntable"


def test_nearly_all_messages_of_the_house_are_understood() -> None:
    """Those of two clauses and more, as they are written in the source; the rest end in a remark."""
    messages = [m for m in _messages() if "; " in m or re.search(r"\. [A-Z]", m)]
    understood = [m for m in messages if parts(m)[1:] != (None, None)]
    assert len(messages) > 300 and len(understood) > 0.7 * len(messages)


def _messages() -> Iterator[str]:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, AttnError)}
    for package, folder in PACKAGES.items():
        for file in (ROOT / folder / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in kinds
                    and node.args
                ):
                    yield _written(node.args[0])


def _written(node: ast.expr) -> str:
    """Text with "did you mean it? " where the nearest name is told, and X for any other value."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_written, node.values))
    return "did you mean it? " if "did_you_mean" in ast.unparse(node) else "X"
