"""Why a proof says less than it seems, told from the graph: weights that were never trained, and gates that are shut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from attn_runtime.bundle import Arrays

from .mutants import Mutant

#: Operators that let nothing through where one input is all zeros: which inputs those are.
_GATES = {"Mul": (0, 1), "MatMul": (0, 1), "Gemm": (0, 1), "Conv": (1,)}
#: Outputs of two different inputs that differ by less than this share of the largest hardly depend on the input.
_FLAT = 0.02


def notes(
    source: Mapping[str, Any],
    models: Mapping[str, ir.Model],
    unseen: Iterable[Mutant],
    answers: list[Arrays],
    called: str = "equivalent mutants",
) -> Iterator[str]:
    """One line for each reason that a low score may have.

    `source` is what the manifest says of it; `models` are the graphs by name; `unseen` are mutants that nothing told from
    them, and how they are `called`; `answers` are what the last of the graphs gave to different inputs of one size.
    """
    behind: dict[str, set[str]] = {}
    gates: list[str] = []
    for name, model in models.items():
        behind[name], shut = shut_gates(model)
        gates.extend(shut)
    quiet = [mutant for mutant in unseen if mutant.node in behind.get(mutant.graph, set())]
    if gates:
        yield (
            f"{', '.join(gates[:5])}{', ...' if len(gates) > 5 else ''} is all 0: what it multiplies takes no part, and "
            f"{len(quiet)} {called} lie behind it"
        )
    if source.get("kind") == "builtin" and not source.get("checkpoint"):
        yield "the weights are random (the export had no --checkpoint): trained ones make more of the graph matter"
    alike, all_weights = initial_values(models.values())
    if alike:
        yield f"{alike} of {all_weights} weights and biases hold one number throughout, as they do before training"
    if len(answers) > 1 and (change := spread(answers)) is not None and change < _FLAT:
        yield f"the outputs hardly depend on the inputs ({change:.1%} of their size): what changes them little goes unseen"


def shut_gates(model: ir.Model) -> tuple[set[str], list[str]]:
    """The names of nodes that reach no output but through a product with zeros, and the names of these zeros."""
    reached: set[int] = set()
    gates: list[str] = []
    waiting = [value.producer() for value in model.graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in reached:
            continue
        reached.add(id(node))
        zero = [i for i in _GATES.get(node.op_type, ()) if i < len(node.inputs) and _is_zero(node.inputs[i])]
        if zero:
            gates.append(str(node.inputs[zero[0]].name))  # type: ignore[union-attr]
            # A third input is added and not multiplied.
            waiting.extend(v.producer() for v in node.inputs[2:] if v is not None)
        else:
            waiting.extend(v.producer() for v in node.inputs if v is not None)
    return {node.name or "" for node in model.graph if id(node) not in reached}, sorted(set(gates))


def initial_values(models: Any) -> tuple[int, int]:
    """How many weights of more than one number hold one number throughout, 0 or 1 mostly, and how many there are."""
    alike = count = 0
    for model in models:
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.size < 2 or tensor.dtype not in _FLOATS:
                continue
            count += 1
            # The first numbers decide nearly always, so that large weights are not read to the end.
            numbers = tensor.numpy().ravel()
            alike += bool(numbers[0] == numbers[-1] and (numbers == numbers[0]).all())
    return alike, count


def spread(answers: list[Arrays]) -> float | None:
    """How much the outputs at different inputs differ: max|difference| of max|output|, of the output that differs most."""
    shares = []
    for name, first in answers[0].items():
        others = [a[name].astype(np.float64) for a in answers[1:] if a[name].shape == first.shape]
        largest = float(np.abs(first.astype(np.float64)).max()) if first.size else 0.0
        if others and largest and np.isfinite(largest) and first.dtype.kind == "f":
            shares.append(max(float(np.abs(o - first).max()) for o in others) / largest)
    return max(shares, default=None)


_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def _is_zero(value: ir.Value | None) -> bool:
    while value is not None and (maker := value.producer()) is not None and maker.op_type in ("Cast", "Identity"):
        value = maker.inputs[0]
    tensor = value.const_value if value is not None else None
    return tensor is not None and tensor.dtype in _FLOATS and tensor.size > 0 and not np.any(tensor.numpy())
