"""Each engine that was built: from what, with what, and what its audit found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attn_runtime.page import Content, Html, bar, details_list, joined, notes, paragraph, state, table, tag
from attn_runtime.text_format import bytes_text
from attn_runtime.trt import EngineKey

from ..attention import InspectedEngine, InspectedFile


def told(files: Sequence[InspectedFile]) -> Html:
    found = {engine.name: engine for file in files for engine in file.engines}
    if not found:
        return paragraph("No TensorRT engine has been built from this bundle; attn-export to-trt builds one.", "soft")
    return joined(part for engine in found.values() for part in _engine(engine))


def _engine(engine: InspectedEngine) -> Iterator[Content]:
    key = engine.key
    yield tag("h3", engine.name)
    if engine.problem:
        yield paragraph(engine.problem, "fail")
    if key is not None:
        yield details_list(_facts(key))
        yield from _audit(key)


def _facts(key: EngineKey) -> Iterable[tuple[str, Content]]:
    scratch = "not told" if key.scratch is None else bytes_text(key.scratch)
    return [
        ("built from", f"{key.file}, precision {key.precision}" + (f", graph {key.graph}" if key.graph else "")),
        ("with", f"{key.flavour} {key.version}, by {key.builder}, in {key.seconds:.1f} s, {key.created}"),
        ("for", f"{', '.join(f'sm {each}' for each in key.compute_capabilities)} on {key.os}"),
        ("size", f"{bytes_text(key.engine_size)}, scratch memory {scratch}"),
        ("types", "weakly typed: the library chose" if key.weak else "strongly typed: as the graph has them"),
    ]


def _audit(key: EngineKey) -> Iterator[Content]:
    audit = key.audit
    if audit.unaudited:
        yield notes([f"not audited: {audit.unaudited}"])
    total = sum(audit.counts.values())
    rows = [(dtype, str(count), bar(count / total)) for dtype, count in audit.counts.items()]
    yield table((f"of {audit.layers} layers, those that multiply or convolve", "", ""), rows, numbers=(1,))
    if audit.weights:
        lying = ", ".join(f"weights of {count} products lie in {dtype}" for dtype, count in audit.weights.items())
        yield paragraph(f"{lying}; {len(audit.widened)} of them are widened before each use.")
    sides = (("kept on purpose", "note", audit.kept), ("not as asked", "failed", audit.offenders))
    rows_of_layers = [
        (state(word, told), layer.name, layer.dtype, ", ".join(layer.nodes), layer.why or told)
        for told, word, layers in sides
        for layer in layers
    ]
    yield table(("", "layer", "type", "ONNX nodes", "why"), rows_of_layers)
