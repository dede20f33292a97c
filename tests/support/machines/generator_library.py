"""libattn_runtime through ctypes: just what generates."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.native.capi import OpenOptions, Tensor

ON_TOKEN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p)
ON_TEXT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


class Choice(ctypes.Structure):
    """attn_choice."""

    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_char_p))


class GenerateOptions(ctypes.Structure):
    """attn_generate_options."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("max_length", ctypes.c_int64),
        ("beams", ctypes.c_int64),
        ("length_penalty", ctypes.c_double),
        ("early_stop", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("temperature", ctypes.c_double),
        ("top_k", ctypes.c_int64),
        ("top_p", ctypes.c_double),
        ("seed", ctypes.c_uint64),
        ("stop", ctypes.POINTER(ctypes.c_int64)),
        ("stop_count", ctypes.c_size_t),
        ("scores", ctypes.c_int),
        ("on_token", ON_TOKEN),
        ("user", ctypes.c_void_p),
        ("on_text", ON_TEXT),
        ("min_length", ctypes.c_int64),
        ("repetition_penalty", ctypes.c_double),
        ("no_repeat_ngram", ctypes.c_int64),
        ("choices", ctypes.POINTER(Choice)),
        ("choice_count", ctypes.c_size_t),
        ("lookup", ctypes.c_int64),
    )


class Refused(Exception):
    """`status` is an attn_status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Row:
    """`tokens` without the stop token; `score` None where there is none."""

    tokens: list[int]
    score: float | None
    stopped: bool
    text: str


class RequestLimits(ctypes.Structure):
    """attn_request_limits."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("rows", ctypes.c_size_t),
        ("waiting", ctypes.c_size_t),
        ("memory", ctypes.c_uint64),
    )


class Request:
    """attn_request. `asked` holds the callbacks."""

    def __init__(self, generator: Generator, handle: ctypes.c_void_p, asked: GenerateOptions) -> None:
        self._generator, self._handle, self._asked = generator, handle, asked

    def next(self, seconds: float = -1.0) -> int:
        """-1 behind the last, -2 where the time is over."""
        token = ctypes.c_int64()
        next_one = self._generator.c.attn_request_next
        self._generator.check(next_one(self._handle, ctypes.c_double(seconds), ctypes.byref(token)))
        return token.value

    def result(self, seconds: float = -1.0) -> tuple[Row, str] | None:
        """The row, and why it ended; None where it takes longer."""
        result, c = ctypes.c_void_p(), self._generator.c
        self._generator.check(c.attn_request_result(self._handle, ctypes.c_double(seconds), ctypes.byref(result)))
        if not result:
            return None
        why = ("stop", "length", "cancelled", "deadline")[c.attn_result_why(result, ctypes.c_size_t(0))]
        ((row,), _) = self._generator._rows(result)
        return row, why

    def cancel(self) -> None:
        self._generator.c.attn_request_cancel(self._handle)

    def close(self) -> None:
        self._generator.c.attn_request_close(self._handle)


class Generator:
    """An open generator on the CPU of the library at `path`. `guesses` are the drafted and accepted tokens of the last call."""

    def __init__(
        self,
        path: Path,
        bundle: Path,
        precision: str | None = None,
        library: Path | None = None,
        threads: int = 1,
        backend: str | None = None,
        cache: Path | None = None,
    ) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.attn_last_error.restype = ctypes.c_char_p
        self.c.attn_result_tokens.restype = ctypes.POINTER(ctypes.c_int64)
        self.c.attn_result_score.restype = ctypes.c_double
        for name in ("attn_result_rows", "attn_result_drafted", "attn_result_accepted"):
            getattr(self.c, name).restype = ctypes.c_size_t
        self.guesses = 0, 0
        for name in ("attn_result_text", "attn_result_note", "attn_last_notes"):
            getattr(self.c, name).restype = ctypes.c_char_p
        self._open = OpenOptions(
            ctypes.sizeof(OpenOptions),
            b"cpu",
            _text(backend),
            None,
            _text(precision),
            threads,
            0,
            _text(cache),
            _text(library),
        )
        self._bundle, self._handle = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.c.attn_bundle_open(str(bundle).encode(), ctypes.byref(self._bundle)))
        try:
            opened = self.c.attn_generator_open(self._bundle, ctypes.byref(self._open), ctypes.byref(self._handle))
            self.check(opened)
        except Refused:
            self.close()
            raise

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.c.attn_generator_close(self._handle)
        self.c.attn_bundle_close(self._bundle)

    def check(self, status: int) -> None:
        if status:
            raise Refused(status, self.c.attn_last_error().decode())

    def generate(self, inputs: Mapping[str, np.ndarray], **options: Any) -> list[Row]:
        held = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        tensors = (Tensor * len(held))(*(Tensor.of(name, value) for name, value in held.items()))
        asked, result = _asked(options), ctypes.c_void_p()
        self.check(
            self.c.attn_generator_generate(
                self._handle, tensors, ctypes.c_size_t(len(held)), ctypes.byref(asked), ctypes.byref(result)
            )
        )
        return self._rows(result)[0]

    def limit(self, rows: int, waiting: int = 1024, memory: int = 0) -> None:
        limits = RequestLimits(ctypes.sizeof(RequestLimits), rows, waiting, memory)
        self.check(self.c.attn_generator_limit_requests(self._handle, ctypes.byref(limits)))

    def submit(self, inputs: Mapping[str, np.ndarray] | str, deadline: float = 0.0, **options: Any) -> Request:
        asked, request, seconds = _asked(options), ctypes.c_void_p(), ctypes.c_double(deadline)
        if isinstance(inputs, str):
            text = inputs.encode()
            given = (self._handle, text, ctypes.byref(asked), seconds, ctypes.byref(request))
            self.check(self.c.attn_generator_submit_text(*given))
        else:
            held = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
            tensors = (Tensor * len(held))(*(Tensor.of(name, value) for name, value in held.items()))
            sizes = (ctypes.c_size_t(len(held)), ctypes.byref(asked), seconds, ctypes.byref(request))
            self.check(self.c.attn_generator_submit(self._handle, tensors, *sizes))
            for value in held.values():
                value[...] = 0  # it was copied
        return Request(self, request, asked)

    def generate_text(self, texts: Sequence[str | bytes], **options: Any) -> tuple[list[Row], list[str]]:
        """(answers, notes)"""
        given = (ctypes.c_char_p * len(texts))(*(t if isinstance(t, bytes) else t.encode() for t in texts))
        asked, result = _asked(options), ctypes.c_void_p()
        self.check(
            self.c.attn_generator_generate_text(
                self._handle, given, ctypes.c_size_t(len(texts)), ctypes.byref(asked), ctypes.byref(result)
            )
        )
        return self._rows(result)

    def transcribe(self, recording: Path | np.ndarray, rate: int = 0, **options: Any) -> tuple[str, str]:
        """The text of a WAV file, or of float32 [frames, channels] at `rate` Hz, and the notes."""
        asked, text = _asked(options), ctypes.c_char_p()
        if isinstance(recording, Path):
            given: tuple[Any, ...] = (bytes(recording),)
            call = self.c.attn_generator_transcribe_wav
        else:
            sizes = map(ctypes.c_size_t, (*recording.shape, rate))
            given = (np.ascontiguousarray(recording).ctypes.data_as(ctypes.c_void_p), *sizes)
            call = self.c.attn_generator_transcribe
        self.check(call(self._handle, *given, ctypes.byref(asked), ctypes.byref(text)))
        assert text.value is not None
        return text.value.decode(), self.c.attn_last_notes().decode()

    def _rows(self, result: ctypes.c_void_p) -> tuple[list[Row], list[str]]:
        rows = []
        for row in map(ctypes.c_size_t, range(self.c.attn_result_rows(result))):
            length = ctypes.c_size_t()
            tokens = self.c.attn_result_tokens(result, row, ctypes.byref(length))
            score = self.c.attn_result_score(result, row)
            stopped = bool(self.c.attn_result_stopped(result, row))
            text = self.c.attn_result_text(result, row).decode()
            rows.append(Row(tokens[: length.value], None if math.isnan(score) else score, stopped, text))
        self.guesses = self.c.attn_result_drafted(result), self.c.attn_result_accepted(result)
        notes: list[str] = []
        while (note := self.c.attn_result_note(result, ctypes.c_size_t(len(notes)))) is not None:
            notes.append(note.decode())
        self.c.attn_result_close(result)
        return rows, notes


def _text(value: object) -> bytes | None:
    return None if value is None else str(value).encode()


def _asked(options: Mapping[str, Any]) -> GenerateOptions:
    """ATTN_GENERATE_OPTIONS_INIT, with the members that are given."""
    made = GenerateOptions(
        ctypes.sizeof(GenerateOptions), -1, -1, -1.0, -1, -1, 1.0, 0, 1.0, 0, None, 0, 0, ON_TOKEN(), None, ON_TEXT(),
        -1, 0.0, -1, None, 0, 0,
    )  # fmt: skip
    for name, value in options.items():
        if name == "stop":
            made.stop, made.stop_count = (ctypes.c_int64 * max(1, len(value)))(*value), len(value)
        elif name == "begin":
            made.choices = (Choice * len(value))(*((n.encode(), v.encode()) for n, v in value.items()))
            made.choice_count = len(value)
        elif name == "on_token":
            made.on_token = ON_TOKEN(_with_user(value))
        elif name == "on_text":
            made.on_text = ON_TEXT(_of_bytes(value))
        else:
            assert hasattr(made, name)
            setattr(made, name, value)
    return made


def _with_user(call: Callable[[int, int], object]) -> Callable[[int, int, object], int]:
    return lambda row, token, user: int(bool(call(row, token)))


def _of_bytes(call: Callable[[int, str], object]) -> Callable[[int, int, int, object], int]:
    return lambda row, piece, size, user: int(bool(call(row, ctypes.string_at(piece, size).decode())))
