"""Run the graphs of a bundle on one input of any kind, for the sake of what they looked at.

A translator or a language model answers first (`attn_runtime.generate`). Then the graphs that read whole texts, the encoder
and `first`, are run once on all of it: every word's weights at once, instead of a row with each step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import InputError, UsageError
from ..files import bytes_or_path, shown, source_name
from ..preprocess import Text, kind_of, open_text
from ..session import Session, open_session

Array = NDArray[Any]
Where = Mapping[str, Any]

_PADDING = "(padding)"


@dataclass
class Ran:
    """What came out, and what belongs to it.

    outputs  graph name -> its outputs
    read     input name -> the tokens of its row, as words, without padding
    answer   the words of the answer that were read, the token that begins it first
    written  the word that is written next at each of them
    title    the input and the answer, in words
    """

    title: str
    outputs: dict[str, dict[str, Array]] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=dict)
    answer: list[str] | None = None
    written: list[str] | None = None
    choice: str = ""
    passed_over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    picture: NDArray[np.uint8] | None = None
    samples: NDArray[np.float32] | None = None
    rate: int = 0


def run_graphs(
    bundle: Bundle,
    given: str | Mapping[str, Array],
    wanted: Collection[str],
    where: Where,
    max_length: int | None,
) -> Ran:
    """Run what is needed for the outputs of the graphs `wanted`. `given` is a file, a text for a model of texts, or arrays by the
    names of the inputs, of which row 0 counts; `where` goes to `open_session` and `open_generator`; `max_length` is the most
    tokens of an answer, for a model that writes."""
    if bundle.asset("generation") is not None and (recipe := bundle.asset("text")) is not None:
        return _generate(bundle, recipe, given, wanted, where, max_length)
    if max_length is not None:
        raise UsageError(f"max_length: bundle {bundle.path.name} writes nothing; leave it out")
    graph = bundle.graph(None if len(bundle.graphs) == 1 else next(iter(sorted(wanted))))
    with open_session(bundle, graph=graph.name, **where) as session:
        ran, feed = _feed(bundle, given, session)
        ran.outputs[graph.name] = session.run(feed)
        ran.choice, ran.passed_over = session.choice, session.passed_over
        ran.title += _answer(session, ran.outputs[graph.name])
    return ran


def _feed(bundle: Bundle, given: str | Mapping[str, Array], session: Session) -> tuple[Ran, dict[str, Array]]:
    """The inputs of a model of one graph."""
    if not isinstance(given, str):
        return _of_arrays(bundle, given), dict(given)
    file = bytes_or_path(given, "input") if bundle.asset("text") is None else Path(given)
    name = source_name(file)
    if kind_of(file) == "arrays":
        from .file_run import load_npz

        arrays = load_npz(file)
        return replace(_of_arrays(bundle, arrays), title=name), arrays
    if (recipe := bundle.asset("image")) is not None:
        from ..preprocess import load_image, load_picture

        return Ran(name, picture=load_picture(file)), {recipe["input"]: load_image(file, recipe)}
    if (recipe := bundle.asset("audio")) is not None:
        from ..preprocess import load_audio

        dim = {s.name: s.dims for s in session.inputs}[recipe["input"]][1]
        wave = load_audio(file, recipe, dim.min, dim.max)
        ran = Ran(name, notes=wave.notes, samples=wave.samples[0], rate=recipe["sample_rate"])
        return ran, {recipe["input"]: wave.samples}
    if (recipe := bundle.asset("text")) is not None:
        _, words, feed = _text(bundle, given)
        return Ran(_short(given), read={recipe["input"]: words}), feed
    names = ", ".join(s.name for s in session.inputs)
    raise UsageError(
        f"{given}: {session.where} tells of no way from an image, a recording or a text to its inputs; give an .npz with {names}"
    )


def _of_arrays(bundle: Bundle, arrays: Mapping[str, Array]) -> Ran:
    """What row 0 of `arrays` shows: its words or its samples, where the bundle says which input has them."""
    ran = Ran("arrays")
    if (recipe := bundle.asset("text")) is not None and recipe["input"] in arrays:
        words = _words(open_text(bundle), recipe, arrays)
        ran.title, ran.read = _short(" ".join(words)), {recipe["input"]: words}
    elif (recipe := bundle.asset("audio")) is not None and recipe["input"] in arrays:
        ran.samples, ran.rate = arrays[recipe["input"]][0], recipe["sample_rate"]
    return ran


def _words(encoder: Text, recipe: Mapping[str, Any], arrays: Mapping[str, Array]) -> list[str]:
    """The tokens of row 0 without the padding behind them; padding that stands before or between them is named so."""
    tokens = arrays[recipe["input"]][0]
    mask = arrays.get(recipe["mask"]) if recipe["mask"] else None
    if mask is None:
        return encoder.names(tokens)
    read = np.flatnonzero(mask[0])
    if not len(read):
        raise InputError(f"{recipe['mask']}: row 0 is padding alone; there is nothing to look at")
    end = int(read[-1]) + 1
    return [name if there else _PADDING for name, there in zip(encoder.names(tokens[:end]), mask[0][:end], strict=True)]


def _answer(session: Session, outputs: Mapping[str, Array]) -> str:
    """The likeliest class of row 0, where there are classes."""
    from .file_run import top_classes

    guesses = top_classes(session, outputs, 1)
    return f": {guesses[0][0].label}, {guesses[0][0].probability:.1%}" if guesses else ""


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(bundle: Bundle, text: str) -> tuple[Text, list[str], dict[str, Array]]:
    """The tokenizer, the tokens of a text as words, and the inputs of one row."""
    encoder = open_text(bundle)
    tokens, mask = encoder.encode([text])
    return encoder, encoder.names(tokens[0, mask[0]]), encoder.inputs([text])


def _generate(
    bundle: Bundle,
    recipe: Mapping[str, Any],
    given: str | Mapping[str, Array],
    wanted: Collection[str],
    where: Where,
    max_length: int | None,
) -> Ran:
    from ..generate import GenerateOptions, open_generator

    if isinstance(given, str):
        encoder, words, feed = _text(bundle, given)
    else:
        if recipe["input"] not in given:
            raise InputError(f"got arrays {', '.join(map(shown, given))}; expected {shown(recipe['input'])} among them")
        encoder, feed = open_text(bundle), {name: array[:1] for name, array in given.items()}
        words = _words(encoder, recipe, feed)
        given = " ".join(words)
    with open_generator(bundle, **where) as generator:
        answer = generator.generate(feed, GenerateOptions(max_length=max_length)).row(0)
        wiring, choice, passed_over = generator.wiring, generator.choice, generator.passed_over
    if not answer:
        raise InputError("the answer is empty; there is nothing to look at")
    title = f"{_short(given)} → {_short(encoder.decode(answer))}"
    ran = Ran(title, choice=choice, passed_over=passed_over, read={recipe["input"]: words})
    known: dict[str, Array] = dict(feed)
    if wiring.encoder is not None:
        known |= _run(bundle, wiring.encoder.name, known, wanted, ran, where)
    # The last token of the answer is written and never read.
    prompt = (
        feed[recipe["input"]][feed[recipe["mask"]]].tolist() if wiring.rules.begin is None else [*wiring.rules.begin]
    )
    tokens, written = [*prompt, *answer[:-1]], [*prompt, *answer][1:]
    most = wiring.first.inputs["tokens"].dims[1].max
    if len(tokens) > most:
        ran.notes += (
            f"graph {wiring.first.name} reads {most} tokens at once: {len(tokens) - most} at the end are left out",
        )
    tokens, written = tokens[:most], written[:most]
    known |= {"tokens": np.array([tokens], np.int64), "tokens_mask": np.ones((1, len(tokens)), bool)}
    _run(bundle, wiring.first.name, known, wanted, ran, where)
    ran.read["tokens"] = ran.answer = encoder.names(tokens)
    ran.written = encoder.names(written)
    return ran


def _run(
    bundle: Bundle, graph: str, known: Mapping[str, Array], wanted: Collection[str], ran: Ran, where: Where
) -> dict[str, Array]:
    with open_session(bundle, graph=graph, **where) as session:
        outputs = session.run({s.name: known[s.name] for s in session.inputs})
    if graph in wanted:
        ran.outputs[graph] = outputs
    return outputs
