"""Pictures of inputs and answers: of the user's own inputs as the runtime answers them, of golden cases as PyTorch did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from attn_runtime import classify, generate_texts, transcribe
from attn_runtime.bundle import Arrays, Bundle
from attn_runtime.generate import GeneratedCase, generated_cases
from attn_runtime.page import Content, Html, bar, joined, paragraph, table, tag
from attn_runtime.preprocess import Text, open_text
from numpy.typing import NDArray

from .viewer import Given, drawn, picture, pixels_of, waveform

_CLASSES = 5  # of an answer, the likeliest
_TENSORS = 6  # of a graph, on either side
_ROWS = 6  # of generated cases


def told(bundle: Bundle, given: Sequence[Given]) -> Html:
    if any(each.own for each in given):
        return joined(part for each in given for part in _own(bundle, each))
    if bundle.manifest.get("generation"):
        return _generated(bundle)
    intro = paragraph("Row 0 of a golden case: inputs that were drawn from a seed, and what PyTorch answered.", "soft")
    return joined([intro, *(part for each in given for part in _golden(bundle, each))]) if given else Html()


def _own(bundle: Bundle, given: Given) -> Iterator[Content]:
    yield tag("h3", given.title)
    yield from (_input(bundle, name, array) for name, array in given.arrays.items())
    yield _answered(bundle, str(given.source))


def _answered(bundle: Bundle, source: str) -> Html:
    """What the bundle says to the user's input: a text, or the likeliest classes; nothing of arrays."""
    has = {name for name in ("audio", "ctc", "generation", "text", "labels") if bundle.asset(name) is not None}
    if source.endswith(".npz"):
        return Html()
    if "audio" in has and has & {"ctc", "generation"}:
        return paragraph(f"→ {transcribe(bundle.path, [source], device='cpu').recordings[0].text}", limit=2000)
    if {"generation", "text"} <= has:
        return paragraph(f"→ {generate_texts(bundle.path, [source], device='cpu').answers[0].text}", limit=2000)
    if "labels" not in has or not _classifies(bundle):
        return Html()
    guesses = classify(bundle.path, [source], device="cpu", top=_CLASSES).inputs[0].guesses
    rows = [(each.label, f"{each.probability:.1%}", bar(each.probability)) for each in guesses]
    return table(("class", "probability", ""), rows, numbers=(1,))


def _classifies(bundle: Bundle) -> bool:
    """Whether it answers a row of scores, and not tags or boxes."""
    maps = {entry["output"] for entry in bundle.asset("attention_maps") or ()}
    ranks = [len(spec.dims) for graph in bundle.graphs.values() for spec in graph.outputs if spec.name not in maps]
    return ranks == [2]


def _golden(bundle: Bundle, given: Given) -> Iterator[Content]:
    yield tag("h3", given.title)
    rows = [(tag("code", name), _input(bundle, name, array)) for name, array in _some(given.arrays)]
    yield table(("input", ""), rows)
    maps = {entry["output"] for entry in bundle.asset("attention_maps") or ()}
    answers = {name: array for name, array in given.answers.items() if name not in maps}
    yield table(("PyTorch's answer", ""), [(tag("code", n), _answer(bundle, a, answers)) for n, a in _some(answers)])


def _some(arrays: Arrays) -> list[tuple[str, NDArray[Any]]]:
    return [(name, array) for name, array in arrays.items() if array.size][:_TENSORS]


def _input(bundle: Bundle, name: str, array: NDArray[Any]) -> Html:
    image, audio, text = (bundle.asset(kind) for kind in ("image", "audio", "text"))
    if image is not None and image["input"] == name and array.ndim == 4:
        return picture(pixels_of(array[0], image), f"the picture {name}")
    if audio is not None and audio["input"] == name:
        return waveform(array[0], f"the recording {name}")
    if text is not None and text["input"] == name and bundle.asset("tokenizer") is not None:
        return tag("span", " ".join(open_text(bundle).names(array[0])), limit=600)
    return drawn(array, name)


def _answer(bundle: Bundle, array: NDArray[Any], answers: Mapping[str, Any]) -> Html:
    """The greatest scores by the names of their classes, where the bundle is a classifier."""
    labels = bundle.asset("labels")
    if labels is None or len(answers) != 1 or array.ndim != 2 or array.shape[1] != len(labels):
        return drawn(array, "the answer")
    scores = array[0].astype(np.float64)
    best = np.argsort(-scores, kind="stable")[:_CLASSES]
    span = float(scores[best[0]] - scores.min()) or 1.0
    rows = [(labels[i], f"{scores[i]:.3f}", bar(float(scores[i] - scores.min()) / span)) for i in best]
    return table(("class", "score", ""), rows, numbers=(1,))


def _generated(bundle: Bundle) -> Html:
    """Prompts and what PyTorch wrote, as texts where there is a tokenizer."""
    recipe = bundle.asset("text")
    if recipe is None or bundle.asset("tokenizer") is None:
        return Html()
    encoder, rows = open_text(bundle), []
    for case in generated_cases(bundle):
        rows += [(case.name, *_texts(encoder, recipe, case, row)) for row in range(min(len(case.lengths), _ROWS))]
    return table(("case", "prompt", "PyTorch's answer"), rows)


def _texts(encoder: Text, recipe: Mapping[str, Any], case: GeneratedCase, row: int) -> tuple[str, str]:
    prompt, mask = case.inputs.get(recipe["input"]), case.inputs.get(recipe["mask"] or "")
    if prompt is None:
        return "", encoder.decode(case.tokens[row][: case.lengths[row]])
    read = prompt[row] if mask is None else prompt[row][mask[row].astype(bool)]
    return " ".join(encoder.names(read)), encoder.decode(case.tokens[row][: case.lengths[row]])
