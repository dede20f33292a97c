"""The model.py of a generator in a Triton repository: `attn-export deploy triton` copies it beside the bundle that it serves.

A request is one prompt. Its responses are the tokens as they are chosen, and a last one with the whole answer:

    text     what the answer grows by, "" where nothing can be told yet: together the answer, the last response's included
    token    the token; -1 in the last response
    answer   the whole text, in the last response alone
    stopped  there too: "stop" (a stop token), "length" (as many tokens as there may be) or "cancelled"

Requests that the server put together are generated together where they ask for the same; what each gets does not depend on
the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from attn_runtime import GenerateOptions, Sample, open_generator
from attn_runtime.errors import AttnError, InputError, UsageError
from attn_runtime.preprocess import open_text

_SEARCH = {"max_length": int, "beams": int, "length_penalty": float}
_DRAWN = {"temperature": float, "top_k": int, "top_p": float, "seed": int}


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        (path,) = Path(args["model_repository"], args["model_version"]).glob("*.attn")
        on_gpu = args["model_instance_kind"] == "GPU"
        config = json.loads(args["model_config"])
        self._generator = open_generator(
            path,
            f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu",
            precision=config.get("parameters", {}).get("precision", {}).get("string_value"),
        )
        self._prompts = [one["name"] for one in config["input"] if not one.get("optional")]
        self._text = open_text(self._generator) if self._prompts == ["text"] else None

    def execute(self, requests: Sequence[Any]) -> None:
        asked = []
        for request in requests:
            sender = request.get_response_sender()
            try:
                asked.append(_Asked(request, sender, self._prompts, self._text))
            except AttnError as error:
                _fail(sender, error)
        for group in _alike(asked, self._generator.most_rows):
            try:
                self._generate(group)
            except AttnError as error:
                for one in group:
                    _fail(one.sender, error)

    def finalize(self) -> None:
        self._generator.close()

    def _generate(self, group: Sequence[_Asked]) -> None:
        options = group[0].search
        seeds = [one.drawn.get("seed", 0) for one in group]
        sample = Sample(**{**group[0].drawn, "seed": seeds}) if group[0].drawn else None
        follow = GenerateOptions(**options, sample=sample)
        streams = [_Stream(one.sender, self._text) for one in group]
        found = self._generator.generate(
            self._inputs(group),
            follow,
            on_token=(lambda row, token: streams[row].token(token)) if follow.beams == 1 else None,
            cancel=lambda: all(one.sender.is_cancelled() for one in group),
        )
        for row, stream in enumerate(streams):
            if follow.beams > 1:  # known when it is over
                for token in found.row(row):
                    stream.token(token)
            stream.end(found.row(row), found.stopped[row])

    def _inputs(self, group: Sequence[_Asked]) -> dict[str, Any]:
        if self._text is not None:
            return self._text.inputs([one.text for one in group])
        return {name: np.concatenate([one.arrays[name] for one in group]) for name in self._prompts}


class _Asked:
    """One request, read. `text` or `arrays` is its prompt."""

    def __init__(self, request: Any, sender: Any, prompts: Sequence[str], text: Any) -> None:
        self.sender = sender
        self.search = _options(request, _SEARCH)
        self.drawn = _options(request, _DRAWN)
        given = {name: pb_utils.get_input_tensor_by_name(request, name) for name in prompts}
        missing = [name for name, tensor in given.items() if tensor is None]
        if missing:
            raise InputError(f"missing input {', '.join(missing)}; expected {', '.join(prompts)}")
        self.arrays = {name: tensor.as_numpy() for name, tensor in given.items()}
        for name, array in self.arrays.items():
            if array.shape[0] != 1:
                raise InputError(
                    f'input "{name}": got {array.shape[0]} rows; send a request for each, the server puts them together'
                )
        self.text = ""
        if text is not None:
            (said,) = self.arrays.pop("text").reshape(-1)
            try:
                self.text = said.decode() if isinstance(said, bytes) else str(said)
            except UnicodeDecodeError as error:
                raise InputError(f"text: is no UTF-8 (byte {error.start})") from None
            text.encode([self.text])  # refused alone, not with those that it would be put together with
        self.key = (
            tuple(self.search.items()),
            tuple((name, value) for name, value in self.drawn.items() if name != "seed"),
            bool(self.drawn),
            tuple((name, array.shape) for name, array in self.arrays.items()),
        )


def _options(request: Any, kinds: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, kind in kinds.items():
        tensor = pb_utils.get_input_tensor_by_name(request, name)
        if tensor is not None:
            array = tensor.as_numpy()
            if array.size != 1:
                raise UsageError(f"{name}: got {array.size} values, expected one")
            found[name] = kind(array.reshape(-1)[0])
    return found


def _alike(asked: Sequence[_Asked], most: int) -> Iterator[list[_Asked]]:
    """Requests that can be one batch, as many as the graphs take."""
    groups: dict[Any, list[_Asked]] = {}
    for one in asked:
        groups.setdefault(one.key, []).append(one)
    for group in groups.values():
        rows = max(1, most // max(1, group[0].search.get("beams", 1)))
        yield from (group[start : start + rows] for start in range(0, len(group), rows))


class _Stream:
    """What one request has been told."""

    def __init__(self, sender: Any, text: Any) -> None:
        self._sender, self._text = sender, text.stream() if text is not None else None

    def token(self, token: int) -> None:
        self._send(self._text.add(token) if self._text is not None else "", token)

    def end(self, tokens: list[int], stopped: str) -> None:
        rest = self._text.end(tokens) if self._text is not None else ""
        self._send(rest, -1, self._text.told if self._text is not None else "", stopped)

    def _send(self, text: str, token: int, answer: str = "", stopped: str = "") -> None:
        tensors = [
            pb_utils.Tensor("text", np.array([[text.encode()]], object)),
            pb_utils.Tensor("token", np.array([[token]], np.int64)),
            pb_utils.Tensor("answer", np.array([[answer.encode()]], object)),
            pb_utils.Tensor("stopped", np.array([[stopped.encode()]], object)),
        ]
        last = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if stopped else 0
        self._sender.send(pb_utils.InferenceResponse(output_tensors=tensors), flags=last)


def _fail(sender: Any, error: AttnError) -> None:
    code = (
        pb_utils.TritonError.INVALID_ARG
        if isinstance(error, InputError | UsageError)
        else pb_utils.TritonError.INTERNAL
    )
    told = pb_utils.TritonError(str(error), code)
    sender.send(
        pb_utils.InferenceResponse(output_tensors=[], error=told), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    )
