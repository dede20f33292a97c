"""From two bundles to what they differ in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attn_runtime.bundle import Bundle, Graph
from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.escape import shell_words
from attn_runtime.files import is_file
from attn_runtime.onnx_file import read_graph
from attn_runtime.tasks.plots import check_plot

from ..console import Console
from ..parity import class_outputs
from . import manifest_facts as facts
from .answers import GOLDEN, answers, check_cases
from .bundle_difference import BundleDifference, GraphDifference
from .changes import Section, section
from .nodes import by_module, by_operator, operator_counts
from .plot import plot_difference
from .recorded_errors import RecordedErrors, ratios_of
from .weights import weights
from .written import Written, written

#: Two of something: of A and of B.
Bundles = tuple[Bundle, Bundle]
Names = tuple[str | None, str | None]


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str] | None = None,
    *,
    precision: str | None = None,
    against: str | None = None,
    graph: str | None = None,
    cases: str = GOLDEN,
    seed: int = 0,
    rtol: float | None = None,
    plot: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> BundleDifference:
    """Compare two bundles, or two precisions of the bundle `a` where `b` is left out.

    precision   of A; by default each graph's own, fp32 where there is one
    against     of B; by default the same
    graph       this one alone; by default all that both have
    cases       what both are run on, here on the CPU: "golden", those of A that B takes, or how many to draw from `seed`
    rtol        the error allowed between their answers, of max|A|; by default the wider of the two that are recorded
    plot        a .png, .svg or .pdf to write

    What is returned says whether the answers agree; `BundleDifference.require` raises where they don't. Raises UsageError for
    names that are unknown, BundleError for damaged bundles, BackendError and OutputError for the picture.
    """
    console = console or Console(quiet=True)
    check_cases(cases)
    if plot is not None:
        check_plot(Path(plot))
    if b is None and against is None:
        raise UsageError("diff compares two: name another bundle, or another precision of this one with --against")
    if rtol is not None and not 0 <= rtol < 1:
        raise UsageError(f"--rtol {rtol:g}: expected a limit from 0 to under 1, as a share of max|A|")
    one = _open(Path(a))
    bundles = one, one if b is None else _open(Path(b))
    asked = precision, precision if against is None else against
    _check_names(bundles, asked)
    shared = _shared(bundles, graph)
    chosen = {name: _chosen((bundles[0].graphs[name], bundles[1].graphs[name]), asked) for name in shared}
    graphs = []
    for name in shared:
        with console.stage("diff") as line:
            graphs.append(_graph(bundles, name, chosen[name], cases, seed, rtol))
            line.done(f"graph {name}, {' and '.join(dict.fromkeys(chosen[name]))}")
    tokens = written(bundles, asked) if graph is None else Written()
    labels = [_label(bundle, name) for bundle, name in zip(bundles, asked, strict=True)]
    made = one.manifest["created"], bundles[1].manifest["created"]
    found = BundleDifference(labels[0], labels[1], made, tuple(_sections(bundles)), tuple(graphs), tokens)
    if plot is not None:
        plot_difference(found, Path(plot))
    return found


def _open(path: Path) -> Bundle:
    if is_file(path):
        bisect = shell_words("attn-export", "bisect", path.name, "--against")
        raise UsageError(
            f"{path.name} is a plain ONNX file; diff compares bundles. Compare two graphs: {bisect} FILE.onnx"
        )
    return Bundle.open(path)


def _shared(bundles: Bundles, graph: str | None) -> list[str]:
    if graph is not None:
        return [bundle.graph(graph).name for bundle in bundles][:1]
    return [name for name in bundles[0].graphs if name in bundles[1].graphs]


def _chosen(graphs: tuple[Graph, Graph], asked: Names) -> tuple[str, str]:
    """What each side runs in. A graph of a generator that has not what was asked for has its own, as where it generates."""
    names = [
        graph.default_precision if name is None or name not in graph.precisions else name
        for graph, name in zip(graphs, asked, strict=True)
    ]
    return names[0], names[1]


def _check_names(bundles: Bundles, asked: Names) -> None:
    """UsageError for a precision that no graph of its bundle has."""
    for bundle, name, option in zip(bundles, asked, ("--precision", "--against"), strict=True):
        known = list(dict.fromkeys(key for graph in bundle.graphs.values() for key in graph.precisions))
        if name is not None and name not in known:
            raise UsageError(
                f"{option} {name}: {did_you_mean(name, known)}available: {', '.join(known)} (bundle {bundle.path.name})"
            )


def _label(bundle: Bundle, precision: str | None) -> str:
    name = precision or next(iter(bundle.graphs.values())).default_precision
    return f"{bundle.path.name}, {name}"


def _sections(bundles: Bundles) -> Iterator[Section]:
    a, b = bundles
    yield section("model", facts.model_facts(a), facts.model_facts(b))
    yield section("graphs", dict.fromkeys(a.graphs, "there"), dict.fromkeys(b.graphs, "there"))
    yield section("sizes", facts.size_facts(a), facts.size_facts(b))
    yield section("engines", facts.engine_facts(a), facts.engine_facts(b))
    yield section("generation", facts.generation_facts(a), facts.generation_facts(b))


def _graph(
    bundles: Bundles, name: str, precisions: tuple[str, str], cases: str, seed: int, rtol: float | None
) -> GraphDifference:
    entries = [bundle.manifest["graphs"][name] for bundle in bundles]
    a, b = (bundle.graphs[name] for bundle in bundles)
    first, second = a.precisions[precisions[0]], b.precisions[precisions[1]]
    one, other = (
        read_graph(p.file, bundle.label(g)) for p, bundle, g in zip((first, second), bundles, (a, b), strict=True)
    )
    counts = operator_counts(one), operator_counts(other)
    recorded = RecordedErrors(ratios_of(entries[0]), ratios_of(entries[1]), precisions)
    beside = f"{precisions[0]} beside {precisions[1]}"
    compared = section(beside, facts.chosen_facts(first), facts.chosen_facts(second), "compared")
    sections = (
        section("graph", facts.graph_facts(entries[0], a), facts.graph_facts(entries[1], b)),
        section(
            "inputs and outputs",
            facts.tensor_facts(a.inputs, "input") | facts.tensor_facts(a.outputs, "output"),
            facts.tensor_facts(b.inputs, "input") | facts.tensor_facts(b.outputs, "output"),
        ),
        section("precisions", facts.precision_facts(a), facts.precision_facts(b)),
        *([compared] if precisions[0] != precisions[1] else []),
        by_operator(*counts),
        by_module(one, other),
        weights(first.file, second.file),
        recorded.section(),
    )
    found = answers(
        bundles, (a, b), precisions, cases=cases, seed=seed, rtol=rtol, classes=class_outputs(bundles[0], a)
    )
    return GraphDifference(name, precisions, sections, counts, recorded, found)
