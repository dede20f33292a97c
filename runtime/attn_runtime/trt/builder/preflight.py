"""What TensorRT is known to refuse, or worse to ignore, told from the ONNX file before the build is begun.

Its importer of ONNX `Attention` takes less than the operator is: some of it fails to parse, and what it leaves out without
an error (the lengths of `nonpad_kv_seqlen`, windows) gives wrong answers. What a network shows, `parser_check` looks at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import EngineError, UsageError
from ...onnx_file import Node, OnnxGraph, read_graph
from .parser_rules import by_graph_alone

_HOW = "export again with --opset 22, which writes attention out in operators that TensorRT takes"
_WINDOW = "write the window into the mask, or run the model with --backend ort, from onnxruntime 1.32 on"
_LAYOUT = "give the sequence first and leave layout out, with a Transpose before and behind"

_BIAS = "quantise without biases (QuantizeBias False in ONNX Runtime's quantize_static)"
_STATIC = (
    "quantise with QuantizeLinear and DequantizeLinear and scales that are known before, as attn-export convert does"
)
_TYPES = "quantise to int8, int4 or float8_e4m3fn"

_QUANTISED = ("QuantizeLinear", "DequantizeLinear")
#: What TensorRT dequantises; of uint8 the parser says more.
_DEQUANTISED = ("int8", "uint8", "int4", "float8_e4m3fn", "float4_e2m1fn")
#: Quantised arithmetic as operators of their own, which TensorRT has none of.
_INTEGER = ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")
#: dtype -> how people call it, and the least compute capability that has it, by what TensorRT-RTX 1.7.1 refuses to build.
_HARDWARE = {"float8_e4m3fn": ("fp8", "8.9"), "int4": ("int4", "8.0")}

_WINDOWS = ("left_window_size", "right_window_size")
#: TensorProto.FLOAT8E4M3FN
_FLOAT8 = 17
_RECURRENT = ("LSTM", "GRU", "RNN")
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


@dataclass(frozen=True)
class Traps:
    """decomposable  whether attention operators have to be allowed to be taken apart
    notes         for a person, one line each
    """

    decomposable: bool
    notes: tuple[str, ...]


def check_traps(graph: OnnxGraph, where: str) -> Traps:
    """What the build needs to know of `graph`. Raises EngineError, whose details list every node that can't be built."""
    own = [node for node in graph.nodes if node.domain in ("", "ai.onnx")]
    attention = [node for node in own if node.op_type == "Attention"]
    found = [(node, *problem) for node in own for problem in ignored(node)]
    found += [(node, problem, _HOW) for node in attention for problem in _refused(node, graph)]
    found += [(node, *problem) for node in own for problem in _unquantisable(node, graph)]
    if found:
        node, problem, way_out = found[0]
        more = f" (and {len(found) - 1} more, below)" if len(found) > 1 else ""
        raise EngineError(
            f"{where}: {place(node)}: {problem}{more}; {way_out}",
            "\n".join(f"{place(node)}: {problem}" for node, problem, _ in found) if more else "",
        )
    return Traps(bool(attention), tuple(_notes(own, graph)))


def check_for_provider(file: Path, where: str, way_out: str = "take --backend ort") -> None:
    """The same for TensorRT inside ONNX Runtime, which hands it the nodes that its parser takes, misread or not.

    What fails to parse runs on CUDA there. Raises EngineError for what would not fail; no network is seen, so by what is
    known of the graph alone.
    """
    graph = read_graph(file, where)
    for node in graph.nodes:
        if node.domain in ("", "ai.onnx"):
            for text in (*(text for text, _ in ignored(node)), *by_graph_alone(node, graph)):
                raise EngineError(
                    f"{where}: TensorRT inside ONNX Runtime would answer wrongly: {place(node)}: {text}; {way_out}"
                )


def _notes(own: Sequence[Node], graph: OnnxGraph) -> Iterator[str]:
    wide = sorted({name for name, value in graph.values.items() if value.dtype == "float64"})
    if wide:
        yield f"TensorRT has no float64: {', '.join(wide[:3])}{', ...' if len(wide) > 3 else ''} become float32"
    for node in own:
        if node.op_type in _RANDOM and "seed" in node.attributes:
            yield f"{place(node)}: TensorRT ignores its seed, and draws other numbers"
        if node.op_type == "Range" and any(
            name in graph.values and graph.values[name].dtype == "float32" for name in node.inputs
        ):
            yield f"{place(node)}: TensorRT counts its elements in float32, which may give one fewer than ONNX Runtime's"


def place(node: Node) -> str:
    """Where a node is, for a person: its ONNX name and operator, its PyTorch module and source line."""
    told = [node.op_type, *([f"module {node.module}"] if node.module else []), *([node.source] if node.source else [])]
    return f'node "{node.name}" ({", ".join(told)})'


def ignored(node: Node) -> Iterator[tuple[str, str]]:
    """What TensorRT leaves out of `node` without an error, and what to do: by the node alone, since no network shows it."""
    if node.op_type == "Attention":
        if node.inputs[6:7] and node.inputs[6]:
            yield "TensorRT ignores its nonpad_kv_seqlen, and the padding would be attended to", _HOW
        for name in _WINDOWS:
            size = node.attributes.get(name, -1)
            if isinstance(size, int) and size >= 0:
                yield f"TensorRT ignores its {name} of {size}, and all positions would be attended to", _WINDOW
    if node.op_type in _RECURRENT and node.attributes.get("layout"):
        yield "TensorRT ignores its layout of 1, and takes the batch for the sequence", _LAYOUT


def _refused(node: Node, graph: OnnxGraph) -> Iterator[str]:
    given = [*node.inputs, *[""] * (7 - len(node.inputs))]
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


def _unquantisable(node: Node, graph: OnnxGraph) -> Iterator[tuple[str, str]]:
    """What TensorRT's parser refuses of quantisation, in its own words: a type or an operator."""
    if node.op_type in _INTEGER:
        yield f"TensorRT has no {node.op_type}", _STATIC
    for dtype in sorted(quantised_types(node, graph) - {*_DEQUANTISED}):
        way_out = _BIAS if dtype == "int32" else _TYPES
        yield f"it has values of {dtype}, and TensorRT dequantises {', '.join(_DEQUANTISED[::2])} alone", way_out


def quantised_types(node: Node, graph: OnnxGraph) -> set[str]:
    """What a node quantises to or dequantises, as far as its weights and zero point tell."""
    if node.op_type not in _QUANTISED:
        return set()
    names = [*node.inputs[2:3], *(node.inputs[:1] if node.op_type == "DequantizeLinear" else node.outputs[:1])]
    told = {graph.values[name].dtype for name in names if name in graph.values}
    if node.attributes.get("output_dtype") == _FLOAT8 and node.op_type == "QuantizeLinear":
        told.add("float8_e4m3fn")
    return told - {""}


def gpus_with_types(
    graph: OnnxGraph, candidates: Sequence[str], asked: bool, where: str, notes: list[str]
) -> tuple[str, ...]:
    """Those of the compute capabilities `candidates` whose hardware has the types that `graph` quantises to.

    Raises UsageError where one of those that were `asked` for lacks a type, EngineError where all do; else a note tells
    what is left.
    """
    types = set().union(*(quantised_types(node, graph) for node in graph.nodes))
    left = tuple(candidates)
    for dtype, (name, least) in _HARDWARE.items():
        lacking = [text for text in left if dtype in types and float(text) < float(least)]
        if not lacking:
            continue
        left = tuple(text for text in left if text not in lacking)
        told = f"{name} needs compute capability {least} or later"
        lacks = f"{', '.join(lacking)} {'lack' if len(lacking) > 1 else 'lacks'} it"
        if asked and left:
            ways = " ".join(f"--compute-capability {text}" for text in left)
            raise UsageError(f"{where}: {told}; {lacks}; leave it out with {ways}")
        if not left:
            kind = UsageError if asked else EngineError
            raise kind(f"{where}: {told}; {lacks}; compile another precision, or for such a GPU")
        notes.append(f"{told}: the engine is for {', '.join(left)}")
    return left


def is_quantised(graph: OnnxGraph) -> bool:
    """Whether the graph has quantised tensors, as QuantizeLinear and DequantizeLinear write them."""
    return any(node.op_type in _QUANTISED for node in graph.nodes)


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
