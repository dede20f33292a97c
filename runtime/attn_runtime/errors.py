"""One class per kind of failure, each with its own process exit code.

A message is one line: what was found, what was expected, what is available, what to do next. The command lines
print it without a traceback and exit with `exit_code`; 1 stays for a bug of ours, 2 is click's own usage error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .escape import message as one_line

#: What a message's last clause begins with where it says what to do.
_ADVICE = (
    r"(?i)(?:add|append|ask|attn-export|attn-run|bind|build|call|cast|check|choose|close|compile|compute|convert|copy|create|cut"
    r"|declare|deploy|did|draw|export|fetch|fix|free|gather|give|guard|hand|initialise|install|instead|leave|let|make|move|name"
    r"|narrow|open|pip|put|raise|re-export|remove|rename|replace|restore|return|run|save|see|send|set|split|start|store|take"
    r"|torchrun|trust|try|update|upgrade|use|verify|wait|widen|wrap|write)(?=[ .?]|$)"
)
#: What a clause begins with where it says what was expected.
_EXPECTED = r"expected |available: |known: |there (?:is|are):? |it (?:has|takes):? |one of |at (?:most|least) "


class AttnError(Exception):
    """Base of every failure that is the input's, the machine's or the model's, and not a bug.

    `details` is printable, of several lines, and may be shown below the message; most errors have none.
    """

    exit_code = 1

    def __str__(self) -> str:
        """The message, in one line and without what a terminal acts on: where nobody catches it, a traceback prints it."""
        return one_line(super().__str__())

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details

    def to_json(self) -> dict[str, Any]:
        """What a program wants to know: exit code, class, the message in one line, its parts, and the details.

        ``{"code", "kind", "message", "found", "expected", "do", "details"}``; None for what the message does not say.
        """
        message = str(self)
        told = {"code": self.exit_code, "kind": type(self).__name__, "message": message}
        return (
            told
            | dict(zip(("found", "expected", "do"), parts(message), strict=True))
            | {"details": self.details or None}
        )


def parts(message: str) -> tuple[str, str | None, str | None]:
    """(what was found, what was expected, what to do) of a message in one line; None for what it does not say.

    Clauses end with "; " or ". ", outside of brackets and quotes. The last one is what to do, where it begins like advice;
    words that came from elsewhere, as those of a library, seldom do. What was expected is named so, in a clause of its own
    or after a comma.
    """
    found, expected, do = message, None, None
    ends = _clause_ends(message)
    # What follows the nearest name belongs to it: the other names there are.
    ends = next((ends[: n + 1] for n, end in enumerate(ends) if message.startswith("did you mean ", end + 2)), ends)
    if ends and re.match(_ADVICE, found[ends[-1] + 2 :]):
        do = found[ends[-1] + 2 :].removesuffix(".")
        found = found[: ends.pop()]
    if ends and re.match(_EXPECTED, found[ends[-1] + 2 :]):
        expected = found[ends[-1] + 2 :].removeprefix("expected ").removesuffix(".")
        found = found[: ends[-1]]
    elif at := re.search(r"[,:] expected ", found):
        found, expected = found[: at.start()], found[at.end() :]
    return found.removesuffix("."), expected, do


def _clause_ends(message: str) -> list[int]:
    """Where "; " stands, or ". " before a capital, outside of brackets and quotes."""
    ends, depth, quoted = [], 0, False
    for at, character in enumerate(message):
        if character == '"':
            quoted = not quoted
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth = max(0, depth - 1)
        elif not depth and not quoted and re.match(r"; |\. (?=[A-Z])", message[at : at + 3]):
            ends.append(at)
    return ends


class UsageError(AttnError):
    """An unknown name or option, or a value that does not parse."""

    exit_code = 2


class CaptureError(AttnError):
    """PyTorch could not turn the module into the graph that was asked for."""

    exit_code = 3


class ParityError(AttnError):
    """A graph's answers are not PyTorch's. `details` is a printable table of the worst elements.

    `sizes` are those of the cases that failed, where sizes are known.
    """

    exit_code = 4

    def __init__(self, message: str, details: str = "", sizes: Sequence[Mapping[str, int]] = ()) -> None:
        super().__init__(message, details)
        self.sizes = sizes


class PrecisionError(AttnError):
    """An engine computes in another precision than the one asked for. `details` lists its layers."""

    exit_code = 5


class FusionError(AttnError):
    """Attention was asked to be fused and is not. `details` lists the blocks, with why and what would fuse them."""

    exit_code = 6


class InputError(AttnError):
    """A tensor has a wrong name, dtype, rank or size for the graph it was given to."""

    exit_code = 7


class BundleError(AttnError):
    """A bundle or a graph file is missing, damaged, hostile, or of an unknown schema version."""

    exit_code = 8


class CheckpointError(AttnError):
    """A checkpoint is missing, unsafe to load, damaged, or does not fit the module."""

    exit_code = 9


class BackendError(AttnError):
    """No backend can run this graph on the device that was asked for."""

    exit_code = 10


class OutputError(AttnError):
    """The output can't be written, or writing it would destroy something that is not ours."""

    exit_code = 11


class StageError(AttnError):
    """A child process crashed or ran over its time limit."""

    exit_code = 12


class PassError(AttnError):
    """A pass broke its contract: it changed what it promised to keep."""

    exit_code = 13


class EngineError(AttnError):
    """An engine can't be built, or the one there is damaged, of another model, or made for another machine."""

    exit_code = 14


class DifferenceError(AttnError):
    """Two models that were compared do not answer the same, or could not be asked the same."""

    exit_code = 15


class RowsError(AttnError):
    """Rows of a table have no answer. What was written says why of each."""

    exit_code = 16


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Of a misspelt name, for a message: ``"did you mean batch? "``, or an empty string when nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}? " if near else ""
