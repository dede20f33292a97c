"""If, Loop and Scan around a conversion: taken out of the graph before, put back whole, in fp32, with sound casts, after.

AutoCast types what a body reads of its own as if nothing came in from outside: a body with a product ends as a graph that
mixes types. So it never sees one: what such nodes read becomes outputs, and what they make becomes inputs. An input must have
a rank; what has none known, as a Loop's state, is made by a node that stands in for the Loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, helper

from .element_types import HALVES, TensorTypes, tensor_types


@dataclass(frozen=True)
class Held:
    """What was taken out of `source`, a whole fp32 graph: its nodes with bodies. `stand_ins` must be left in fp32."""

    source: onnx.ModelProto
    types: TensorTypes
    nodes: tuple[onnx.NodeProto, ...]
    stand_ins: list[str] = field(default_factory=list)


def bodies_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from (attribute.g,) if attribute.HasField("g") else attribute.graphs


def has_bodies(node: onnx.NodeProto) -> bool:
    return next(bodies_of(node), None) is not None


def reads(node: onnx.NodeProto) -> list[str]:
    """Every name of the graph around it that a node reads: its inputs, and what its bodies take from outside, at any depth."""
    names = dict.fromkeys(name for name in node.input if name)
    for body in bodies_of(node):
        own = {v.name for v in body.input} | {t.name for t in body.initializer}
        own |= {t.values.name for t in body.sparse_initializer}
        for inner in body.node:
            names |= dict.fromkeys(name for name in reads(inner) if name not in own)
            own.update(inner.output)
        names |= dict.fromkeys(v.name for v in body.output if v.name not in own)
    return list(names)


def readers_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each name, in order, also those that read it in a body."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in reads(node):
            found.setdefault(name, []).append(node)
    return found


def take_out(model: onnx.ModelProto) -> Held | None:
    """Cut the nodes with bodies out of `model`, which is changed; None where it has none.

    Raises ValueError where the type of what such a node makes can't be told.
    """
    held = tuple(node for node in model.graph.node if has_bodies(node))
    if not held:
        return None
    source = onnx.ModelProto()
    source.CopyFrom(model)
    graph, types = model.graph, tensor_types(model)
    rest = [node for node in graph.node if not has_bodies(node)]
    made = {name for node in rest for name in node.output}
    outputs = [v for v in graph.output if v.name in made]
    wanted = [name for node in held for name in reads(node) if name in made]
    outputs += [_declared(name, types) for name in dict.fromkeys(wanted) if name not in {v.name for v in outputs}]
    read = {name for node in rest for name in node.input}
    inputs = [_declared(name, types) for node in held for name in node.output if name in read]
    ranked = [v for v in inputs if not v.type.HasField("tensor_type") or v.type.tensor_type.HasField("shape")]
    stand_ins = [_stand_in(graph, v) for v in inputs if v not in ranked]
    rest = [*stand_ins, *rest]
    if stand_ins:
        ranked.append(helper.make_tensor_value_info(_SHAPE, TensorProto.INT64, [None]))
    for place, values in ((graph.node, rest), (graph.output, outputs)):
        kept = [type(v).FromString(v.SerializeToString()) for v in values]
        del place[:]
        place.extend(kept)
    graph.input.extend(ranked)
    return Held(source, types, held, [node.name for node in stand_ins])


def _stand_in(graph: onnx.GraphProto, value: onnx.ValueInfoProto) -> onnx.NodeProto:
    """A node that makes a tensor of this type and of any rank."""
    data = f"{value.name}{_STANDS_IN}"
    graph.initializer.append(helper.make_tensor(data, value.type.tensor_type.elem_type, [1], [0]))
    return helper.make_node("Reshape", [data, _SHAPE], [value.name], name=data)


#: What belongs to stand-ins. No exporter makes such names.
_SHAPE, _STANDS_IN = "//shape", "//stands-in"


def put_back(typed: onnx.ModelProto, held: Held, half: int, half_io: bool) -> None:
    """Put the nodes of `held` back into the converted graph, in fp32 as they were: what is `half` around them is cast.

    Raises ValueError where the conversion raised the opset and that changes what a body computes.
    """
    _check_opset(typed, held)
    graph, before, now = typed.graph, held.source.graph, tensor_types(typed)
    made_by_held = {name for node in held.nodes for name in node.output if name}
    nodes = [node for node in graph.node if node.name not in held.stand_ins]
    weights = [t for t in graph.initializer if not t.name.endswith(_STANDS_IN)]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    _add_weights(typed, held, made_by_held)
    known = {name for node in nodes for name in node.output}
    outer = {v.name for v in before.output}
    wanted_half = {n for n in made_by_held if now.element(n) in HALVES}
    if half_io:
        wanted_half |= {n for n in made_by_held & outer if held.types.element(n) == TensorProto.FLOAT}
    for original in held.nodes:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        renamed: dict[str, str] = {}
        for name in reads(original):
            full = f"{name}_pre_cast" if name in wanted_half else f"{name}_cast_to_fp32"
            if name in wanted_half:
                renamed[name] = full
            elif held.types.element(name) == TensorProto.FLOAT and now.element(name) in HALVES:
                renamed[name] = full
                if full not in known:
                    known.add(full)
                    nodes.append(helper.make_node("Cast", [name], [full], name=full, to=TensorProto.FLOAT))
        _rename(node, renamed)
        for position, name in enumerate(original.output):
            if name in wanted_half:
                node.output[position] = f"{name}_pre_cast"
                cast = helper.make_node("Cast", [node.output[position]], [name], name=f"{name}_cast_down", to=half)
                nodes.append(cast)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(_sorted(nodes))
    _border(typed, held, made_by_held, wanted_half, half)


def _declared(name: str, types: TensorTypes) -> onnx.ValueInfoProto:
    if name not in types.types:
        raise ValueError(f"the type of {name}, which a body reads or makes, can't be told")
    return onnx.ValueInfoProto(name=name, type=types.types[name])


def _check_opset(typed: onnx.ModelProto, held: Held) -> None:
    was, now = (_opset(model) for model in (held.source, typed))
    for node in held.nodes if was != now else ():
        for inner in _within(node):
            if inner.domain not in ("", "ai.onnx"):
                continue
            since = {onnx.defs.get_schema(inner.op_type, opset).since_version for opset in (was, now)}
            if len(since) > 1:
                raise ValueError(
                    f"the graph has opset {was}, the conversion needs {now}, and {inner.op_type} in a body of {node.name} "
                    f"has changed between them; export with --opset {now}"
                )


def _opset(model: onnx.ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def _within(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    for body in bodies_of(node):
        for inner in body.node:
            yield inner
            yield from _within(inner)


def _add_weights(typed: onnx.ModelProto, held: Held, made: set[str]) -> None:
    """Weights that bodies alone read, which the conversion drops as unused."""
    graph = typed.graph
    there = {t.name for t in graph.initializer} | {v.name for v in graph.input} | made
    there |= {name for node in graph.node for name in node.output}
    weights = {t.name: t for t in held.source.graph.initializer}
    wanted = dict.fromkeys(name for node in held.nodes for name in reads(node) if name not in there)
    graph.initializer.extend(weights[name] for name in wanted if name in weights)


def _rename(node: onnx.NodeProto, renamed: dict[str, str]) -> None:
    """Names of the graph around, in the inputs of a node and wherever its bodies read them."""
    for position, name in enumerate(node.input):
        node.input[position] = renamed.get(name, name)
    for body in bodies_of(node):
        own = {v.name for v in body.input} | {t.name for t in body.initializer}
        own |= {name for inner in body.node for name in inner.output}
        outside = {old: new for old, new in renamed.items() if old not in own}
        for inner in body.node:
            _rename(inner, outside)
        for value in body.output:
            value.name = outside.get(value.name, value.name)


def _sorted(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes in an order in which each comes after what it reads; otherwise as they were."""
    makers = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    done: dict[int, onnx.NodeProto] = {}
    for first in range(len(nodes)):
        waiting = [first]
        while waiting:
            number = waiting[-1]
            before = [makers[n] for n in reads(nodes[number]) if n in makers and makers[n] not in done]
            if number in done or not before:
                done.setdefault(number, nodes[number])
                waiting.pop()
            elif len(waiting) > len(nodes):
                raise ValueError("the converted graph has a circle")
            else:
                waiting.extend(before)
    return list(done.values())


def _border(typed: onnx.ModelProto, held: Held, made: set[str], halved: set[str], half: int) -> None:
    """The inputs and outputs of the whole graph again; what the bodies make is no input any more."""
    graph, before = typed.graph, held.source.graph
    inputs = [v for v in graph.input if v.name not in made and v.name != _SHAPE]
    cut = {v.name: v for v in graph.output}
    outputs = []
    for value in before.output:
        kept = cut.get(value.name, value)
        own = onnx.ValueInfoProto.FromString(kept.SerializeToString())
        if value.name in halved:
            own.type.tensor_type.elem_type = half
        outputs.append(own)
    known = [v for v in graph.value_info if v.name not in made]
    for place, values in ((graph.input, inputs), (graph.output, outputs), (graph.value_info, known)):
        kept_values = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in values]
        del place[:]
        place.extend(kept_values)
