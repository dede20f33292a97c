"""The model.py of a generator in a Triton repository: `attn-export deploy triton` copies it beside the bundle that it serves.

A request is one prompt. Its responses are the tokens as they are chosen, and a last one with the whole answer:

    text     what the answer grows by, "" where nothing can be told yet: together the answer, the last response's included
    token    the token; -1 in the last response
    answer   the whole text, in the last response alone
    stopped  there too: "stop" (a stop token), "length" (as many tokens as there may be) or "cancelled"

Requests are submitted to the generator, and join those that are being written, whatever they ask for and however long they
are. Beam searches that the server put together are one call where they ask for the same; where such a group fails (numbers that
are not finite show only when the graphs run), those in it are searched one by one. Each request is checked alone before that,
and what it gets does not depend on the others. Every request gets one last response, an answer or an error.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from attn_runtime import GenerateOptions, RequestLimits, Sample, open_generator
from attn_runtime.errors import AttnError, InputError, UsageError
from attn_runtime.preprocess import open_text

#: The server's own queue is empty, since requests are taken at once: so many may wait here.
_WAITING = 100_000
_SEARCH = ("max_length", "beams", "length_penalty", "min_length", "repetition_penalty", "no_repeat_ngram", "lookup")
_DRAWN = ("temperature", "top_k", "top_p", "seed")


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        (path,) = Path(args["model_repository"], args["model_version"]).glob("*.attn")
        on_gpu = args["model_instance_kind"] == "GPU"
        config = json.loads(args["model_config"])
        told = {name: value.get("string_value") for name, value in config.get("parameters", {}).items()}
        self._generator = open_generator(
            path,
            f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu",
            precision=told.get("precision"),
            cache=told.get("cache"),
            requests=RequestLimits(waiting=_WAITING),
        )
        self._prompts = [one["name"] for one in config["input"] if not one.get("optional")]
        self._text = open_text(self._generator) if self._prompts == ["text"] else None
        labels = {
            "model": args["model_name"],
            "version": args["model_version"],
            "instance": args["model_instance_name"],
        }
        self._metrics = _Metrics(self._generator, labels)

    def execute(self, requests: Sequence[Any]) -> None:
        asked = []
        for request in requests:
            try:
                reply = _Reply(request.get_response_sender())
            except Exception as error:  # nobody can be told
                _log(error)
                continue
            one = reply.attempt(_Asked, request, reply, self._prompts, self._text, self._generator)
            if one is None:
                continue
            if one.beams == 1 and not one.guesses:
                reply.attempt(self._submit, one)
            else:
                asked.append(one)
        for group in _alike(asked, self._generator.most_rows):
            self._answer(group)
        self._metrics.tell()

    def finalize(self) -> None:
        self._generator.close()

    def _submit(self, one: _Asked) -> None:
        """Have it written beside others; the generator's thread sends its responses."""
        one.end_if_cancelled()
        if not one.reply.over:
            request = self._generator.submit(self._inputs([one]), one.options, one.follow)
            request.when_done(lambda request: one.reply.attempt(one.end, request))
            request.when_done(lambda _: self._metrics.tell())

    def _answer(self, group: Sequence[_Asked]) -> None:
        """Search for all of a group, and alone where that fails: whose fault it was shows then."""
        if len(group) > 1:
            try:
                self._search(group)
            except Exception as error:
                _log(error)
        for one in group:
            one.reply.attempt(self._search, [one])

    def _search(self, group: Sequence[_Asked]) -> None:
        def all_over() -> bool:
            for one in group:
                one.end_if_cancelled()
            return all(one.reply.over for one in group)

        if all_over():
            return
        group = [one for one in group if not one.reply.over]
        tell = (lambda _, token: group[0].tell(token)) if group[0].guesses else None
        found = self._generator.generate(self._inputs(group), group[0].options, tell, all_over)
        for row, one in enumerate(group):
            for token in found.row(row) if tell is None else ():  # of a search, known when it is over
                one.tell(token)
            one.reply.attempt(one.stream.end, found.row(row), found.stopped[row])

    def _inputs(self, group: Sequence[_Asked]) -> dict[str, Any]:
        if self._text is not None:
            return self._text.inputs([one.text for one in group])
        return {name: np.concatenate([one.arrays[name] for one in group]) for name in self._prompts}


class _Gone(Exception):
    """The last response was sent, or could not be."""


class _Asked:
    """One request, read and checked. `text` or `arrays` is its prompt; `key` is the same of searches that can be one batch."""

    def __init__(self, request: Any, reply: _Reply, prompts: Sequence[str], text: Any, generator: Any) -> None:
        self.reply, self.stream = reply, _Stream(reply, text)
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
        settings = generator.settings(self.options)
        self.beams, self.guesses = settings.beams, settings.lookup > 0
        self.key = (self.options, tuple((name, array.shape) for name, array in self.arrays.items()))

    def follow(self, token: int) -> None:
        """The next token. Raises _Gone where nobody is there to be told."""
        self.end_if_cancelled()
        self.tell(token)
        if self.reply.over:
            raise _Gone

    def tell(self, token: int) -> None:
        self._followed.append(token)
        self.reply.attempt(self.stream.token, token)

    def end(self, request: Any) -> None:
        found = request.result()
        self.stream.end(found.row(0), found.stopped[0])

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
    """Requests that can be one batch, as many as the graphs take. One with guesses is alone: its tokens are told as they come,
    and rows beside it would be computed for its guesses too."""
    groups: dict[Any, list[_Asked]] = {}
    for one in asked:
        groups.setdefault(one.key, []).append(one)
    for group in groups.values():
        rows = 1 if group[0].guesses else max(1, most // group[0].beams)
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


class _Metrics:
    """What the server tells at its port for metrics: `Generator.stats`, under the names of `attn_runtime.prometheus_text`.

    Servers before 23.05 have no metrics of models, those before 24.12 no histograms: these tell what they can.
    """

    def __init__(self, generator: Any, labels: dict[str, str]) -> None:
        self._generator, self._lock = generator, threading.Lock()
        self._shown: list[tuple[str, Any, Any]] = []  # its name, its family, which it may not outlive, and itself
        self._told = {metric.name: metric for metric in generator.stats().metrics()}
        try:
            for metric in self._told.values():
                self._show(metric, labels)
        except Exception as error:  # of a server that was told --allow-metrics=false, too
            self._shown = []
            print(f"attn: the server takes no metrics of the generator: {error}")

    def _show(self, metric: Any, labels: dict[str, str]) -> None:
        kinds = getattr(pb_utils, "MetricFamily", None)
        kind = getattr(kinds, metric.kind.upper(), None)
        if kinds is not None and kind is not None:
            family = kinds(name=metric.name, description=metric.about, kind=kind)
            about: dict[str, Any] = {"labels": labels}
            if metric.kind == "histogram":
                about["buckets"] = [bound for bound, _ in metric.value.cumulative()[:-1]]
            made = family.Metric(**about)
            self._shown.append((metric.name, family, made))

    def tell(self) -> None:
        """What is new. A request is answered whatever becomes of it."""
        if not self._shown:
            return
        try:
            with self._lock:
                before = self._told
                self._told = {metric.name: metric for metric in self._generator.stats().metrics()}
                for name, _, shown in self._shown:
                    now = self._told[name]
                    if now.kind == "gauge":
                        shown.set(now.value)
                    elif now.kind == "counter":
                        shown.increment(now.value - before[name].value)
                    else:
                        for seconds in now.value.since(before[name].value):
                            shown.observe(seconds)
        except Exception as error:
            _log(error)


def _log(error: Exception) -> None:
    """A bug of ours, for the server's log, which takes what is printed; the others are told to who asked."""
    if not isinstance(error, AttnError):
        traceback.print_exception(error)
