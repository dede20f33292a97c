"""The attention blocks of a graph, told in the words that travel with a bundle."""

from __future__ import annotations

import onnx
from attn_runtime.bundle.attention_block import AttentionBlock

from ..onnx_graph.graph_index import GraphView, Size, views
from ..onnx_graph.module_paths import module_path
from .heads import heads_of
from .mask import mask_kind
from .match import Match, attribute, matches, product_sizes


def find_blocks(model: onnx.ModelProto) -> tuple[AttentionBlock, ...]:
    """Every softmax attention in the model, in the order of its nodes, the bodies of branches and loops last.

    Finds it written out (by any exporter, in any precision) and as one operator: Attention of opset 23 and later, and
    MultiHeadAttention, Attention and GroupQueryAttention of com.microsoft. External weights need not be loaded; the model
    is not changed.
    """
    found: list[AttentionBlock] = []
    for view in views(model):
        order = {id(node): number for number, node in enumerate(view.nodes)}
        blocks = [(order[id(m.softmax)], written_out(m)) for m in matches(view)]
        blocks += [(order[id(n)], _OPERATORS[n.domain, n.op_type](view, n)) for n in view.nodes if _is_operator(n)]
        found.extend(block for _, block in sorted(blocks, key=lambda b: b[0]))
    return tuple(found)


def written_out(match: Match) -> AttentionBlock:
    """A block of several nodes, in the words of the manifest."""
    view, scores, values = match.view, match.scores, match.values
    query_length, size_of_queries = product_sizes(view, scores.node, scores.other)
    key_length, size_of_keys = product_sizes(view, scores.node, scores.side)
    value_size, length_of_values = product_sizes(view, values.node, values.side)
    heads, kv_heads = heads_of(match)
    dtype = view.dtype(scores.node.output[0]) or view.dtype(match.queries) or view.dtype(match.keys)
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


def _is_operator(node: onnx.NodeProto) -> bool:
    return (node.domain, node.op_type) in _OPERATORS


def _attention(view: GraphView, node: onnx.NodeProto) -> AttentionBlock:
    """Attention of opset 23: [batch, heads, length, size], or [batch, length, heads * size] with attributes."""
    shapes = [view.shape(name) for name in node.input[:3]]
    heads: int | None = attribute(node, "q_num_heads", 0) or None
    kv_heads: int | None = attribute(node, "kv_num_heads", 0) or None
    four = [s is not None and len(s) == 4 for s in shapes]
    heads = heads or (_number(shapes[0][1]) if shapes[0] is not None and four[0] else None)
    kv_heads = kv_heads or (_number(shapes[1][1]) if shapes[1] is not None and four[1] else None)
    mask = "causal" if attribute(node, "is_causal", 0) else "none"
    if len(node.input) > 3 and node.input[3]:
        mask = "bool" if view.dtype(node.input[3]) == "bool" else "additive"
    sizes = [
        None if s is None else (s[-1] if is_four else _divided(s[-1], count))
        for s, is_four, count in zip(shapes, four, (heads, kv_heads, kv_heads), strict=True)
    ]
    return _operator(view, node, heads, kv_heads, sizes[0], sizes[2], shapes[0], shapes[1], mask)


def _multi_head(view: GraphView, node: onnx.NodeProto) -> AttentionBlock:
    """com.microsoft.MultiHeadAttention: [batch, length, heads * size] each, or packed."""
    heads = attribute(node, "num_heads", 0) or None
    query = view.shape(node.input[0])
    key = view.shape(node.input[1]) if len(node.input) > 1 and node.input[1] else query
    value = view.shape(node.input[2]) if len(node.input) > 2 and node.input[2] else key
    mask = "causal" if attribute(node, "unidirectional", 0) else "none"
    mask = "bool" if _given(node, 4) else mask
    mask = "additive" if _given(node, 5) else mask
    return _operator(view, node, heads, heads, _head_size(query, heads), _head_size(value, heads), query, key, mask)


def _packed(view: GraphView, node: onnx.NodeProto) -> AttentionBlock:
    """com.microsoft.Attention: one input for all three, and its projection's weights."""
    heads = attribute(node, "num_heads", 0) or None
    split = next((list(a.ints) for a in node.attribute if a.name == "qkv_hidden_sizes"), [])
    weights = view.shape(node.input[1])
    widths: list[Size | None] = [*split] if split else [_divided(weights[-1], 3) if weights else None] * 3
    mask = "causal" if attribute(node, "unidirectional", 0) else "none"
    mask = "bool" if _given(node, 3) else mask
    mask = "additive" if _given(node, 5) else mask
    shape = view.shape(node.input[0])
    sizes = [None if w is None else _divided(w, heads) for w in (widths[0], widths[2])]
    return _operator(view, node, heads, heads, sizes[0], sizes[1], shape, shape, mask)


def _grouped(view: GraphView, node: onnx.NodeProto) -> AttentionBlock:
    """com.microsoft.GroupQueryAttention: causal, [batch, length, heads * size]."""
    heads, kv_heads = attribute(node, "num_heads", 0) or None, attribute(node, "kv_num_heads", 0) or None
    query = view.shape(node.input[0])
    key = view.shape(node.input[1]) if _given(node, 1) else query
    size = _head_size(query, heads) if _given(node, 1) else None
    return _operator(view, node, heads, kv_heads, size, size, query, key, "causal")


_OPERATORS = {
    ("", "Attention"): _attention,
    ("ai.onnx", "Attention"): _attention,
    ("com.microsoft", "MultiHeadAttention"): _multi_head,
    ("com.microsoft", "Attention"): _packed,
    ("com.microsoft", "GroupQueryAttention"): _grouped,
}


def _operator(
    view: GraphView,
    node: onnx.NodeProto,
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
        view.dtype(node.input[0]),
        heads,
        kv_heads,
        _number(head_size),
        _number(value_size),
        lengths[0],
        lengths[1],
        mask,
    )


def _name(node: onnx.NodeProto) -> str:
    return node.name or f"node_of_{node.output[0]}"  # as TensorRT calls it


def _given(node: onnx.NodeProto, index: int) -> bool:
    return len(node.input) > index and bool(node.input[index])


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
