"""What was proven: every stage by every case as error over limit, sizes swept, mutants noticed, generation, consistency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attn_runtime.bundle import Bundle
from attn_runtime.page import (
    Content,
    Html,
    bar,
    details_list,
    heat_cell,
    heat_legend,
    joined,
    marks,
    notes,
    paragraph,
    state,
    table,
    tag,
)

Json = Mapping[str, Any]


def checks_of(manifest: Json) -> Iterator[Json]:
    """Every comparison of a stage that was kept."""
    for graph in manifest["graphs"].values():
        yield from (check for stage in graph["stages"] if stage["kept"] for check in stage["checks"])


def share(check: Json) -> float:
    """Its error, of what was allowed: 1 is the limit."""
    error, limit = check["max_error"], check["limit"]
    if error is None or limit is None:
        return 0.0 if check["passed"] else math.inf
    return float(error / limit) if limit else 0.0 if error == 0 else math.inf


def failures(manifest: Json) -> list[str]:
    """What does not hold, a clause each."""
    wrong = sum(not check["passed"] for check in checks_of(manifest))
    told = [f"{wrong} comparisons with PyTorch's answers do not hold"] if wrong else []
    return told + [
        f"graph {name}: {check['name']} does not hold"
        for name, graph in manifest["graphs"].items()
        for check in graph["consistency"]
        if not check["passed"]
    ]


def told(bundle: Bundle) -> Html:
    manifest = bundle.manifest
    several = len(manifest["graphs"]) > 1
    parts: list[Content] = [heat_legend("worst error of a case, of what is allowed; point at a cell for the numbers")]
    for name, graph in manifest["graphs"].items():
        parts += [tag("h3", f"Graph {name}") if several else None, *_graph(graph)]
    return joined([*parts, _generation(manifest.get("generation", ()))])


def _graph(graph: Json) -> Iterator[Content]:
    yield _heatmap(graph)
    dropped = [stage for stage in graph["stages"] if not stage["kept"] or stage["note"]]
    yield notes(
        f"{stage['name']}{'' if stage['kept'] else ' (not kept)'}: {stage['note']}"
        for stage in dropped
        if stage["note"]
    )
    if "sweep" in graph:
        yield _sweep(graph)
    if "power" in graph:
        yield _power(graph["power"])
    if graph["consistency"]:
        yield _consistency(graph["consistency"])


def _consistency(checks: Sequence[Json]) -> Html:
    """Checks that need no reference, as a line."""
    told: list[Content] = []
    for each in checks:
        note = f" ({each['note']})" if each["note"] else ""
        told += [" ", state("ok" if each["passed"] else "failed"), f" {each['name']}{note}"]
    return tag("p", "The graph against itself:", *told)


def _heatmap(graph: Json) -> Html:
    """A row for each case, a column for each stage."""
    stages = [stage for stage in graph["stages"] if stage["checks"]]
    by_case = [_by_case(stage["checks"]) for stage in stages]
    cases: dict[str, Json] = {case: checks[0]["sizes"] for found in by_case for case, checks in found.items()}
    head = ["case", "sizes", *(_name(stage) for stage in stages)]
    rows = [(case, _sizes(sizes), *(_cell(found.get(case, ())) for found in by_case)) for case, sizes in cases.items()]
    return tag("div", table(head, rows, numbers=range(2, len(head))), class_="heatmap")


def _name(stage: Json) -> str:
    name = stage["name"] if stage["name"] == stage["precision"] else f"{stage['name']} {stage['precision']}"
    return name if stage["kept"] else f"{name} (not kept)"


def _by_case(checks: Iterable[Json]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for check in checks:
        found.setdefault(check["case"], []).append(check)
    return found


def _cell(checks: Sequence[Json]) -> Html:
    if not checks:
        return heat_cell(None, "–")
    worst = max(checks, key=share)
    of = math.inf if not all(check["passed"] for check in checks) else share(worst)
    error = "not finite" if worst["max_error"] is None else f"{worst['max_error']:.2g}"
    limit = "unknown" if worst["limit"] is None else f"{worst['limit']:.2g}"
    agreement = "".join(
        f"; best class as PyTorch's in {check['argmax_agreement']:.1%} of the rows"
        for check in checks
        if "argmax_agreement" in check
    )
    title = f"{worst['output']}: |error| {error}, allowed {limit}{agreement}"
    return heat_cell(of, "over" if math.isinf(of) else _percent(of), title)


def _percent(of: float) -> str:
    """Small shares with a digit of their own, so that none but 0 is told as 0."""
    return "0 %" if of == 0 else f"{of:.0%}".replace("%", " %") if of >= 0.095 else f"{of * 100:.1g} %"


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "fixed"


def _sweep(graph: Json) -> Html:
    """Every size that was asked, as a mark on the range of its dim."""
    sweep = graph["sweep"]
    ranges = {dim["name"]: dim for side in ("inputs", "outputs") for data in graph[side] for dim in data["dims"]}
    worst = sweep["worst_relative_error"]
    error = "not finite" if worst is None else f"{worst:.2g}"
    lines: list[tuple[str, Content]] = []
    for place, name in enumerate(sweep["dims"]):
        low, high = ranges[name]["min"], ranges[name]["max"]
        asked = {sizes[place] for sizes in sweep["sizes"]} | {
            c["checked_sizes"].get(name, low) for c in graph["golden"]
        }
        told = "every size" if name in sweep["complete"] else f"{len(asked)} of {high - low + 1} sizes"
        lines.append((f"{name} {low}..{high}: {told}", marks(low, high, asked, f"{name}: {told}")))
    count = len(sweep["sizes"])
    return joined(
        [
            paragraph(f"Sizes between the golden cases: {count}; worst error {error} of max|PyTorch|."),
            details_list(lines),
        ]
    )


def _power(power: Json) -> Html:
    mutants = power["mutants"]
    line = (
        f"Mutation score: of {mutants} changes that were made to the graph on purpose, the golden cases notice "
        f"{power['noticed']} ({power['usual']} by those that every export has)."
    )
    more = table(("further case", "what it is"), [(each["case"], each["inputs"]) for each in power["cases"]])
    return joined([paragraph(line), bar(power["noticed"] / mutants) if mutants else None, more])


def _generation(cases: Sequence[Json]) -> Html:
    rows = [
        (case["case"], "greedy" if case["beams"] == 1 else f"{case['beams']} beams", f"{case['max_length']}",
         "–" if case["margin"] is None else f"{case['margin']:.2g}", f"{case['tolerance']:.2g}")
        for case in cases
    ]  # fmt: skip
    head = ("case", "search", "most tokens", "least margin", "scores within")
    return joined(
        [tag("h3", "Generation, all graphs together") if rows else None,
         paragraph("What PyTorch writes without a cache; the graphs write the same tokens through theirs.") if rows else None,
         table(head, rows, numbers=(2, 3, 4))]
    )  # fmt: skip
