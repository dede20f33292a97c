"""The head of the page: what the bundle is, whether its proof holds, and the figures that matter most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attn_runtime.bundle import Bundle
from attn_runtime.escape import shell_words
from attn_runtime.page import Html, figures, joined, paragraph, tag, text, verdict

from .proof import checks_of, failures, share


def told(bundle: Bundle, links: Mapping[str, str]) -> Html:
    """`links` are title -> id of the sections below."""
    manifest = bundle.manifest
    about = ", ".join(filter(None, (manifest["task"], f"made {manifest['created']}", bundle.path.name)))
    return joined(
        [
            tag("h1", bundle.name),
            paragraph(about, "soft"),
            _verdict(bundle),
            figures(_figures(bundle)),
            tag("nav", *(tag("a", title, href=f"#{name}") for title, name in links.items()), aria_label="Sections"),
        ]
    )


def _verdict(bundle: Bundle) -> Html:
    manifest = bundle.manifest
    count = sum(1 for _ in checks_of(manifest))
    if wrong := failures(manifest):
        return verdict("Not proven.", False, "; ".join(wrong))
    if not count:
        return verdict("Not proven.", False, "The bundle records no comparison with PyTorch.")
    held = f"{count} comparisons with PyTorch's answers were recorded at export, and all of them hold."
    more = text("To hold the bundle against them on this machine: ")
    return verdict(held, True, joined([more, tag("code", shell_words("attn-run", "verify", bundle.path.name))]))


def _figures(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    graphs = manifest["graphs"].values()
    worst = max((share(check) for check in checks_of(manifest)), default=None)
    if worst is not None:
        yield f"{worst:.1%}", "worst error, of what is allowed"
    yield str(sum(len(graph["golden"]) for graph in graphs)), "golden cases"
    if swept := sum(len(graph["sweep"]["sizes"]) for graph in graphs if "sweep" in graph):
        yield str(swept), "sizes between them"
    powers = [graph["power"] for graph in graphs if "power" in graph]
    if mutants := sum(power["mutants"] for power in powers):
        yield f"{sum(power['noticed'] for power in powers)} of {mutants}", "changes on purpose noticed"
    names = dict.fromkeys(name for graph in graphs for name in graph["precisions"])
    yield ", ".join(names), "precisions" if len(names) > 1 else "precision"
