"""Which sites may be quantised: found by what each does to the answers, not listed.

First every site is quantised alone, at the case where all of them together are furthest off. Sites that move the answers most
are left first, as few as it takes for the answers to hold at every case; then some are tried again. What comes of fewer and of
more is the front that a user chooses from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle import Arrays, Case
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from onnx import numpy_helper
from safetensors.numpy import load_file

from ...parity import Check, ReferenceSet, check_case, worst
from ..layerwise import probe
from .sites import Site
from .switches import FLAGS, add_switches, weight_input
from .weights import ELEMENTS, Weights, as_stored, key

#: Seconds for measuring each site alone; a graph too slow for it has neighbouring sites measured together.
BUDGET_SECONDS = 120.0
#: Groups of left sites that are tried again once the answers hold.
_MOST_DROPS = 12
#: Points of the front besides the one that was chosen.
_POINTS = 4


@dataclass(frozen=True)
class Point:
    """One choice: the sites that are left as they are, by node, and how far off the answers are then.

    ratio       max|error| / limit over all cases
    error       of max|reference|
    agreement   of a classifier or a generator's logits: the share of rows with the reference's class; None for others
    """

    left: tuple[str, ...]
    ratio: float
    error: float
    agreement: float | None

    def holds(self, least_agreement: float | None) -> bool:
        return _holds(self, least_agreement)


@dataclass(frozen=True)
class Search:
    """alone   by node, what quantising that site alone does, as a share of the limit, the worst first
    chosen  the point with the fewest sites left whose answers hold; None where none does
    front   further points, from all quantised to few
    """

    alone: Mapping[str, float]
    chosen: Point | None
    front: tuple[Point, ...]


@dataclass(frozen=True)
class Aim:
    """What the answers must hold to: the limit of an error, and the least share of rows with the reference's class."""

    tolerance: Tolerance
    agreement: float | None = None
    outputs: tuple[str, ...] = ()  # whose classes count

    def to_json(self) -> dict[str, Any]:
        return {"tolerance": self.tolerance.to_json(), "agreement": self.agreement, "outputs": list(self.outputs)}


def search(
    source: Path,
    sites: Sequence[Site],
    kind: str,
    activations: str,
    weights: Path,
    block: int | None,
    scales: Mapping[str, float],
    record: ReferenceSet,
    aim: Aim,
    isolated: ChildProcess,
) -> Search:
    """`weights` is the file of rounded ones, `scales` of static activations, by tensor. Raises what `ChildProcess.run` does."""
    found = isolated.run(
        "attn_export.precision.quantised.site_search:search_here",
        "measuring each quantised weight",
        source=str(source),
        sites=[site.to_json() for site in sites],
        kind=kind,
        activations=activations,
        weights=str(weights),
        block=block,
        scales=dict(scales),
        cases=[[case.name, str(case.inputs), str(case.outputs)] for case in record.cases],
        aim=aim.to_json(),
        budget=min(BUDGET_SECONDS, isolated.seconds / 4),
    )
    points = [Point(tuple(left), ratio, error, agreement) for left, ratio, error, agreement in found["points"]]
    chosen = None if found["chosen"] is None else points[found["chosen"]]
    return Search(found["alone"], chosen, tuple(p for p in points if p is not chosen))


def search_here(
    source: str,
    sites: list[dict[str, Any]],
    kind: str,
    activations: str,
    weights: str,
    block: int | None,
    scales: dict[str, float],
    cases: list[list[str]],
    aim: dict[str, Any],
    budget: float,
) -> dict[str, Any]:
    """The task of the child process."""
    places = [Site.from_json(entry) for entry in sites]
    answers = _Answers(source, places, kind, activations, Weights.read(Path(weights), kind, block), scales, cases, aim)
    everything = frozenset(range(len(places)))
    full = answers.measure(everything)
    alone = _alone(answers, budget)
    order = sorted(everything, key=lambda i: (-alone[i], i))
    points: list[tuple[frozenset[int], Measured]] = [(frozenset(), full)]

    def at(left: frozenset[int]) -> Measured:
        known = next((m for before, m in points if before == left), None)
        if known is None:
            known = answers.measure(everything - left)
            points.append((left, known))
        return known

    chosen = _fewest(order, at, answers.holds)
    if chosen is not None:
        chosen = _tried_again(chosen, order, at, answers.holds)
    for share in range(1, _POINTS + 1):
        at(frozenset(order[: len(order) * share // (2 * _POINTS)]))
    front = _front(points, chosen)
    return {
        "alone": {places[i].node: alone[i] for i in order},
        "points": [[[places[i].node for i in sorted(left)], m.ratio, m.error, m.agreement] for left, m in front],
        "chosen": None if chosen is None else [left for left, _ in front].index(chosen),
    }


@dataclass(frozen=True)
class Measured:
    ratio: float
    error: float
    agreement: float | None
    worst_case: int


def _holds(found: Point | Measured, least_agreement: float | None) -> bool:
    return found.ratio <= 1 and (least_agreement is None or (found.agreement or 0.0) >= least_agreement)


class _Answers:
    """What the graph answers with any choice of sites quantised."""

    def __init__(
        self,
        source: str,
        sites: Sequence[Site],
        kind: str,
        activations: str,
        weights: Weights,
        scales: Mapping[str, float],
        cases: Sequence[Sequence[str]],
        aim: Mapping[str, Any],
    ) -> None:
        model = onnx.load(source, load_external_data=False)
        stored = {t.name: t for t in model.graph.initializer}
        # A weight of several sites, as a head that is tied to its embedding, is held once.
        exact = {
            name: numpy_helper.to_array(stored[name], str(Path(source).parent)) for name in {s.weight for s in sites}
        }
        # Taken out of `weights`, so that there are not three of each while the last ones are made.
        rounded = {
            name: as_stored(weights.found.pop(name).dequantised(), s, exact[s.weight].shape)
            for name, s in {key(s): s for s in sites}.items()
        }
        self._exact = [exact[s.weight] for s in sites]
        self._rounded = [rounded[key(s)] for s in sites]
        add_switches(model, sites, activations, scales, ELEMENTS[kind])
        self._names = [o.name for o in model.graph.output]
        self._session = probe(model, Path(source).parent, ())
        self._wanted = {i.name for i in self._session.get_inputs()}
        self._cases = [Case(name, {}, Path(inputs), Path(outputs)) for name, inputs, outputs in cases]
        self._limits = Tolerance.from_json(aim["tolerance"])
        self._least: float | None = aim["agreement"]
        self._classes = frozenset(aim["outputs"])

    @property
    def sites(self) -> int:
        return len(self._exact)

    def holds(self, found: Measured) -> bool:
        return _holds(found, self._least)

    def measure(self, quantised: frozenset[int], only: int | None = None) -> Measured:
        """With exactly these sites quantised, at every case or one alone."""
        flags = np.zeros(self.sites, np.bool_)
        flags[list(quantised)] = True
        fed: Arrays = {
            weight_input(i): self._rounded[i] if i in quantised else self._exact[i] for i in range(self.sites)
        }
        fed[FLAGS] = flags
        checks: list[list[Check]] = []
        rows = agreeing = 0.0
        for case in self._cases if only is None else [self._cases[only]]:
            inputs = {n: v for n, v in {**load_file(case.inputs), **fed}.items() if n in self._wanted}
            got = dict(zip(self._names, self._session.run(self._names, inputs), strict=True))
            expected = load_file(case.outputs)
            checks.append(check_case(case, expected, got, self._limits, classifier=True, keep=0))
            for one in checks[-1]:
                output = one.difference.output
                if output in self._classes and one.argmax_agreement is not None:
                    count = expected[output].size // max(1, expected[output].shape[-1])
                    rows, agreeing = rows + count, agreeing + count * one.argmax_agreement
        ratios = [worst(one).ratio for one in checks]
        error = max(c.difference.relative_error for one in checks for c in one)
        return Measured(max(ratios), error, agreeing / rows if rows else None, ratios.index(max(ratios)))


def _alone(answers: _Answers, budget: float) -> list[float]:
    """What each site does alone, at the case where all of them are furthest off."""
    import time

    case = answers.measure(frozenset(range(answers.sites))).worst_case
    started = time.monotonic()
    answers.measure(frozenset(), case)
    together = max(1, int(np.ceil((time.monotonic() - started) * answers.sites / budget)))
    ratios: list[float] = []
    for start in range(0, answers.sites, together):
        block = frozenset(range(start, min(start + together, answers.sites)))
        ratios.extend([answers.measure(block, case).ratio] * len(block))
    return ratios


def _fewest(
    order: Sequence[int], at: Callable[[frozenset[int]], Measured], holds: Callable[[Measured], bool]
) -> frozenset[int] | None:
    """The shortest prefix of `order` to leave for the answers to hold, by halving; None where one site at least is never kept."""
    if holds(at(frozenset())):
        return frozenset()
    low, high = 0, len(order) - 1  # `low` does not hold; that all but one are left is the least that is worth a graph
    if not holds(at(frozenset(order[:high]))):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if holds(at(frozenset(order[:middle]))):
            high = middle
        else:
            low = middle
    return frozenset(order[:high])


def _tried_again(
    left: frozenset[int],
    order: Sequence[int],
    at: Callable[[frozenset[int]], Measured],
    holds: Callable[[Measured], bool],
) -> frozenset[int]:
    """Sites that matter little once the worst are left are quantised after all, as far as a few tries tell."""
    best, tries = left, 0
    size = len(left) // 2
    while size and tries < _MOST_DROPS:
        candidates = [i for i in reversed(order) if i in best]
        for start in range(0, len(candidates), size):
            chunk = frozenset(candidates[start : start + size])
            if tries == _MOST_DROPS:
                break
            tries += 1
            if chunk < best and holds(at(best - chunk)):
                best -= chunk
        size //= 2
    return best


def _front(
    points: Sequence[tuple[frozenset[int], Measured]], chosen: frozenset[int] | None
) -> list[tuple[frozenset[int], Measured]]:
    """The points that no other is as good as, in sites left and in error (of equals the first), and the chosen one; the fewest
    left first."""
    # Answers that are not finite are no choice, and no number of a file in JSON.
    finite = [p for p in points if np.isfinite(p[1].ratio)] or points[:1]
    front: list[tuple[frozenset[int], Measured]] = []
    least = float("inf")
    for left, found in sorted(finite, key=lambda p: (len(p[0]), p[1].ratio)):
        if left == chosen or found.ratio < least or not front:
            front.append((left, found))
        least = min(least, found.ratio)
    return front
