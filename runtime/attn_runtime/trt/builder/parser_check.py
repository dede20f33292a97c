"""Hold the network that TensorRT parsed against the ONNX graph: what it read as something else is found before it is built.

The parser gives no error for these. `parser_rules` has what is compared, operator by operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import EngineError
from ...onnx_file import Node, OnnxGraph
from .. import NODE
from .fp32_guard import layer_types
from .parser_rules import RULES, LayerFacts, Rule
from .preflight import place

_CARRIERS = ("SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE")
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_RENAME = "give it a name that no operator of ONNX has, or write it out in those operators"
_SCALARS = ("alpha", "beta", "epsilon", "cubic_coeff")


@dataclass(frozen=True)
class Misread:
    """A node that TensorRT reads as something else. `certain`: the answers change; else they may, at some inputs.

    `place` is the node for a person, `text` what the graph says and what was read, `way_out` what to do about it.
    """

    place: str
    text: str
    way_out: str
    certain: bool


@dataclass(frozen=True)
class NetworkFacts:
    """layers    that a rule looks at
    nodes     the names of all ONNX nodes that became a layer
    native    those of them that were read by the name of their operator, and not as a plugin
    """

    layers: tuple[LayerFacts, ...]
    nodes: frozenset[str]
    native: frozenset[str]


def check_network(trt: Any, network: Any, graph: OnnxGraph) -> tuple[Misread, ...]:
    """Every difference between the parsed `network` and the `graph` that it was parsed from."""
    present = {_operator(node) for node in graph.nodes}
    rules = [rule for rule in RULES if present.intersection(rule.operators)]
    if not rules and not any(_is_foreign(node) for node in graph.nodes):
        return ()
    return tuple(compare(graph, read_network(trt, network, rules), rules))


def refuse_misread(misread: Sequence[Misread], where: str) -> None:
    """Raise EngineError where a node is certain to mean something else; its details list them all."""
    certain = [one for one in misread if one.certain]
    if certain:
        more = f" (and {len(certain) - 1} more, below)" if len(certain) > 1 else ""
        raise EngineError(
            f"{where}: TensorRT reads {certain[0].place} as something else: {certain[0].text}{more}; {certain[0].way_out}",
            "\n".join(f"{one.place}: {one.text}; {one.way_out}" for one in certain) if more else "",
        )


def compare(graph: OnnxGraph, network: NetworkFacts, rules: Sequence[Rule] = RULES) -> Iterator[Misread]:
    """As `check_network`, of what `read_network` gave."""
    ordinary = {node.name for node in graph.nodes if not _is_foreign(node)}
    for node in graph.nodes:
        if _is_foreign(node) and node.name in network.native - ordinary:
            text = f"it is of the domain {node.domain}, and TensorRT read ONNX's operator of that name"
            yield Misread(place(node), text, _RENAME, True)
    nodes: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not node.parametric:
            nodes.setdefault(node.name, []).append(node)
    for rule in rules:
        if rule.absent:
            pairs = [
                ([node], LayerFacts(node.name, "", {}, ())) for node in graph.nodes if node.name not in network.nodes
            ]
        else:
            pairs = [(nodes.get(layer.node, []), layer) for layer in network.layers if layer.kind == rule.layer]
        for named, layer in pairs:
            # Several nodes may have one name: then the layer is right where it is what one of them says. What a call gives
            # a function's node is not known here.
            found = [
                (node, list(rule.compare(node, layer, graph))) for node in named if _operator(node) in rule.operators
            ]
            if found and all(texts for _, texts in found):
                node, texts = found[0]
                yield from (Misread(place(node), text, rule.way_out, rule.certain) for text in texts)


def read_network(trt: Any, network: Any, rules: Sequence[Rule] = RULES) -> NetworkFacts:
    """What `rules` look at in the parsed `network`."""
    classes = {rule.layer: _class_of(trt, rule.layer) for rule in rules if rule.layer}
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        wanted.setdefault(rule.layer, set()).update(rule.reads)
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    # Before they are taken for their classes, some of which have a `type` of their own.
    kinds = [layer.type.name for layer in layers]
    maker = {layer.get_output(n).name: at for at, layer in enumerate(layers) for n in range(layer.num_outputs)}
    found, seen, others = [], set(), set()
    for at, (layer, kind) in enumerate(zip(layers, kinds, strict=True)):
        if kind in classes and classes[kind] is not None:
            layer.__class__ = classes[kind]
        attention = layer.attention if kind == "ATTENTION_INPUT" and kind in classes else None
        node = _node(layer.metadata if attention is None else attention.metadata)
        if not node:
            continue
        seen.add(node)
        if kind.startswith("PLUGIN"):
            others.add(node)
        if kind in classes:
            values = {name: _plain(layer if attention is None else attention, name) for name in wanted[kind]}
            narrowed = tuple(_narrowed(trt, layers, kinds, maker, at)) if kind == "ELEMENTWISE" else ()
            inputs = [layer.get_input(n) for n in range(layer.num_inputs)]
            dtypes = tuple("" if tensor is None else tensor.dtype.name for tensor in inputs)
            made, given, scales = map(shape_of, (layer.get_output(0), *[*inputs, None, None][:2]))
            found.append(LayerFacts(node, kind, values, made, given, dtypes, narrowed, scales))
    return NetworkFacts(tuple(found), frozenset(seen), frozenset(seen - others))


def _operator(node: Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _is_foreign(node: Node) -> bool:
    """Whether it is no operator that TensorRT may take by its name. modelopt's are its own, with names like TRT_FP8..."""
    return node.domain not in _DOMAINS and not node.op_type.startswith("TRT_")


def _node(metadata: str) -> str:
    """The ONNX node in a layer's metadata; of one in a function, the calls follow: "its name | the call's (function)"."""
    named = NODE.search(metadata)
    return named[1].split(" | ")[0] if named else ""


def _class_of(trt: Any, kind: str) -> Any:
    """`ITopKLayer` for TOPK: the classes are spelled otherwise than the types, but for their letters."""
    letters = f"i{kind.replace('_', '').lower()}layer"
    return next((getattr(trt, name) for name in dir(trt) if name.lower() == letters), None)


def shape_of(tensor: Any) -> tuple[int, ...]:
    """-1 for what is dynamic; no axes where their number is not known, of which the bindings make a ValueError."""
    try:
        return tuple(tensor.shape) if tensor is not None else ()
    except ValueError:
        return ()


def _plain(layer: Any, name: str) -> Any:
    """The attribute `name` as a number, a string, a bool or a tuple; None where this version has none such."""
    if name == "causal_kind" and not hasattr(layer, name) and hasattr(layer, "causal"):
        return "UPPER_LEFT" if layer.causal else "NONE"  # before there were two kinds
    value = getattr(layer, name, None)
    if value is None or isinstance(value, bool | str):
        return value
    if hasattr(value, "name"):
        return str(value.name)
    if name in _SCALARS:
        return float(value)
    return int(value) if isinstance(value, int) else tuple(map(int, value))


def _narrowed(
    trt: Any, layers: Sequence[Any], kinds: Sequence[str], maker: Mapping[str, int], at: int
) -> Iterator[bool | None]:
    """Of every cast from float32 to half precision among the layers of the node at `at`: whether the constant fits."""
    half = {trt.float16: np.finfo(np.float16), getattr(trt, "bfloat16", None): np.finfo(np.float32)}
    pending, done = [at], {at}
    while pending:
        layer = layers[pending.pop()]
        for number in range(layer.num_inputs):
            tensor = layer.get_input(number)
            before = maker.get(tensor.name) if tensor is not None else None
            if before is None or before in done or NODE.search(layers[before].metadata):
                continue
            done.add(before)
            source = layers[before].get_input(0) if kinds[before] == "CAST" else None
            if source is not None and source.dtype == trt.float32 and tensor.dtype in half:
                yield _fits(trt, layers, kinds, maker, source, half[tensor.dtype])
            else:
                pending.append(before)


def _fits(
    trt: Any, layers: Sequence[Any], kinds: Sequence[str], maker: Mapping[str, int], tensor: Any, limits: Any
) -> bool | None:
    carriers = {kind.name for kind in layer_types(trt, _CARRIERS)}
    at = maker.get(tensor.name)
    while at is not None and kinds[at] in carriers:
        at = maker.get(layers[at].get_input(0).name)
    if at is None or kinds[at] != "CONSTANT":
        return None
    layers[at].__class__ = trt.IConstantLayer
    sizes = np.abs(np.asarray(layers[at].weights, np.float64))
    sizes = sizes[sizes > 0]
    smallest = float(limits.smallest_subnormal)
    return not sizes.size or bool(sizes.max() <= float(limits.max) and sizes.min() >= smallest / 2)
