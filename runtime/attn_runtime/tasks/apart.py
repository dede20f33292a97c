"""A task with a time limit, kept in a child process: a graph can run for ever, and nothing in this process could end it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from .. import errors
from ..child_process import ChildProcess
from ..errors import AttnError, UsageError

_MOST_SECONDS = 1e7  # a third of a year; timers take no more than some hundred years
_OF_CODE = {
    each.exit_code: each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AttnError)
}


def check_time_limit(seconds: object) -> None:
    """UsageError unless it is None or a number of seconds that can be waited."""
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= _MOST_SECONDS
    if seconds is not None and not good:
        raise UsageError(
            f"time limit: got {seconds}, expected seconds, above 0 and up to {_MOST_SECONDS:.0f}; leave it out for none"
        )


def run_apart(
    task: str, stage: str, seconds: float, on_message: Callable[[Any], object] | None = None, **arguments: Any
) -> Any:
    """What `task` answers, which is a function that returns `answer_or_error` of what it does, run in a new process.

    The time limit counts from here on, with the start of the process. Raises StageError when it is over or the process dies,
    and what the task raises of our errors, as it was. However this ends, the process is gone.
    """
    advice = "give it a longer limit, and trust no graph that takes any: it may loop for ever"
    with ChildProcess(seconds, advice=advice, on_message=on_message, reuse=False) as child:
        reply = child.run(task, stage, **arguments)
    if "failed" in reply:
        code, message, details = reply["failed"]
        raise _OF_CODE.get(code, AttnError)(message, details)
    return reply["answer"]


def answer_or_error(action: Callable[[], Any]) -> dict[str, Any]:
    """In the child: what `action` returns, or the error of ours that it raises, as JSON."""
    try:
        return {"answer": action()}
    except AttnError as error:
        return {"failed": [error.exit_code, str(error), error.details]}


def fields_of(kind: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the dataclass `kind` out of JSON, which has lists for tuples. What holds more than that is the caller's."""
    found = {field.name: document[field.name] for field in fields(kind)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
