"""What a public call was given, held against the kinds of values that it takes: one line, and no error from deep within."""

from __future__ import annotations

import inspect
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import UsageError
from .escape import printable
from .lazy import dataclass


@dataclass(frozen=True)
class Kind:
    """`expected` in words, and whether a value is of it."""

    expected: str
    fits: Callable[[Any], bool]

    def __or__(self, other: Kind) -> Kind:
        return Kind(f"{self.expected} or {other.expected}", lambda value: self.fits(value) or other.fits(value))


def is_whole(value: object) -> bool:
    """A Python or numpy integer, alone; no bool."""
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError):  # an array of several
        return False
    return True


def is_number(value: object) -> bool:
    """A number, alone; no bool and no text."""
    if isinstance(value, bool | np.bool_ | str | bytes) or not hasattr(value, "__float__"):
        return False
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def is_flag(value: object) -> bool:
    """True, False, and the 1 and 0 of other languages; a text is none, since "no" would count as true."""
    return isinstance(value, bool | np.bool_) or (type(value) is int and value in (0, 1))


NONE = Kind("None", lambda value: value is None)
TEXT = Kind("a string", lambda value: isinstance(value, str))
PATH = Kind("a path", lambda value: isinstance(value, str | os.PathLike) and value != "")
FLAG = Kind("True or False", is_flag)
WHOLE = Kind("a whole number", is_whole)
NUMBER = Kind("a number", is_number)
THREADS = WHOLE | Kind('"auto"', lambda value: isinstance(value, str) and value == "auto") | NONE
#: Names to values; what the values may be is for the call to say.
MAPPING = Kind(
    "a mapping from names", lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
)
#: A list or tuple of them; a text is one text, and not a row of letters.
TEXTS = Kind(
    "strings in a list",
    lambda value: (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and all(isinstance(each, str) for each in value)
    ),
)
CALLABLE = Kind("something to call", lambda value: callable(value) and not isinstance(value, type))


def expect(kind: Kind, /, **given: object) -> None:
    """UsageError for the first argument that is not of `kind`."""
    for name, value in given.items():
        if not kind.fits(value):
            got = shown(value)
            if TEXTS.expected in kind.expected and isinstance(value, list | tuple):
                got += next(f" with {type(each).__name__} in it" for each in value if not isinstance(each, str))
            raise UsageError(f"{name}: got {got}, expected {kind.expected}")


def expect_call(name: str, value: object, *arguments: object) -> None:
    """UsageError unless `value` is None or can be called with as many arguments as these."""
    expect(CALLABLE | NONE, **{name: value})
    if value is None:
        return
    try:
        taken = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # some of those written in C do not tell
        return
    try:
        taken.bind(*arguments)
    except TypeError:
        count = len(arguments)
        raise UsageError(
            f"{name}: got {shown(value)}, which can't be called with {count} arguments; expected one that can"
        ) from None


def shown(value: object) -> str:
    """A value for a message: short ones as they are, of others the type, of an array dtype and shape; never its contents."""
    if value is None or isinstance(value, bool | float):
        return str(value)
    if isinstance(value, int):  # Python refuses to write those of thousands of digits
        return str(value) if value.bit_length() <= 64 else f"a number of {value.bit_length()} bits"
    if isinstance(value, str):
        return f'"{printable(value, 40)}"'
    if isinstance(value, Mapping) and (names := [name for name in value if not isinstance(name, str)]):
        return f"a mapping with a name that is {type(names[0]).__name__}"
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype.name} {list(value.shape)}"
    name = getattr(value, "__qualname__", None) if inspect.isroutine(value) or isinstance(value, type) else None
    return printable(f"{type(value).__name__}{f' {name}' if name else ''}", 80)


def type_name(value: object) -> str:
    """Whose type it is, and its name: "torch.Tensor"."""
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"


def not_copied(what: str, instead: str) -> UsageError:
    """Why `what` is neither pickled nor copied, and what to do `instead`."""
    return UsageError(
        f"{what} can't be pickled or copied: its engine lives in this process alone; where it is needed, {instead}"
    )
