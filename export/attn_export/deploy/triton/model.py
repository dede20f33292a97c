"""The model.py of a generator in a Triton repository: `attn-export deploy triton` copies it beside the bundle that it serves.

A request is one prompt. Its responses are the tokens as they are chosen, and a last one with the whole answer:

    text     what the answer grows by, "" where nothing can be told yet: together the answer, the last response's included
    token    the token; -1 in the last response
    answer   the whole text, in the last response alone
    stopped  there too: "stop" (a stop token), "length" (as many tokens as there may be) or "cancelled"

Requests that the server put together are generated together where they ask for the same; what each gets does not depend on
the others. Each is checked alone before that, and where a group fails all the same (numbers that are not finite show only
when the graphs run), those in it are generated one by one. Every request gets one last response, an answer or an error.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from attn_runtime import GenerateOptions, Sample, open_generator
from attn_runtime.errors import AttnError, InputError, UsageError
from attn_runtime.preprocess import open_text

_SEARCH = ("max_length", "beams", "length_penalty", "min_length", "repetition_penalty", "no_repeat_ngram")
_DRAWN = ("temperature", "top_k", "top_p", "seed")


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
            try:
                reply = _Reply(request.get_response_sender())
            except Exception as error:  # nobody can be told
                _log(error)
                continue
            one = reply.attempt(_Asked, request, reply, self._prompts, self._text, self._generator)
            asked += [] if one is None else [one]
        for group in _alike(asked, self._generator.most_rows):
            self._answer(group)

    def finalize(self) -> None:
        self._generator.close()

    def _answer(self, group: Sequence[_Asked]) -> None:
        """Generate for all of a group, and alone where that fails: whose fault it was shows then."""
        if len(group) > 1:
            try:
                self._generate(group)
            except Exception as error:
                _log(error)
        for one in group:
            one.reply.attempt(self._generate, [one])

    def _generate(self, group: Sequence[_Asked]) -> None:
        for one in group:
            one.end_if_cancelled()
        group = [one for one in group if not one.reply.over]
        if not group:
            return
        options = group[0].options
        if isinstance(options.sample, Sample):
            options = replace(
                options, sample=replace(options.sample, seed=[seed for one in group for seed in one.seeds])
            )
        for one in group:
            one.chosen = 0

        def all_over() -> bool:
            for one in group:
                one.end_if_cancelled()
            return all(one.reply.over for one in group)

        found = self._generator.generate(
            self._inputs(group),
            options,
            on_token=(lambda row, token: group[row].follow(token)) if group[0].beams == 1 else None,
            cancel=all_over,
        )
        for row, one in enumerate(group):
            if one.beams > 1:  # known when it is over
                for token in found.row(row):
                    one.follow(token)
            one.reply.attempt(one.stream.end, found.row(row), found.stopped[row])

    def _inputs(self, group: Sequence[_Asked]) -> dict[str, Any]:
        if self._text is not None:
            return self._text.inputs([one.text for one in group])
        return {name: np.concatenate([one.arrays[name] for one in group]) for name in self._prompts}


class _Asked:
    """One request, read and checked. `text` or `arrays` is its prompt; `key` is the same of those that can be one batch."""

    def __init__(self, request: Any, reply: _Reply, prompts: Sequence[str], text: Any, generator: Any) -> None:
        self.reply, self.stream = reply, _Stream(reply, text)
        self.chosen = 0
        self._followed: list[int] = []
        drawn = _options(request, _DRAWN)
        chosen = _options(request, list(generator.wiring.rules.choices))
        self.options = GenerateOptions(
            **_options(request, _SEARCH),
            sample=Sample(**drawn) if drawn else None,
            begin={name: _text(np.array(value)) for name, value in chosen.items()} or None,
        )
        given = {name: pb_utils.get_input_tensor_by_name(request, name) for name in prompts}
        missing = [name for name, tensor in given.items() if tensor is None]
        if missing:
            raise InputError(f"missing input {', '.join(missing)}; expected {', '.join(prompts)}")
        self.arrays = {name: tensor.as_numpy() for name, tensor in given.items()}
        self.text = ""
        if text is not None:
            self.text = _text(self.arrays.pop("text"))
        for name, array in self.arrays.items():
            if array.ndim == 0 or array.shape[0] != 1:
                raise InputError(
                    f'input "{name}": got shape {list(array.shape)}, expected one row; send a request for each, the server puts '
                    "them together"
                )
        generator.check(self.arrays if text is None else text.inputs([self.text]), self.options)
        # What the bundle does by default is told, since requests share a batch.
        settings = generator.settings(self.options)
        self.beams = settings.beams
        self.options = replace(self.options, beams=settings.beams, sample=settings.sample or False)
        alike, self.seeds = self.options, []
        if isinstance(alike.sample, Sample):
            self.seeds = alike.sample.seeds(1)
            alike = replace(alike, sample=replace(alike.sample, seed=0))
        self.key = (alike, tuple((name, array.shape) for name, array in self.arrays.items()))

    def follow(self, token: int) -> None:
        """The next token. One that was told before the group of it failed is not told again."""
        self.chosen += 1
        if self.chosen > len(self._followed):
            self._followed.append(token)
            self.reply.attempt(self.stream.token, token)

    def end_if_cancelled(self) -> None:
        """The answer of a client who is gone ends with what was told of it, whatever becomes of its group."""
        if self.reply.attempt(self.reply.is_cancelled):
            self.reply.attempt(self.stream.end, self._followed, "cancelled")


def _text(given: Any) -> str:
    if given.size != 1:
        raise InputError(f"text: got {given.size} values, expected one; send a request for each text")
    said = given.reshape(-1)[0]
    if not isinstance(said, bytes | str):
        raise InputError(f"text: got {given.dtype.name}, expected a string")
    try:
        return said.decode() if isinstance(said, bytes) else said
    except UnicodeDecodeError as error:
        raise InputError(f"text: is no UTF-8 (byte {error.start})") from None


def _options(request: Any, names: Sequence[str]) -> dict[str, Any]:
    """What the request says of them. Whether it can be is GenerateOptions' to tell."""
    found = {}
    for name in names:
        tensor = pb_utils.get_input_tensor_by_name(request, name)
        if tensor is not None:
            array = tensor.as_numpy()
            if array.size != 1:
                raise UsageError(f"{name}: got {array.size} values, expected one")
            found[name] = array.item()
    return found


def _alike(asked: Sequence[_Asked], most: int) -> Iterator[list[_Asked]]:
    """Requests that can be one batch, as many as the graphs take."""
    groups: dict[Any, list[_Asked]] = {}
    for one in asked:
        groups.setdefault(one.key, []).append(one)
    for group in groups.values():
        rows = max(1, most // group[0].beams)
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


class _Reply:
    """The responses to one request: one of them, an answer or an error, is the last. `over` once it was sent."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender
        self.over = False

    def send(self, response: Any, flags: int = 0) -> None:
        self._sender.send(response, flags=flags)
        self.over = self.over or bool(flags & pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def is_cancelled(self) -> bool:
        return bool(self._sender.is_cancelled())

    def attempt(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """What `action` returns. What it raises becomes the last response, and None: it is this request's alone. Where the
        last one was sent, nothing is done."""
        if self.over:
            return None
        try:
            return action(*arguments)
        except Exception as error:
            _log(error)
            if not self.over:
                self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        code = (
            pb_utils.TritonError.INVALID_ARG
            if isinstance(error, InputError | UsageError)
            else pb_utils.TritonError.INTERNAL
        )
        words = str(error) if isinstance(error, AttnError) else f"{type(error).__name__}; the server's log tells more"
        told = pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(words, code))
        self.over = True  # also where nobody can be told
        try:
            self._sender.send(told, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception as problem:
            _log(problem)


def _log(error: Exception) -> None:
    """A bug of ours, for the server's log, which takes what is printed; the others are told to who asked."""
    if not isinstance(error, AttnError):
        traceback.print_exception(error)
