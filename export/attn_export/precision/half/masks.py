"""Numbers that stand for minus infinity in attention masks: found by what they are for, and kept exact in half precision.

A mask of -3.4e38 or -1e9 becomes the least number of the type. Where a score is added to it, fp32 rounds the score away,
and a row that is masked everywhere is answered with equal parts. In float16 the sum overflows or, in an engine that does
not round in between, keeps the score. So the sum is written as it is meant: the mask where it masks, else the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from ..layerwise import STANDS_FOR_INFINITY
from ..typed import HALVES, MOVES, has_bodies, readers_of, tensor_types

#: What a mask may go through on its way from a constant to a softmax.
_ON_THE_WAY = frozenset({"Add", "Sub", "Neg", "Min", "Max", "Clip", "Cast", "CastLike"}) | MOVES


def constants_beyond(model: onnx.ModelProto, folder: Path, limit: float) -> dict[str, tuple[float, bool]]:
    """Weights and constants beyond `limit`: max|value| of what is finite, and whether all beyond it are one number.

    External weights of `model` lie in `folder`.
    """
    found: dict[str, tuple[float, bool]] = {}
    for name, tensor in _constants(model.graph):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor, str(folder))
        beyond = value[np.isfinite(value) & (np.abs(value) > limit)]
        if beyond.size:
            found[name] = float(np.abs(beyond).max()), bool((beyond == beyond.flat[0]).all())
    return found


def _constants(graph: onnx.GraphProto) -> Iterable[tuple[str, onnx.TensorProto]]:
    yield from ((t.name, t) for t in graph.initializer)
    for node in graph.node:
        if node.op_type not in ("Constant", "ConstantOfShape"):
            continue
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield node.output[0], attribute.t
            elif attribute.name in ("value_float", "value_floats"):
                values = [attribute.f] if attribute.name == "value_float" else list(attribute.floats)
                yield node.output[0], numpy_helper.from_array(np.asarray(values, np.float32))


def mask_tensors(
    model: onnx.ModelProto,
    constants: Mapping[str, tuple[float, bool]],
    reach: Callable[[str], float],
    limit: float,
    zero_one: Collection[str] = (),
) -> frozenset[str]:
    """Tensors beyond `limit` that hold a mask: made from one constant, and read by nothing but softmaxes in the end.

    `reach` gives max|value| of a tensor, and `zero_one` are float inputs that hold 0 and 1 alone. Numbers that stand for
    infinity need no such proof and are not among them.
    """
    graph = model.graph
    readers = readers_of(graph)
    flags = _flags(model, zero_one)
    outputs = {v.name for v in graph.output}
    found: set[str] = set()
    for start, (largest, single) in constants.items():
        if single and largest < STANDS_FOR_INFINITY:
            found |= _from(start, readers, flags, outputs, reach, limit)
    return frozenset(found)


def _from(
    start: str,
    readers: Mapping[str, list[onnx.NodeProto]],
    flags: Collection[str],
    outputs: Collection[str],
    reach: Callable[[str], float],
    limit: float,
) -> set[str]:
    """What holds the constant `start` on its way to softmaxes; empty where it goes anywhere else."""
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        if name in outputs:
            return set()
        for node in readers.get(name, ()):
            if node.op_type == "Softmax":
                continue
            scaled = node.op_type == "Mul" and all(other in flags or other == name for other in node.input)
            if has_bodies(node) or not (scaled or node.op_type in _ON_THE_WAY):
                return set()
            made = [out for out in node.output if out and out not in seen and reach(out) > limit]
            seen.update(made)
            waiting.extend(made)
    return seen


def zero_one_inputs(cases: Iterable[Path]) -> frozenset[str]:
    """Float inputs that hold 0 and 1, and nothing else, in all of these files: masks that a caller makes as floats."""
    values: dict[str, set[float]] = {}
    for path in cases:
        for name, value in load_file(path).items():
            if np.issubdtype(value.dtype, np.floating) and value.size:
                # The ends and whether anything lies between them say it all, without a sort of every number.
                between = bool(((value != 0) & (value != 1)).any())
                held = {float("nan")} if between else {float(value.min()), float(value.max())}
                values.setdefault(name, set()).update(held)
    return frozenset(name for name, held in values.items() if held == {0.0, 1.0})


def _flags(model: onnx.ModelProto, zero_one: Collection[str]) -> set[str]:
    """Float tensors made of integers, booleans, zeros and ones, and constants alone, such as `1 - mask`."""
    types = tensor_types(model)
    flags = {name for name, _ in _constants(model.graph)} | set(zero_one)
    for node in model.graph.node:
        given = [name for name in node.input if name]
        cast = node.op_type == "Cast" and types.element(given[0]) not in (TensorProto.FLOAT, *HALVES)
        kept = node.op_type in _ON_THE_WAY | {"Mul"} and not has_bodies(node)
        if given and (cast or (kept and all(n in flags or types.element(n) != TensorProto.FLOAT for n in given))):
            flags.update(node.output)
    return flags


def absorb(
    typed: onnx.ModelProto, folder: Path, is_mask: Callable[[str], bool], onnx_type: int, max_finite: float
) -> onnx.ModelProto | None:
    """`typed` with each sum of a mask and something else written as Where(masked, mask, sum); None where there is none.

    Such sums of fp32 are left alone: they do that by their rounding. Two masks are added as they are. A mask that is
    subtracted counts as well. `is_mask` is asked with names of the typed graph; constants of it that hold the type's
    largest number are masks too. Its external weights lie in `folder`.
    """
    constants = {name for name, tensor in _constants(typed.graph) if _at_limit(tensor, folder, onnx_type, max_finite)}
    types = tensor_types(typed)
    model = onnx.ModelProto()
    model.CopyFrom(typed)
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    far: dict[tuple[str, float], str] = {}
    for node in graph.node:
        nodes.append(node)
        if node.op_type not in ("Add", "Sub") or types.element(node.output[0]) not in HALVES:
            continue
        masks = [position for position, name in enumerate(node.input) if name in constants or is_mask(name)]
        if len(masks) != 1:
            continue
        mask, out = node.input[masks[0]], node.output[0]
        sign = 1.0 if node.op_type == "Sub" and masks == [1] else -1.0
        added = []
        if (mask, sign) not in far:
            operator, bound = ("GreaterOrEqual", _MOST) if sign > 0 else ("LessOrEqual", _LEAST)
            far[mask, sign] = f"{mask}_masks_{'above' if sign > 0 else 'below'}"
            added.append(_node(operator, [mask, bound], far[mask, sign]))
        node.output[0] = f"{out}_before_mask"
        taken = mask
        if sign > 0:
            taken = f"{out}_of_mask"
            added.append(_node("Neg", [mask], taken))
        added.append(_node("Where", [far[mask, sign], taken, node.output[0]], out))
        for each in added:
            each.metadata_props.extend(node.metadata_props)
        nodes.extend(added)
    if not far:
        return None
    del graph.node[:]
    graph.node.extend(nodes)
    for name, value in ((_LEAST, -max_finite / 2), (_MOST, max_finite / 2)):
        if any(name in node.input for node in nodes):
            graph.initializer.append(helper.make_tensor(name, onnx_type, [], [value]))
    return model


def _at_limit(tensor: onnx.TensorProto, folder: Path, onnx_type: int, max_finite: float) -> bool:
    if tensor.data_type != onnx_type:
        return False
    value = numpy_helper.to_array(tensor, str(folder)).astype(np.float32)
    return bool((np.abs(value) == np.float32(max_finite)).any())


def _node(operator: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=f"{output}_{operator}")


_LEAST, _MOST = "half_precision_masked_below", "half_precision_masked_above"
