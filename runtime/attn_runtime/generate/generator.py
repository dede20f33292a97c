"""Prompts in, tokens out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .. import arguments, forks
from ..bundle import Bundle, with_bundle
from ..device import as_array
from ..errors import InputError, UsageError
from ..session import Session, check_open, open_session
from ..spec import TensorSpec, check_shapes, signature
from ..stats import GeneratorStats, RequestRecorder
from .beam import BeamSearch
from .graphs import GraphIO, Plans, Sessions, Shape, StepGraphs, memory_of
from .greedy import (
    Answers,
    Choosing,
    Given,
    Guessed,
    SubmittedRow,
    generate_each,
    likeliest,
    of_answers,
    scores_of,
)
from .lookup import drafts_of
from .options import Event, GenerateOptions, check_cancel, known_options
from .result import Followed, Generated
from .rules import ScoreRules
from .sampling import Sampler
from .serving import Prompt, Request, RequestLimits, Server, Turns
from .settings import Settings

#: Shapes whose buffers are kept for the next prompts of the same shape.
_MOST_PLANS = 4


def open_generator(
    path: str | os.PathLike[str] | Bundle,
    device: str = "auto",
    backend: str | None = None,
    *,
    precision: str | None = None,
    threads: int | str | None = None,
    cuda_graph: bool = False,
    cache: str | os.PathLike[str] | None = None,
    low_memory: bool = False,
    requests: RequestLimits | None = None,
) -> Generator:
    """Open the generator in the bundle at `path`, all of its graphs on one device. Parameters and errors of `open_session`.

    requests  how many requests `Generator.submit` takes at a time, and what they may take up; None for the usual limits

    Raises BundleError where the bundle has no generator, or graphs that do not fit together.
    """
    check_open(path, device, backend, None, precision, threads, cache)
    arguments.expect(arguments.FLAG, cuda_graph=cuda_graph, low_memory=low_memory)
    options: dict[str, Any] = {"precision": precision, "threads": threads, "cuda_graph": cuda_graph}
    # The graphs take turns on the same cores: one's threads, waiting busily for its next call, would hold up the others.
    options |= {"cache": cache, "low_memory": low_memory, "stop_spinning": True}
    if not isinstance(requests, RequestLimits | None):
        raise UsageError(f"requests: got {type(requests).__name__}, expected RequestLimits(rows=..., waiting=...)")
    return with_bundle(path, lambda bundle: _open(bundle, device, backend, options, requests))


def _open(
    bundle: Bundle, device: str, backend: str | None, options: Mapping[str, Any], requests: RequestLimits | None
) -> Generator:
    wiring = GraphIO.of(bundle, options["precision"])

    def open_one(graph: str, first: Session | None) -> Session:
        # All on the device and by the backend that the first one found.
        at, by = (device, backend) if first is None else (first.device, first.backend)
        return open_session(bundle, at, by, graph=graph, **options)

    return Generator(bundle, wiring, Sessions.opened(wiring, open_one), requests)


class Generator:
    """An open generator. One call of `generate` at a time: that of another thread waits. Requests that are submitted are written
    together, and take turns with such calls. A context manager, or `close` it.

    inputs           TensorSpecs of what `generate` takes: the encoder's inputs, or tokens and tokens_mask
    max_length       most tokens of a row, prompt included
    backend, device  who runs it, and where
    choice           both and the precision, and whether "auto" left a GPU unused; one line
    passed_over      why none of the other backends and devices, a sentence each
    unused_gpu       the name of a GPU that is here and that "auto" could not use; None where there is none
    precision        which of the bundle's precisions it runs
    """

    def __init__(
        self, bundle: Bundle, wiring: GraphIO, sessions: Sessions, requests: RequestLimits | None = None
    ) -> None:
        self.bundle, self.wiring, self.where = bundle, wiring, wiring.where
        self._sessions: Sessions | None = sessions
        self.inputs = wiring.inputs
        self.max_length, self.vocabulary = wiring.max_length, wiring.vocabulary
        # The first that was opened chose for all; the others were opened by that name.
        told = sessions.encoder or sessions.first
        self.backend, self.device, self.choice = told.backend, told.device, told.choice
        self.passed_over, self.unused_gpu = told.passed_over, told.unused_gpu
        self.precision = sessions.first.precision
        self._memory = memory_of(sessions.all())
        self._plans = Plans(wiring, sessions, self._memory, _MOST_PLANS)
        self._turns = Turns()
        self._server = Server(wiring, sessions, self._memory, self._turns, requests or RequestLimits())
        self._process = os.getpid()
        self._recorder = RequestRecorder()

    def generate(
        self,
        inputs: Mapping[str, Any],
        options: GenerateOptions | None = None,
        on_token: Callable[[int, int], object] | None = None,
        cancel: Event | Callable[[], object] | None = None,
    ) -> Generated:
        """Answers for a batch of prompts.

        inputs    numpy arrays by name, as `inputs` tells. Of a decoder-only model: tokens int64 [rows, prompt], padded at the
                  end, and tokens_mask bool of the same shape, which may be left out where no row is padded
        on_token  called with (row, token) for each token as it is chosen, the stop token included; with one beam
        cancel    looked at before each step: once it is set (or answers true), what is there is returned

        A row's answer does not depend on the rows beside it. Raises InputError for inputs that the graphs do not take,
        UsageError for options that the model can't follow, BackendError when a graph fails or answers NaN.
        """
        self._check_process()
        with self._recorder.request() as record:
            return record.answered(self._generate(inputs, options, on_token, cancel, record.token_came))

    def _generate(
        self,
        inputs: Mapping[str, Any],
        options: GenerateOptions | None,
        on_token: Callable[[int, int], object] | None,
        cancel: Event | Callable[[], object] | None,
        prompts_read: Callable[[], object],
    ) -> Generated:
        started = time.perf_counter()
        settings = self.settings(options)
        arguments.expect_call("on_token", on_token, 0, 0)
        is_cancelled = check_cancel(cancel)
        if on_token is not None and settings.beams > 1:
            raise UsageError(
                "on_token: the tokens of a beam search are known when it is over; take one beam to follow them"
            )
        source, tokens, lengths = self._checked(inputs, settings)
        limits = self._limits(settings, lengths)
        shape = Shape(len(lengths), settings.beams, tokens.shape[1], tuple((n, v.shape) for n, v in source.items()))
        with self._alone():
            stops = self._stops(settings)
            answers = Answers(limits, stops, self.wiring.pad)
            if not answers.active.any():
                return of_answers(answers, np.zeros(len(lengths)), settings, time.perf_counter() - started)
            rules = self._rules(settings, source, tokens, lengths, limits)
            plan = self._plan(shape)
            logits = plan.start(source, tokens, lengths)
            prompts_read()  # the first tokens are the likeliest of these
            if settings.beams > 1:
                search = BeamSearch(limits, stops, self.wiring.pad, settings, rules)
                search.generate(plan, logits, self.where, is_cancelled)
                return Generated(*search.result(), search.steps, time.perf_counter() - started)
            if settings.lookup:
                prompts = _rows(tokens, lengths)
                drafts = drafts_of(prompts, self._sources(source) if source else (), settings.lookup)
                guessed = Guessed(limits, stops, self.wiring.pad, self.max_length, prompts, drafts, self.where, rules)
                sums = guessed.generate(plan, logits, on_token, is_cancelled, settings.scores)
                scores = None if sums is None else scores_of(sums, guessed.lengths, settings)
                return guessed.result(scores, time.perf_counter() - started)
            choosing = self._choosing(settings, answers, rules)
            generate_each(plan, logits, choosing, on_token, is_cancelled)
            return of_answers(answers, choosing.sums, settings, time.perf_counter() - started)

    def submit(
        self,
        inputs: Mapping[str, Any],
        options: GenerateOptions | None = None,
        on_token: Callable[[int], object] | None = None,
        deadline: float | None = None,
    ) -> Request[Generated]:
        """Have one prompt answered beside others that were submitted, each of which comes and goes by itself. Returns at once.

        inputs    as `generate` takes them, of one row
        options   the same; with one beam
        on_token  called with each token as it is chosen, by the thread that writes all requests, which waits for it
        deadline  seconds from now after which it ends with the tokens that there are

        The tokens are those that `generate` gives for this prompt alone. Requests are begun in the order in which they come.
        Raises InputError and UsageError as `generate` does; UsageError for beams, and where too many requests wait already.
        """
        self._check_process()
        with self._recorder.request() as record:
            settings = self.settings(options)
            arguments.expect_call("on_token", on_token, 0)
            arguments.expect(arguments.Kind("seconds, 0 or more", _is_time) | arguments.NONE, deadline=deadline)
            settings.check_submitted(self.where)
            source, tokens, lengths = self._checked(inputs, settings)
            if len(lengths) != 1:
                raise InputError(
                    f"submit: got {len(lengths)} rows, expected one; submit a request for each ({self.where})"
                )
            limits = self._limits(settings, lengths)
            # Copies: the caller may write into the arrays before the request has its turn.
            source = {name: value.copy() for name, value in source.items()}
            prompt = Prompt(source, tokens[:, : lengths[0]].copy(), limits[0])
            rules = self._rules(settings, source, tokens, lengths, limits)
            answers = Answers(limits, self._stops(settings), self.wiring.pad)
            row = SubmittedRow(self._choosing(settings, answers, rules), settings, rules is None)
            request = Request(self._server, prompt, row, on_token, deadline)
            if limits[0]:
                self._server.submit(request)
            else:
                request.end(None)
            return record.followed(request)

    def stats(self) -> GeneratorStats:
        """How many requests there were, how many tokens were written for them, and how long they took; what is there now."""
        self._check_process()
        labels = {"generator": self.where, "backend": self.backend, "device": self.device}
        labels |= {"precision": self.precision} if self.precision else {}
        return self._recorder.read(self._server.waiting, labels)

    def settings(self, options: GenerateOptions | None = None) -> Settings:
        """What `generate` does with these options: the bundle's defaults stand where they say nothing."""
        return Settings.of(known_options(options), self.wiring.rules, self.wiring.stop, self.where)

    def check(self, inputs: Mapping[str, Any], options: GenerateOptions | None = None) -> None:
        """Raises what `generate` would raise before it runs a graph: InputError and UsageError. A server asks of each request
        alone, before it is generated together with those of others."""
        settings = self.settings(options)
        self._limits(settings, self._checked(inputs, settings)[2])

    def follow(
        self,
        inputs: Mapping[str, Any],
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        length_penalty: float = 1.0,
        max_length: int | None = None,
        *,
        ruled: bool = True,
    ) -> Followed:
        """What answers that are given would have scored, and which of their tokens would have been chosen: tokens int64
        [rows, length], of which `lengths` [rows] count.

        The rules are the bundle's, none where not `ruled`: the scores are then the model's own, whatever is done with them.
        `max_length` is what was asked for, where a forced end stands. Raises InputError for answers that the model has no room
        or no tokens for, and what `generate` does.
        """
        settings = self.settings(GenerateOptions(max_length, 1, length_penalty, sample=False))
        for name, array, rank in (("tokens", tokens, 2), ("lengths", lengths, 1)):
            if not (isinstance(array, np.ndarray) and array.dtype.kind in "iu" and array.ndim == rank):
                raise InputError(
                    f"{name}: got {arguments.shown(array)}, expected int64 of {rank} axes in a numpy array ({self.where})"
                )
        source, prompt, prompts = self._prompts(inputs, settings)
        if not len(prompts) == len(lengths) == len(tokens) > 0:
            raise InputError(
                f"got {len(prompts)} prompts, {len(tokens)} rows of tokens and {len(lengths)} lengths, expected as many of "
                f"each ({self.where})"
            )
        wrong = (lengths > self.max_length - np.array(prompts)) | (lengths > tokens.shape[1])
        counts = np.arange(tokens.shape[1]) < lengths[:, None]
        wrong |= (counts & ((tokens < 0) | (tokens >= self.vocabulary))).any(1)
        if len(lengths) > self.most_rows or wrong.any():
            raise InputError(
                f"answers of {lengths.max()} tokens in {len(lengths)} rows; expected up to {self.most_rows} rows, "
                f"{self.max_length} tokens with the prompt, each of 0..{self.vocabulary - 1} ({self.where})"
            )
        shape = Shape(len(lengths), 1, prompt.shape[1], tuple((n, v.shape) for n, v in source.items()))
        with self._alone():
            given = Given(np.where(counts, tokens, self.wiring.pad))
            answers = Answers(lengths.tolist(), np.zeros(self.vocabulary, bool), self.wiring.pad)
            if not answers.active.any():
                return Followed(np.zeros(len(lengths)), given.behind, given.own)
            plan = self._plan(shape)
            logits = plan.start(source, prompt, prompts)
            rules = None
            if ruled:
                rules = self._rules(settings, source, prompt, prompts, self._limits(settings, prompts))
            choosing = Choosing(answers, given, self.where, True, rules)
            generate_each(plan, logits, choosing)
            assert choosing.sums is not None
            return Followed(scores_of(choosing.sums, lengths, settings), given.behind, given.own)

    @property
    def most_rows(self) -> int:
        """Rows of the step that fit in one call: a batch has at most so many over the number of beams."""
        return self.wiring.most_rows

    def asset(self, name: str) -> Any | None:
        """The parsed JSON of an asset of the bundle; None without one."""
        arguments.expect(arguments.TEXT, name=name)
        return self.bundle.asset(name)

    def close(self) -> None:
        """Let go of the engines and buffers. Closing twice is closing once."""
        if self._process != os.getpid():
            return  # the parent's, and so are the threads that closing would wait for
        self._check_free()
        self._server.close()
        with self._alone():
            sessions, self._sessions = self._sessions, None
            self._plans.clear()
            if sessions is not None:
                sessions.close()

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise arguments.not_copied(f"the generator on {self.where}", "open it again from its path, with open_generator")

    def __repr__(self) -> str:
        return f"<Generator {self.where}: {self.backend} on {self.device}>"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One generation at a time. UsageError for what would wait for ever: one inside another (in on_token, in cancel),
        and one in a process that was forked, where neither the engines' threads are nor who holds the lock.
        """
        self._check_process()
        self._check_free()
        self._turns.take()
        try:
            yield
        finally:
            self._turns.give()

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise UsageError(forks.opened_before("generator", self.where))

    def _check_free(self) -> None:
        if self._turns.mine:
            raise UsageError(
                f"the generator on {self.where} is in use: on_token and cancel can't call it; open another"
            )

    def _stops(self, settings: Settings) -> NDArray[np.bool_]:
        """Which tokens end an answer."""
        stops = np.zeros(self.vocabulary, bool)
        stops[list(settings.stop)] = True
        return stops

    def _choosing(self, settings: Settings, answers: Answers, rules: ScoreRules | None) -> Choosing:
        choose = Sampler(settings.sample, len(answers.lengths)) if settings.sample else likeliest
        return Choosing(answers, choose, self.where, settings.scores, rules)

    def _limits(self, settings: Settings, lengths: Sequence[int]) -> list[int]:
        """Most tokens of each answer, behind prompts of these lengths."""
        return [settings.limit(length, self.max_length - length, self.where) for length in lengths]

    def _rules(
        self,
        settings: Settings,
        source: Mapping[str, NDArray[Any]],
        tokens: NDArray[np.int64],
        lengths: Sequence[int],
        limits: Sequence[int],
    ) -> ScoreRules | None:
        if not (settings.has_rules or settings.encoder_no_repeat_ngram):
            return None
        prompts = _rows(tokens, lengths)
        return ScoreRules.of(settings, prompts, limits, self.where, self._sources(source) if source else prompts)

    def _sources(self, source: Mapping[str, NDArray[Any]]) -> list[list[int]]:
        """The tokens of each row that the encoder reads, without padding; empty for an encoder of pictures or sounds."""
        names = self.wiring.source_tokens
        if names is None:
            return []
        tokens = source[names[0]]
        mask = np.ones(tokens.shape, bool) if names[1] is None else source[names[1]]
        return [row[seen].tolist() for row, seen in zip(tokens, mask, strict=True)]

    def _plan(self, shape: Shape) -> StepGraphs:
        if self._sessions is None:
            raise UsageError(f"the generator on {self.where} is closed; open another")
        return self._plans.of(shape)

    def _checked(
        self, inputs: Mapping[str, Any], settings: Settings
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], list[int]]:
        """`_prompts` of inputs that go with `settings`."""
        settings.check(self.vocabulary, self.where)
        settings.check_lookup(self.wiring.most_guessed, self.where)
        source, tokens, lengths = self._prompts(inputs, settings)
        if settings.lookup and self.wiring.one_place and len(lengths) > 1:
            raise UsageError(
                f"lookup: got {len(lengths)} rows; all rows of this model stand at one place, and more is guessed right of "
                f"one than of another: give one row at a time, or leave lookup out ({self.where})"
            )
        if settings.sample is not None:
            settings.sample.seeds(len(lengths))
        if len(lengths) * settings.beams > self.most_rows:
            raise InputError(
                f"got {len(lengths)} rows"
                + f" of {settings.beams} beams" * (settings.beams > 1)
                + f"; the graphs take up to "
                f"{self.most_rows} rows: give fewer, or re-export with a larger batch ({self.where})"
            )
        return source, tokens, lengths

    def _prompts(
        self, inputs: Mapping[str, Any], settings: Settings
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], list[int]]:
        """The encoder's inputs, the tokens [rows, prompt] that answers start from, and how many of each row count."""
        if not isinstance(inputs, Mapping):
            raise InputError(f"got {type(inputs).__name__}; expected a mapping from input name to array ({self.where})")
        arrays: dict[str, Any] = {name: as_array(name, value, self.where) for name, value in inputs.items()}
        if self.wiring.encoder is None and "tokens" in arrays:
            arrays.setdefault("tokens_mask", np.ones(arrays["tokens"].shape, bool))
        check_shapes(self.inputs, {name: signature(value) for name, value in arrays.items()}, self.where)
        for spec in self.inputs:
            self._check_values(spec, arrays[spec.name])
        if settings.begin is not None:
            rows = next(iter(arrays.values())).shape[0]
            return arrays, np.tile(np.array(settings.begin, np.int64), (rows, 1)), [len(settings.begin)] * rows
        tokens, mask = arrays["tokens"], arrays["tokens_mask"]
        lengths = mask.sum(1)
        if (mask != (np.arange(mask.shape[1]) < lengths[:, None])).any():
            raise InputError(f'input "tokens_mask": expected every row padded at its end alone ({self.where})')
        if (lengths == 0).any():
            row = int(np.flatnonzero(lengths == 0)[0])
            raise InputError(
                f'input "tokens": row {row} is empty; expected a prompt of one token or more ({self.where})'
            )
        if lengths.max() > self.max_length:
            raise InputError(
                f'input "tokens": a prompt of {lengths.max()} tokens; the model takes rows of up to {self.max_length}, answer '
                f"included ({self.where})"
            )
        if self.wiring.one_place and lengths.min() < lengths.max():
            raise InputError(
                f'input "tokens": prompts of {lengths.min()}..{lengths.max()} tokens; all rows of this model stand at one place: '
                f"give prompts of one length, or one at a time ({self.where})"
            )
        return {}, tokens, lengths.tolist()

    def _check_values(self, spec: TensorSpec, value: NDArray[Any]) -> None:
        """A token that the table lacks would be read beyond its end on a GPU."""
        low, high = spec.low, spec.high
        if spec.name == "tokens" and self.wiring.encoder is None:
            low, high = 0, self.vocabulary
        if value.size and ((low is not None and value.min() < low) or (high is not None and value.max() >= high)):
            raise InputError(
                f'input "{spec.name}": values {value.min()}..{value.max()}; expected {low}..{None if high is None else high - 1} '
                f"({self.where})"
            )


def _rows(tokens: NDArray[np.int64], lengths: Sequence[int]) -> list[list[int]]:
    """Without what they are padded with."""
    return [row[:length].tolist() for row, length in zip(tokens, lengths, strict=True)]


def _is_time(value: object) -> bool:
    return arguments.is_number(value) and float(value) >= 0  # type: ignore[arg-type]
