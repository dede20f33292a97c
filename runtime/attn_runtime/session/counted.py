"""A session that counts its calls. One that does not pays nothing: its own methods are other ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any

from ..interface import Array
from ..stats import CallRecorder, SessionStats
from .session import BoundCall, Session


class CountedSession(Session):
    def __init__(self, *parts: Any, **named: Any) -> None:
        self._recorder = CallRecorder()
        super().__init__(*parts, **named)
        self._first = self.inputs[0].name if self.inputs and self.inputs[0].dims else None
        labels = {"graph": self.where, "backend": self.backend, "device": self.device}
        self._labels = labels | ({"precision": self.precision} if self.precision else {})

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        return self._counted(super().run, inputs)

    def run_on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._counted(super().run_on_device, inputs)

    def _counted(self, run: Callable[[Mapping[str, Any]], dict[str, Any]], inputs: Mapping[str, Any]) -> dict[str, Any]:
        started = perf_counter_ns()
        try:
            outputs = run(inputs)
        except BaseException:
            self._recorder.failed()
            raise
        taken = perf_counter_ns() - started
        shape = () if self._first is None else getattr(inputs[self._first], "shape", ())
        self._recorder.answered(taken, shape[0] if shape else 1)
        return outputs

    def stats(self) -> SessionStats:
        return self._recorder.read(self._labels)

    def after_fork(self) -> None:
        self._recorder.after_fork()
        super().after_fork()

    def _call_on(self, *parts: Any) -> BoundCall:
        rows = 1 if self._first is None else parts[0][self._first].shape[0]
        return _CountedCall(self._recorder, rows, *parts)


_call = BoundCall.__call__  # super() would be felt


class _CountedCall(BoundCall):
    __slots__ = ("_recorder", "_rows")

    def __init__(self, recorder: CallRecorder, rows: int, *parts: Any) -> None:
        super().__init__(*parts)
        self._recorder, self._rows = recorder, rows

    def __call__(self) -> Mapping[str, Any]:
        started = perf_counter_ns()
        try:
            outputs = _call(self)
        except BaseException:
            self._recorder.failed()
            raise
        self._recorder.answered(perf_counter_ns() - started, self._rows)
        return outputs
