"""Every attention block: its shape, and for each engine whether it is one fused kernel, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attn_runtime.bundle import AttentionBlock
from attn_runtime.page import Content, Html, joined, paragraph, state, table, tag

from ..attention import InspectedEngine, InspectedFile

_HEAD = ("block", "heads", "head size", "queries x keys", "mask", "type")


def told(files: Sequence[InspectedFile]) -> Html:
    parts = [part for file in files if file.blocks for part in _file(file)]
    return joined(parts) if parts else paragraph("The graphs have no attention block that was recognised.", "soft")


def _file(file: InspectedFile) -> Iterator[Content]:
    yield tag("h3", f"{file.graph}, {file.precision}")
    head = (*_HEAD, *(engine.name for engine in file.sound))
    yield table(head, [(*_row(block), *(_fused(engine, block) for engine in file.sound)) for block in file.blocks])
    reasons = [
        (block.label, engine.name, fusion.why_not, fusion.cure)
        for engine in file.sound
        for block in file.blocks
        if (fusion := engine.fusion_of(block)) is not None and not fusion.fused
    ]
    yield table(("not fused", "engine", "why not", "what would fuse it"), reasons)
    if not file.sound:
        other = f"; one is built from {file.instead} instead" if file.instead else ""
        yield paragraph(f"No engine tells whether they are fused{other}.", "soft")


def _row(block: AttentionBlock) -> tuple[str, ...]:
    lengths = f"{block.query_length} x {block.key_length}"
    heads, sizes = _two(block.heads, block.kv_heads), _two(block.head_size, block.value_size)
    return block.label, heads, sizes, lengths, block.mask, block.dtype


def _two(first: int | None, second: int | None) -> str:
    """ "64", or "8/2" where queries and keys (or keys and values) differ; "?" for what the graph does not tell."""
    texts = ["?" if n is None else str(n) for n in (first, second)]
    return texts[0] if texts[0] == texts[1] else "/".join(texts)


def _fused(engine: InspectedEngine, block: AttentionBlock) -> Html:
    fusion = engine.fusion_of(block)
    if fusion is None:
        return state("not told")
    return state("fused", fusion.kernel) if fusion.fused else state("not fused", fusion.why_not)
