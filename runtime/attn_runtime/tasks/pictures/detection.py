"""Find things in pictures, with a bundle whose graph answers as DETR does: scores and boxes of a fixed number of queries.

`logits` is [batch, queries, classes] and `pred_boxes` [batch, queries, 4]: centre, width and height as shares of the tensor
(Carion et al. 2020, https://arxiv.org/abs/2005.12872). One class more than there are labels is "nothing", and the classes of a
query share a softmax; as many as labels are independent, each with a sigmoid (Zhu et al. 2021, deformable DETR).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import arguments
from ...errors import InputError, UsageError
from ...preprocess import frame_of, load_picture, prepare
from ...session import RunReport, Session, open_session, ran

Array = NDArray[Any]

_OUTPUTS = ("logits", "pred_boxes")


@dataclass(frozen=True)
class Box:
    """`left`, `top`, `right` and `bottom` are in pixels of the picture that was given, which they do not leave.

    `probability` is 0..1.
    """

    label: str
    index: int
    probability: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Detected:
    """One picture as it was given, its size in pixels as it is looked at, and what is in it, the likeliest first."""

    given: str
    height: int
    width: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Detection(RunReport):
    """What is in each picture with a probability of `threshold` or more."""

    inputs: tuple[Detected, ...]
    threshold: float

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": [
                {"input": i.given, "height": i.height, "width": i.width, "boxes": [vars(box) for box in i.boxes]}
                for i in self.inputs
            ],
            "threshold": self.threshold,
        } | self.told()


def detect(
    path: str | os.PathLike[str],
    inputs: Sequence[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    threshold: float = 0.5,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Detection:
    """Find what the pictures `inputs` show with the bundle at `path`; "-" is stdin. A box is kept from `threshold` (0..1) on.

    Raises InputError for the first picture that is missing or damaged, and then nothing was run, and for an answer that is
    not finite; UsageError where the bundle does not detect; and what `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.TEXTS, inputs=inputs)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UsageError(f"threshold: got {threshold}, expected 0 to 1")
    if not inputs:
        raise UsageError("nothing to look at: give a picture")
    with open_session(path, device, backend, graph=graph, precision=precision, threads=threads, cache=cache) as session:
        recipe, labels = detection_assets(session)
        pictures = [load_picture(file) for file in inputs]
        made = [prepare(picture, recipe) for picture in pictures]
        dim = session.inputs[0].dims[0]
        found: list[Detected] = []
        started, calls = time.perf_counter(), 0
        for first in range(0, len(made), dim.max):
            batch = made[first : first + dim.max]
            # A graph of a fixed batch is given the last one again.
            fed = np.concatenate([*batch, *[batch[-1]] * (dim.min - len(batch))])
            outputs = session.run({recipe["input"]: fed})
            calls += 1
            for row in range(len(batch)):
                picture = pictures[first + row]
                boxes = boxes_of(session, outputs, row, recipe, labels, picture.shape[:2], threshold)
                found.append(Detected(inputs[first + row], picture.shape[0], picture.shape[1], boxes))
        seconds = time.perf_counter() - started
        return Detection(tuple(found), float(threshold), **ran(session, calls, seconds))


def detection_assets(session: Session) -> tuple[Mapping[str, Any], Sequence[str]]:
    """The recipe of pictures and the labels; UsageError where the bundle does not detect."""
    recipe, labels = session.asset("image"), session.asset("labels")
    outputs = [spec.name for spec in session.outputs]
    if recipe is None or labels is None or any(name not in outputs for name in _OUTPUTS):
        assets = ", ".join(name for name, asset in (("image", recipe), ("labels", labels)) if asset is not None)
        raise UsageError(
            f"{session.where}: does not detect: expected the assets image and labels and the outputs {', '.join(_OUTPUTS)}, "
            f"found {assets or 'neither'} and {', '.join(outputs)}; attn-run run takes any model"
        )
    names = [spec.name for spec in session.inputs]
    if names != [recipe["input"]]:
        raise UsageError(
            f"{session.where}: takes {', '.join(names)}, and a picture gives {recipe['input']}; attn-run run takes an .npz with "
            "all of them"
        )
    return recipe, labels


def boxes_of(
    session: Session,
    outputs: Mapping[str, Array],
    row: int,
    recipe: Mapping[str, Any],
    labels: Sequence[str],
    size: tuple[int, int],
    threshold: float,
) -> tuple[Box, ...]:
    """What is in the picture of `size` (height, width) that is row `row` of a batch, the likeliest first."""
    logits, shares = (outputs[name][row].astype(np.float64) for name in _OUTPUTS)
    if logits.ndim != 2 or shares.shape != (len(logits), 4) or logits.shape[1] - len(labels) not in (0, 1):
        raise UsageError(
            f"{session.where}: got logits {list(logits.shape)} and pred_boxes {list(shares.shape)} of a picture, with "
            f"{len(labels)} labels, expected [queries, {len(labels)} or {len(labels) + 1}] and [queries, 4]"
        )
    if not (np.isfinite(logits).all() and np.isfinite(shares).all()):
        raise InputError(
            f"{session.where}: the answer is not finite, so nothing is found; attn-run run shows the outputs"
        )
    chances = _probabilities(logits, len(labels))
    edges = _pixels(shares, recipe, size)
    # As many as there are queries, whether a query has one class or several.
    best = np.argsort(-chances, axis=None, kind="stable")[: len(logits)]
    found = []
    for query, index in zip(*np.unravel_index(best, chances.shape), strict=True):
        if (chance := float(chances[query, index])) < threshold:
            break
        found.append(Box(labels[index], int(index), chance, *edges[query].tolist()))
    return tuple(found)


def _probabilities(logits: Array, labels: int) -> Array:
    """[queries, labels]; where a softmax has "nothing" at its end, 0 for all but the likeliest class of a query."""
    if logits.shape[1] == labels:
        return 0.5 * (1 + np.tanh(logits / 2))  # a sigmoid that does not overflow
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = powers[:, :-1] / powers.sum(axis=1, keepdims=True)
    shares[shares < shares.max(axis=1, keepdims=True)] = 0
    return shares


def _pixels(shares: Array, recipe: Mapping[str, Any], size: tuple[int, int]) -> Array:
    """[queries, (left, top, right, bottom)] in the picture, of centres and sizes as shares of the tensor."""
    (height, width), half = size, shares[:, 2:] / 2
    corners = np.stack([shares[:, :2] - half, shares[:, :2] + half], axis=1)  # [queries, 2, (x, y)]
    frame = frame_of(recipe, height, width)
    corners *= [recipe["width"], recipe["height"]]
    corners = (corners - [frame.left, frame.top]) / [frame.columns, frame.rows]
    return np.clip(corners, 0, [width, height]).reshape(-1, 4)
