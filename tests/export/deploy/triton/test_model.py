"""The model.py of a generator, asked for what it can't do by one client while others wait: that one gets its error alone, and
the others what they get without it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from attn_export.deploy.triton.repository_maker import TritonOptions, deploy_triton
from attn_runtime.generate import Generator
from attn_runtime.generate.graphs import Slots, StepGraphs
from attn_runtime.generate.serving.server import Server
from support.machines import triton_server as server
from support.models import tiny_generators as tiny
from support.models.tiny_texts import text_assets

WRITER = tiny.Tiny(layers=1, max_length=12, batch=8, encoder=False, seed=4, stop=())
TRANSLATOR = tiny.Tiny(layers=1, max_length=12, batch=8, seed=2)
BAD_ARGUMENT, INTERNAL = server.TritonError.INVALID_ARG, server.TritonError.INTERNAL


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for name, model, assets in (
        ("texts", WRITER, text_assets(WRITER)),
        ("tokens", WRITER, {}),
        ("sources", TRANSLATOR, {}),
    ):
        bundle = tiny.write_bundle(folder / f"{name}.attn", model, **assets)
        deploy_triton(bundle, folder / "repository", TritonOptions(name=name))
    return folder / "repository"


@pytest.fixture(scope="module")
def texts(served: Path) -> Iterator[Any]:
    with server.python_model(served / "texts") as model:
        yield model


@pytest.fixture(scope="module")
def tokens(served: Path) -> Iterator[Any]:
    with server.python_model(served / "tokens") as model:
        yield model


class Odd(server.Sender):
    """Raises at its responses of these numbers, the first being 0, and when it is asked whether the client is there."""

    def __init__(self, raises: tuple[int, ...] = (), silent: bool = False, gone: bool = False) -> None:
        super().__init__(0 if gone else None)
        self._raises, self._silent, self.tries = raises, silent, 0

    def send(self, response: server.InferenceResponse, flags: int = 0) -> None:
        self.tries += 1
        if self.tries - 1 in self._raises:
            raise RuntimeError("the client's pipe is closed")
        super().send(response, flags)

    def is_cancelled(self) -> bool:
        if self._silent:
            raise RuntimeError("no such request")
        return super().is_cancelled()


def odd(sender: server.Sender, **inputs: Any) -> server.Request:
    made = server.request(**inputs)
    made.sender = sender
    return made


def answer(request: server.Request) -> list[int] | str:
    """Its tokens, or its error; it ended, and once."""
    assert request.sender.ended
    last = request.sender.responses[-1]
    if last.error is not None:
        return str(last.error)
    told = [response.outputs["token"].item() for response in request.sender.responses]
    assert told.pop() == -1
    return told


def text(said: Any = "the cat", **inputs: Any) -> server.Request:
    return server.request(text=said, **inputs)


def row(*prompt: int, **inputs: Any) -> server.Request:
    return server.request(tokens=np.array([prompt], np.int64), **inputs)


def strings(*values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    return np.array(values, object).reshape(shape or (1, len(values)))


DRAW = {"temperature": 1.5}
NUMBERS = [np.array([[1.5, 1.5]], np.float32), np.zeros((1, 0), np.float32), np.array([[b"warm"]], object)]
BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    *[(DRAW | {"seed": seed}, "seed") for seed in (-1, -(2**63), np.array([[2**63]], np.uint64), 1.5)],
    *[({"temperature": value}, "temperature") for value in (0.0, -1.0, np.nan, np.inf, -np.inf, *NUMBERS)],
    *[(DRAW | {"top_k": value}, "top_k") for value in (0, -1, -(2**62), 2.5)],
    *[(DRAW | {"top_p": value}, "top_p") for value in (0.0, -0.5, 1.5, np.nan, np.inf)],
    *[({"max_length": value}, "max_length") for value in (-1, -3, 2**62, np.nan, 1.5)],
    *[({"beams": value}, "beams") for value in (0, -1, 9, 14, 5000, 2**40)],
    *[({"beams": 2, "length_penalty": value}, "length_penalty") for value in (np.nan, -1.0, np.inf, 1e9)],
    ({"beams": 2, **DRAW}, "beams and sampling"),
]


def together_as_alone(
    model: Any, bad: list[server.Request], neighbours: list[Any], searches: int = 0, submitted: int = 0
) -> list[str]:
    """Errors of `bad`, which come between the requests that `neighbours` make, whose answers they must not change; all of
    them take so many beam searches, and no step is taken before so many are submitted."""
    alone = []
    for make in neighbours:
        request = make()
        model.execute([request])
        alone.append(answer(request))
    requests = [make() for make in neighbours]
    count, there, submit, run = itertools.count(1), threading.Event(), Server.submit, Server._run

    def counted(self: Server, request: Any) -> None:
        submit(self, request)
        if next(count) >= submitted:
            there.set()

    def together(self: Server, owed: float) -> None:
        assert there.wait(timeout=60)
        run(self, owed)

    with (
        patch.object(Generator, "generate", autospec=True, side_effect=Generator.generate) as generate,
        patch.object(Server, "submit", counted),
        patch.object(Server, "_run", together) if submitted else nullcontext(),
    ):
        model.execute([requests[0], *bad, *requests[1:]])
    assert generate.call_count == searches
    assert [answer(request) for request in requests] == alone
    assert all(len(tokens) for tokens in alone)
    errors = [answer(request) for request in bad]
    assert all(isinstance(error, str) and error and "\n" not in error for error in errors), errors
    return errors  # type: ignore[return-value]


@pytest.mark.parametrize("drawn", [False, True])
def test_options_that_can_not_be_are_refused_alone(texts: Any, drawn: bool) -> None:
    neighbours = [lambda n=n: text(max_length=4, **({**DRAW, "seed": n} if drawn else {})) for n in range(3)]
    bad = [text(**{"max_length": 4, **options}) for options, _ in BAD_OPTIONS]
    errors = together_as_alone(texts, bad, neighbours)
    for error, (options, says) in zip(errors, BAD_OPTIONS, strict=True):
        assert says in error, (options, error)
    assert {request.sender.responses[-1].error.code for request in bad} == {BAD_ARGUMENT}


def test_texts_that_are_none_are_refused_alone(texts: Any) -> None:
    odd_texts = {
        "is empty": ["", "   "],
        "is no UTF-8": [strings(b"the \xff\xfe")],
        "has 50 tokens": ["cat " * 50],
        "2 values": [strings("the cat", "dog"), strings("the cat", "dog", shape=(2, 1))],
        "0 values": [strings(shape=(1, 0))],
        "expected a string": [np.array([[5]]), strings(None)],
    }
    errors = together_as_alone(texts, [text(said) for each in odd_texts.values() for said in each], [text, text])
    assert all(
        says in error for error, says in zip(errors, [s for s, each in odd_texts.items() for _ in each], strict=True)
    ), errors
    (missing,) = together_as_alone(texts, [server.request()], [text])
    assert "missing input text" in missing


def test_tokens_that_the_model_lacks_are_refused_alone(tokens: Any) -> None:
    def given(value: Any) -> server.Request:
        return server.request(tokens=value)

    bad = [
        row(3, 4, 99999), row(3, -1, 4), row(3, 2**62, 4), row(*[3] * 13), row(),
        given(np.array([[3, 4, 5]], np.int32)), given(np.array([[3, 4, 5]], np.float32)),
        given(np.array([3, 4, 5])), given(np.array(3)), given(np.array([[[3, 4, 5]]])), given(np.array([[3], [4]])),
        given(strings(b"a", b"b", b"c")),
    ]  # fmt: skip
    together_as_alone(tokens, bad, [lambda: row(3, 4, 5), lambda: row(6, 7, 8), lambda: row(9, 10, 11)])
    assert {request.sender.responses[-1].error.code for request in bad} == {BAD_ARGUMENT}


@pytest.mark.parametrize("options", [{}, DRAW | {"seed": 5}, {"beams": 2}])
def test_numbers_that_break_when_the_graphs_run_are_one_request_s(
    served: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a source that is masked everywhere: nothing shows before, and it came after tokens that the others were told."""
    advance, start, step = StepGraphs.advance, StepGraphs.start, Slots.step
    rows, empty = [], []

    def started(plan: StepGraphs, source: Any, *rest: Any) -> Any:
        beams = plan.rows // len(source["source_mask"])
        empty[:] = np.flatnonzero(np.repeat(~source["source_mask"].any(1), beams))
        rows.append(plan.rows)
        return start(plan, source, *rest)

    def advanced(plan: StepGraphs, *rest: Any) -> Any:
        logits = advance(plan, *rest)
        logits[empty] = np.nan
        return logits

    def stepped(slots: Slots, *rest: Any) -> Any:
        logits = step(slots, *rest)
        rows.append(slots.rows)
        assert slots._buffers is not None
        logits[~slots._buffers.carried["source_mask"][: slots.rows].any(1)] = np.nan
        return logits

    monkeypatch.setattr(Slots, "step", stepped)
    monkeypatch.setattr(StepGraphs, "start", started)
    monkeypatch.setattr(StepGraphs, "advance", advanced)

    def source(*given: int, mask: bool = True) -> server.Request:
        return server.request(
            source=np.array([given], np.int64), source_mask=np.full((1, len(given)), mask), max_length=6, **options
        )

    with server.python_model(served / "sources") as model:
        neighbours = [lambda: source(3, 4, 5), lambda: source(6, 7, 8), lambda: source(9, 10, 11)]
        bad = source(3, 4, 5, mask=False)
        beams = "beams" in options
        (error,) = together_as_alone(model, [bad], neighbours, 5 if beams else 0, 0 if beams else 4)
    assert max(rows) >= (4 if options.get("beams") else 3)  # they were generated together
    assert "logits" in error and bad.sender.responses[-1].error.code == INTERNAL


def test_a_bug_ends_every_request_once_and_the_server_goes_on(texts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a line\nand another")

    requests = [text(), text("dog"), text(beams=2)]
    with patch.object(Generator, "generate", fail), patch.object(Generator, "submit", fail):
        texts.execute(requests)
    for request in requests:
        assert answer(request) == "ZeroDivisionError; the server's log tells more"
        assert len(request.sender.responses) == 1 and request.sender.responses[-1].error.code == INTERNAL
    assert "a line" in capsys.readouterr().err
    afterwards = text()
    texts.execute([afterwards])
    assert isinstance(answer(afterwards), list)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_sender_that_raises_is_its_own_request_s(texts: Any, beams: int) -> None:
    def asked(sender: Odd | None = None) -> server.Request:
        inputs = {"text": "the cat", "max_length": 4, "beams": beams}
        return server.request(**inputs) if sender is None else odd(sender, **inputs)

    alone = asked()
    texts.execute([alone])
    broken = [Odd((0,)), Odd((2,)), Odd((4,)), Odd(silent=True)]
    dead = Odd(tuple(range(20)))
    good = [asked(), asked()]
    texts.execute([good[0], *map(asked, [*broken, dead]), good[1]])
    assert [answer(request) for request in good] == [answer(alone)] * 2
    for sender in broken:
        assert sender.ended and sender.responses[-1].error is not None
        assert not any(response.error for response in sender.responses[:-1])
    assert not dead.responses and dead.tries == 2  # once more, to say that it failed; then it is let be


def test_who_leaves_a_group_is_told_no_more_and_its_neighbours_as_before(texts: Any) -> None:
    alone = text()
    texts.execute([alone])
    leaves, stays = text(), text()
    leaves.sender = server.Sender(cancel_after=2)
    texts.execute([leaves, stays])
    assert answer(stays) == answer(alone) and len(answer(alone)) > 4
    *tokens, last = leaves.sender.responses
    assert answer(leaves) == answer(alone)[:2] and last.outputs["stopped"].item() == b"cancelled"
    pieces = b"".join(response.outputs["text"].item() for response in leaves.sender.responses)
    assert pieces == last.outputs["answer"].item() and len(tokens) == 2


def test_a_request_without_a_sender_is_let_be(texts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lost, good = text(), text()
    with patch.object(lost, "get_response_sender", side_effect=RuntimeError("it is gone")):
        texts.execute([lost, good])
    assert isinstance(answer(good), list) and not lost.sender.responses
    assert "it is gone" in capsys.readouterr().err


def test_who_left_before_the_start_is_not_generated_for(texts: Any) -> None:
    gone, good = Odd(gone=True), text()
    with (
        patch.object(Generator, "submit", autospec=True, side_effect=Generator.submit) as submit,
        patch.object(Generator, "generate") as generate,
    ):
        texts.execute([odd(gone, text="the cat"), good, odd(Odd(gone=True), text="dog", beams=2)])
    assert not generate.called
    ((_, inputs, *_),) = [call.args for call in submit.call_args_list]
    assert len(inputs["tokens"]) == 1 and isinstance(answer(good), list)
    (only,) = gone.responses
    assert gone.ended and only.outputs["stopped"].item() == b"cancelled"


def test_guesses_are_asked_for_where_the_bundle_can_check_them(tmp_path: Path, served: Path) -> None:
    """The same tokens as they are chosen, beside requests without."""
    guessing = replace(WRITER, max_length=30, extend=True, vocabulary=7, seed=5, sharpness=1.5)
    bundle = tiny.write_bundle(tmp_path / "a.attn", guessing)
    cache = tmp_path / "kept"
    (told,) = deploy_triton(bundle, tmp_path, TritonOptions(name="guessing", cache=str(cache)))
    assert "lookup" in [tensor.name for tensor in server.read_config(told.path).input]
    assert "lookup" not in [tensor.name for tensor in server.read_config(served / "texts").input]
    with server.python_model(told.path) as model:
        alone = row(3, 4, 3, 4, 3)
        model.execute([alone])
        guessed, beside = row(3, 4, 3, 4, 3, lookup=5), row(5, 6)
        gone = odd(server.Sender(3), tokens=np.array([[3, 4, 3, 4, 3]]), lookup=5)
        bad = [row(3, 4, lookup=8), row(3, 4, lookup=-1), row(3, 4, lookup=3, beams=2)]
        with patch.object(Generator, "generate", autospec=True, side_effect=Generator.generate) as generate:
            model.execute([guessed, *bad, row(3, 4, 5, lookup=0), beside, gone])
        assert [call.args[2].lookup for call in generate.call_args_list] == [5, 5]
    assert answer(guessed) == answer(alone) and len(answer(alone)) > 9
    assert answer(gone) == answer(alone)[:3] and gone.sender.responses[-1].outputs["stopped"].item() == b"cancelled"
    assert isinstance(answer(beside), list)
    for request, says in zip(bad, ("up to 7 guesses", "lookup: got -1", "2 beams are followed"), strict=True):
        assert says in answer(request)
    assert len(list((cache / "ort").iterdir())) == 3  # first, step and extend


def test_a_request_joins_what_is_being_written(served: Path) -> None:
    """It is answered, and shorter ones with it, while a long one goes on."""
    with server.python_model(served / "tokens") as settled:
        model, go_on = settled.model, threading.Event()

        class Slow(server.Sender):
            def send(self, response: server.InferenceResponse, flags: int = 0) -> None:
                super().send(response, flags)
                if len(self.responses) == 2:
                    begun.set()
                    assert go_on.wait(60)

        begun, slow, quick = (
            threading.Event(),
            odd(Slow(None), tokens=np.array([[3]]), max_length=9),
            row(4, 5, max_length=3),
        )
        alone = row(4, 5, max_length=3)
        settled.execute([alone])
        model.execute([slow])
        assert begun.wait(60)
        model.execute([quick])
        go_on.set()
        settled.execute([])
        assert answer(quick) == answer(alone) and len(answer(slow)) == 9
        assert slow.sender.ended
