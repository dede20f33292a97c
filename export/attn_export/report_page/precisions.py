"""The precisions of each graph: which type, how exact, how large; what stays out of it, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attn_runtime.bundle import Bundle, precision_sizes
from attn_runtime.page import Content, Html, joined, table, tag
from attn_runtime.text_format import bytes_text

Json = Mapping[str, Any]
_HEAD = ("graph", "precision", "file", "computes in", "atol", "rtol", "kept out")


def told(bundle: Bundle) -> Html:
    entries = [
        (graph, name, entry)
        for graph, data in bundle.manifest["graphs"].items()
        for name, entry in data["precisions"].items()
    ]
    rows = [
        (graph, name, entry["file"], _type(entry), f"{entry['tolerance']['atol']:.1g}", f"{entry['tolerance']['rtol']:.1g}",
         str(len(_out(entry))) if _out(entry) else "–")
        for graph, name, entry in entries
    ]  # fmt: skip
    several = len(bundle.graphs) > 1
    return joined(
        [
            table(_HEAD, rows, numbers=(4, 5, 6)),
            *(
                part
                for graph, name, entry in entries
                for part in _kept_out(f"{graph} {name}" if several else name, entry)
            ),
            tag("h3", "What each takes on disk"),
            _sizes(bundle),
        ]
    )


def _type(entry: Json) -> str:
    told = [entry.get("type", "fp32")]
    if quantised := entry.get("quantised"):
        told.append(
            f"weights {quantised['weights']}, activations {quantised['activations']}, rounding {quantised['rounding']}, "
            f"{quantised['quantised']} nodes quantised"
        )
    told += [f"for {entry['target']} only"] if "target" in entry else []
    told += ["float16 inputs and outputs"] if entry.get("half_io") else []
    return ", ".join(told)


def _out(entry: Json) -> list[Json]:
    """The nodes that are not in the precision's own type."""
    return [*entry.get("kept", ()), *(entry.get("quantised") or {}).get("left", ())]


def _kept_out(name: str, entry: Json) -> Iterator[Content]:
    together: dict[tuple[str, str], list[str]] = {}
    for node in _out(entry):
        together.setdefault((node.get("module") or node["node"], node["reason"]), []).append(node.get("operator", ""))
    if together:
        yield tag("h3", f"Kept out of {name}")
        rows = [(where, _counted(operators), reason) for (where, reason), operators in together.items()]
        yield table(("where", "operators", "why"), rows)


def _counted(operators: Iterable[str]) -> str:
    """ "MatMul, 2 Add": each once, with how many there are."""
    counts: dict[str, int] = {}
    for operator in filter(None, operators):
        counts[operator] = counts.get(operator, 0) + 1
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())


def _sizes(bundle: Bundle) -> Html:
    rows = [
        (name, bytes_text(size.bytes), ", ".join(f"{bytes_text(n)} with {other}" for other, n in size.shared.items()))
        for name, size in precision_sizes(bundle).items()
    ]
    return table(("precision", "size", "of it in common"), rows, numbers=(1,))
