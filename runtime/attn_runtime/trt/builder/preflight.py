"""What TensorRT is known to refuse, or worse to ignore, told from the ONNX file before the build is begun.

Its importer of ONNX `Attention` takes less than the operator is: some of it fails to parse, and the lengths of
`nonpad_kv_seqlen` are dropped with a warning, which gives wrong answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import EngineError
from ...onnx_file import Node, OnnxGraph

_HOW = "export again with --opset 22, which writes attention out in operators that TensorRT takes"


@dataclass(frozen=True)
class Traps:
    """decomposable  whether attention operators have to be allowed to be taken apart
    notes         for a person, one line each
    """

    decomposable: bool
    notes: tuple[str, ...]


def check_traps(graph: OnnxGraph, where: str) -> Traps:
    """What the build needs to know of `graph`. Raises EngineError, whose details list every node that can't be built."""
    attention = [node for node in graph.nodes if node.op_type == "Attention" and node.domain in ("", "ai.onnx")]
    found = [(node, problem) for node in attention for problem in _problems(node, graph)]
    if found:
        node, problem = found[0]
        more = f" (and {len(found) - 1} more, below)" if len(found) > 1 else ""
        raise EngineError(
            f"{where}: {place(node)}: {problem}{more}; {_HOW}",
            "\n".join(f"{place(node)}: {problem}" for node, problem in found) if more else "",
        )
    notes = []
    wide = sorted({name for name, value in graph.values.items() if value.dtype == "float64"})
    if wide:
        notes.append(f"TensorRT has no float64: {', '.join(wide[:3])}{', ...' if len(wide) > 3 else ''} become float32")
    return Traps(bool(attention), tuple(notes))


def place(node: Node) -> str:
    """Where a node is, for a person: its ONNX name and operator, its PyTorch module and source line."""
    told = [node.op_type, *([f"module {node.module}"] if node.module else []), *([node.source] if node.source else [])]
    return f'node "{node.name}" ({", ".join(told)})'


def _problems(node: Node, graph: OnnxGraph) -> Iterator[str]:
    given = [*node.inputs, *[""] * (7 - len(node.inputs))]
    if given[6]:
        yield "TensorRT ignores its nonpad_kv_seqlen, and the padding would be attended to"
    if node.attributes.get("softcap"):
        yield f"TensorRT's Attention has no softcap (here {node.attributes['softcap']})"
    if "softmax_precision" in node.attributes:
        yield "TensorRT's Attention has no softmax_precision"
    if given[3] and node.attributes.get("is_causal"):
        yield "TensorRT's Attention takes a mask or is_causal, not both"
    if given[4] or given[5]:
        yield "TensorRT's Attention takes no past keys and values"
    if any(node.outputs[1:]):
        yield f"TensorRT's Attention has one output, this one {len([name for name in node.outputs if name])}"
    key, value = (_head_size(node, graph, name) for name in given[1:3])
    if key is not None and value is not None and key != value:
        yield f"TensorRT's Attention needs values of the keys' size, got heads of {value} and {key} elements"
    types = [graph.values[name].dtype if name in graph.values else "" for name in (given[0], given[3])]
    if types[1] not in ("", "bool", types[0]) and types[0]:
        yield f"TensorRT's Attention needs a mask that is bool or {types[0]}, got {types[1]}"


def _head_size(node: Node, graph: OnnxGraph, name: str) -> int | None:
    """Of the keys or values called `name`, in elements; None where the file does not tell."""
    value = graph.values.get(name)
    if value is None or not value.dims or not isinstance(value.dims[-1], int):
        return None
    size, heads = value.dims[-1], node.attributes.get("kv_num_heads", 1)
    return size if len(value.dims) == 4 or not isinstance(heads, int) or heads < 1 else size // heads


def unfused_notes(graph: OnnxGraph, fused: Sequence[str]) -> tuple[str, ...]:
    """A note on every Attention operator that is not among the nodes in `fused`."""
    left = [n for n in graph.nodes if n.op_type == "Attention" and n.name not in fused]
    return tuple(f"{place(n)}: no fused kernel takes it, so it was taken apart" for n in left)
