"""Which columns are read and kept, and what is made of their values."""

from __future__ import annotations

import numpy as np
import pytest
from attn_runtime.errors import InputError, UsageError
from attn_runtime.tasks.mapping.rows.columns import (
    Kept,
    Layout,
    Need,
    kept_value,
    read_columns,
    read_kept,
    tensor_of,
    text_of,
)

TEXT = Need("text", "text", ("text", "sentence"))
PAIR = Need("pair", "text", ("pair",), optional=True)
X = Need("x", "tensor", ("x",), dtype="float32", shape=(2, 3))


def test_a_column_is_named_for_what_a_task_needs() -> None:
    assert read_columns(["body"], (TEXT, PAIR)) == {"text": "body"}
    assert read_columns(["text=a=b", "pair=c"], (TEXT, PAIR)) == {"text": "a=b", "pair": "c"}
    assert read_columns(["a=b"], (TEXT,)) == {"text": "a=b"}  # a column may be called so


@pytest.mark.parametrize(
    ("given", "told"), [(["tex=body", "pair=x"], "given twice"), (["pair="], "expected NAME=COLUMN")]
)
def test_columns_that_are_not_understood(given: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_columns([*given, "text=x"], (TEXT, PAIR))
    with pytest.raises(UsageError, match="did you mean left"):
        read_columns(["lefd=x"], (Need("left", "tensor", ("left",)), Need("right", "tensor", ("right",))))


def test_what_is_kept_has_a_name_and_a_type() -> None:
    assert read_kept(["id", "id2:int64", "key=a:b:bool", "c:d", "n=e"], ["error"]) == (
        Kept("id", "id"), Kept("id2", "id2", "int64"), Kept("key", "a:b", "bool"), Kept("c:d", "c:d"), Kept("n", "e"),
    )  # fmt: skip


@pytest.mark.parametrize("given", ["error", "", "x=", "=x"])
def test_a_name_that_is_taken_or_none(given: str) -> None:
    with pytest.raises(UsageError, match="keep"):
        read_kept([given], ["error"])


def test_the_column_that_is_there_is_found() -> None:
    layout = Layout((TEXT, PAIR), {})
    assert layout.found(["id", "sentence"], "f") == {"text": "sentence"}
    assert layout.found(["only"], "f") == {"text": "only"}
    assert layout.found(["pair", "text"], "f") == {"text": "text", "pair": "pair"}
    with pytest.raises(
        UsageError, match=r"f: there is no column text or sentence; it has a, b; .*--column text=COLUMN"
    ):
        layout.found(["a", "b"], "f")
    with pytest.raises(UsageError, match=r"no column texd; did you mean text\?"):
        Layout((TEXT,), {"text": "texd"}).found(["text", "b"], "f")
    with pytest.raises(UsageError, match=r"no column idd to keep; did you mean id\?"):
        Layout((TEXT,), {}, (Kept("idd", "idd"),)).found(["text", "id"], "f")


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "is null"), (5, "is a number"), (["a"], "is a list"), (True, "is true"), ("\ud800", "no UTF-8 text")],
)
def test_what_is_no_text(value: object, told: str) -> None:
    with pytest.raises(InputError, match=f"text.*{told}"):
        text_of(value, "text")


def test_numbers_become_the_tensor_that_is_needed() -> None:
    made = tensor_of([[1, 2, 3], [4, 5, 6]], X)
    assert made.dtype == np.float32 and made.shape == (2, 3)
    np.testing.assert_array_equal(tensor_of([1, 2, 3, 4, 5, 6], X), made)  # as files without nested lists have it
    assert tensor_of(np.zeros(6), Need("x", "tensor", (), dtype="float32", shape=(-1, 2))).shape == (3, 2)
    assert tensor_of(7, Need("x", "tensor", (), dtype="int64", shape=())).shape == ()
    assert tensor_of([], Need("x", "tensor", (), dtype="int64", shape=(-1,))).shape == (0,)


@pytest.mark.parametrize(
    ("value", "need", "told"),
    [
        (None, X, "is null"),
        ([[1, 2], [3]], X, "different lengths"),
        (["a"], X, "expected numbers"),
        ([1.0] * 5, X, r"5 numbers, expected \[2, 3\]"),
        ([[[1.0]]], X, "3 axes, expected 2"),
        ([300], Need("x", "tensor", (), dtype="uint8", shape=(1,)), "beyond uint8"),
        ([0.5], Need("x", "tensor", (), dtype="int64", shape=(1,)), "fractions"),
    ],
)
def test_numbers_that_are_no_such_tensor(value: object, need: Need, told: str) -> None:
    with pytest.raises(InputError, match=told):
        tensor_of(value, need)


@pytest.mark.parametrize(
    ("type_", "value", "made"),
    [
        (None, "a", "a"), (None, 7, "7"), (None, {"a": [1]}, '{"a": [1]}'), (None, None, None), (None, "", ""),
        ("int64", "7", 7), ("int64", 7.0, 7), ("int64", "", None), ("float64", "1e3", 1000.0), ("bool", "True", True),
        ("bool", False, False),
    ],
)  # fmt: skip
def test_a_kept_value_is_of_its_type(type_: str | None, value: object, made: object) -> None:
    assert kept_value(value, Kept("k", "k", type_)) == made


@pytest.mark.parametrize(
    ("type_", "value"), [("int64", "7.5"), ("int64", 2**70), ("int64", "x"), ("float64", "x"), ("bool", "yes")]
)
def test_a_kept_value_of_another_type(type_: str, value: object) -> None:
    with pytest.raises(InputError, match=f"k is .*, expected {type_}"):
        kept_value(value, Kept("k", "k", type_))
