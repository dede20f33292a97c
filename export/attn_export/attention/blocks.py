"""The attention blocks of a graph, described in the words that travel with a bundle."""

from __future__ import annotations

import onnx_ir as ir
from attn_runtime.bundle import AttentionBlock

from ..onnx_graph import Size, dtype_of, index, module_path, shape_of
from .heads import heads_of
from .mask import mask_kind
from .match import Match, matches


def find_blocks(model: ir.Model) -> tuple[AttentionBlock, ...]:
    """Every softmax attention in the model, in the order of its nodes, the bodies of branches and loops last.

    Finds it written out (by any exporter, in any precision) and as one operator: Attention of opset 23 and later, and
    MultiHeadAttention, Attention and GroupQueryAttention of com.microsoft. External weights need not be there; the model
    is not changed.
    """
    index(model)
    by_softmax = {match.softmax: match for match in matches(model)}
    blocks: list[AttentionBlock] = []
    for graph in model.graphs():
        for node in graph:
            if node in by_softmax:
                blocks.append(written_out(by_softmax[node]))
            elif describe := _OPERATORS.get((node.domain, node.op_type)):
                blocks.append(describe(node))
    return tuple(blocks)


def written_out(match: Match) -> AttentionBlock:
    """A block of several nodes, in the words of the manifest."""
    scores, values = match.scores, match.values
    query_length, size_of_queries = scores.sizes(scores.other)
    key_length, size_of_keys = scores.sizes(scores.side)
    value_size, length_of_values = values.sizes(values.side)
    heads, kv_heads = heads_of(match)
    dtype = dtype_of(scores.node.outputs[0]) or dtype_of(match.queries) or dtype_of(match.keys)
    return AttentionBlock(
        module_path(match.nodes),
        _name(scores.node),
        _name(match.softmax),
        _name(values.node),
        "MatMul",
        dtype,
        heads,
        kv_heads,
        _number(size_of_queries, size_of_keys),
        _number(value_size),
        _length(query_length),
        _length(key_length, length_of_values),
        mask_kind(match),
        any(node.op_type == "Concat" for node in match.above),
    )


def _attention(node: ir.Node) -> AttentionBlock:
    """Attention of opset 23: [batch, heads, length, size], or [batch, length, heads * size] with attributes."""
    shapes = [shape_of(value) for value in node.inputs[:3]]
    heads, kv_heads = _count(node, "q_num_heads"), _count(node, "kv_num_heads")
    four = [s is not None and len(s) == 4 for s in shapes]
    heads = heads or (_number(shapes[0][1]) if shapes[0] is not None and four[0] else None)
    kv_heads = kv_heads or (_number(shapes[1][1]) if shapes[1] is not None and four[1] else None)
    mask = "causal" if _count(node, "is_causal") else "none"
    if given := _input(node, 3):
        mask = "bool" if dtype_of(given) == "bool" else "additive"
    sizes = [
        None if s is None else (s[-1] if is_four else _divided(s[-1], count))
        for s, is_four, count in zip(shapes, four, (heads, kv_heads, kv_heads), strict=True)
    ]
    return _operator(node, heads, kv_heads, sizes[0], sizes[2], shapes[0], shapes[1], mask)


def _multi_head(node: ir.Node) -> AttentionBlock:
    """com.microsoft.MultiHeadAttention: [batch, length, heads * size] each, or packed."""
    heads = _count(node, "num_heads")
    query = shape_of(node.inputs[0])
    key = shape_of(_input(node, 1)) if _input(node, 1) else query
    value = shape_of(_input(node, 2)) if _input(node, 2) else key
    mask = "causal" if _count(node, "unidirectional") else "none"
    mask = "bool" if _input(node, 4) else mask
    mask = "additive" if _input(node, 5) else mask
    return _operator(node, heads, heads, _head_size(query, heads), _head_size(value, heads), query, key, mask)


def _packed(node: ir.Node) -> AttentionBlock:
    """com.microsoft.Attention: one input for all three, and its projection's weights."""
    heads = _count(node, "num_heads")
    split = node.attributes.get_ints("qkv_hidden_sizes", ())
    weights = shape_of(node.inputs[1])
    widths: list[Size | None] = [*split] if split else [_divided(weights[-1], 3) if weights else None] * 3
    mask = "causal" if _count(node, "unidirectional") else "none"
    mask = "bool" if _input(node, 3) else mask
    mask = "additive" if _input(node, 5) else mask
    shape = shape_of(node.inputs[0])
    sizes = [None if w is None else _divided(w, heads) for w in (widths[0], widths[2])]
    return _operator(node, heads, heads, sizes[0], sizes[1], shape, shape, mask)


def _grouped(node: ir.Node) -> AttentionBlock:
    """com.microsoft.GroupQueryAttention: causal, [batch, length, heads * size]."""
    heads, kv_heads = _count(node, "num_heads"), _count(node, "kv_num_heads")
    query = shape_of(node.inputs[0])
    key = shape_of(_input(node, 1)) if _input(node, 1) else query
    size = _head_size(query, heads) if _input(node, 1) else None
    return _operator(node, heads, kv_heads, size, size, query, key, "causal")


_OPERATORS = {
    ("", "Attention"): _attention,
    ("com.microsoft", "MultiHeadAttention"): _multi_head,
    ("com.microsoft", "Attention"): _packed,
    ("com.microsoft", "GroupQueryAttention"): _grouped,
}


def _operator(
    node: ir.Node,
    heads: int | None,
    kv_heads: int | None,
    head_size: Size | None,
    value_size: Size | None,
    query: tuple[Size, ...] | None,
    key: tuple[Size, ...] | None,
    mask: str,
) -> AttentionBlock:
    name = _name(node)
    lengths = [
        "?" if shape is None else str(shape[-2] if len(shape) == 4 else shape[1] if len(shape) > 1 else "?")
        for shape in (query, key)
    ]
    return AttentionBlock(
        module_path([node]),
        name,
        name,
        name,
        node.op_type,
        dtype_of(node.inputs[0]),
        heads,
        kv_heads,
        _number(head_size),
        _number(value_size),
        lengths[0],
        lengths[1],
        mask,
    )


def _name(node: ir.Node) -> str:
    return node.name or f"node_of_{node.outputs[0].name}"  # as TensorRT calls it


def _count(node: ir.Node, attribute: str) -> int | None:
    """An integer attribute; None where it is left out, or 0."""
    return node.attributes.get_int(attribute, 0) or None


def _input(node: ir.Node, number: int) -> ir.Value | None:
    return node.inputs[number] if len(node.inputs) > number else None


def _head_size(shape: tuple[Size, ...] | None, heads: int | None) -> Size | None:
    """Of [batch, length, heads * size]; of packed ones the last axis is the size itself."""
    if shape is None:
        return None
    return _divided(shape[-1], heads) if len(shape) == 3 else shape[-1]


def _divided(size: Size, by: int | None) -> Size | None:
    return size // by if isinstance(size, int) and by else None


def _number(*sizes: Size | None) -> int | None:
    return next((s for s in sizes if isinstance(s, int)), None)


def _length(*sizes: Size) -> str:
    known = [s for s in sizes if s != "?"]
    return str(known[0]) if known else "?"
