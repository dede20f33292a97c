"""How much each rounding of a typed graph moves the answers, measured one at a time.

A single operator in fp32 changes nothing here: its inputs come rounded and its output leaves rounded. What counts is which
tensors are rounded. So the emulated graph gets a switch per rounding, and runs once with each of them alone switched on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle import Case
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from ...parity import Check, check_case, worst
from ..typed import ENTERED, HALVED
from .activations import probe

SWITCH = "//switch"
#: Seconds for one round of measuring; a graph too slow for it has neighbouring roundings switched together.
BUDGET_SECONDS = 120.0
#: What AutoCast appends to the name of a tensor that it casts (and masks.py to that of a sum), and to that of a weight for each
#: further node that reads it, or for those that read it in half precision.
_OF_A_CAST = re.compile(r"(_cast_to_[a-z0-9]+|_pre_cast|_before_mask)\Z")
_OF_A_COPY = re.compile(r"_(\d+|b?fp?16)\Z")


@dataclass(frozen=True)
class Sensitivity:
    """One rounding. `ratio` is max|error| / limit of the worst output with this rounding alone.

    tensor      name in the fp32 graph of what is rounded: a tensor or a weight
    weight      whether it is a weight
    """

    tensor: str
    weight: bool
    ratio: float


def measure_sensitivity(
    source: Path,
    emulated: Path,
    cases: Sequence[Case[Path]],
    tolerance: Tolerance,
    isolated: ChildProcess,
    budget_seconds: float = BUDGET_SECONDS,
    *,
    half_io: bool = False,
) -> list[Sensitivity]:
    """Every rounding of `emulated`, the worst first. Weights too large to lie in the files are always rounded."""
    reply = isolated.run(
        "attn_export.precision.layerwise.sensitivity:measure_here",
        "measuring each rounding",
        source=str(source),
        emulated=str(emulated),
        cases=[[str(c.inputs), str(c.outputs)] for c in cases],
        tolerance=tolerance.to_json(),
        budget=min(budget_seconds, isolated.seconds / 2),
        half_io=half_io,
    )
    return sorted((Sensitivity(*row) for row in reply["rows"]), key=lambda s: -s.ratio)


def measure_here(
    source: str, emulated: str, cases: list[list[str]], tolerance: dict[str, Any], budget: float, half_io: bool
) -> dict[str, Any]:
    """The task of the child process."""
    from safetensors.numpy import load_file

    model = onnx.load(emulated, load_external_data=False)
    sites = add_switches(model, _with_weights_of(model, Path(source)))
    names = [o.name for o in model.graph.output]
    session = probe(model, Path(emulated).parent, ())
    wanted = {i.name for i in session.get_inputs()}
    loaded = [Case(inputs, {}, load_file(inputs), load_file(outputs)) for inputs, outputs in cases]
    limits = Tolerance.from_json(tolerance)

    def ratio(on: Sequence[int]) -> float:
        flags = np.zeros(len(sites), np.bool_)
        flags[list(on)] = True
        checks: list[Check] = []
        for case in loaded:
            fed = {n: v for n, v in {**case.inputs, SWITCH: flags}.items() if n in wanted}
            got = dict(zip(names, session.run(names, fed), strict=True))
            checks.extend(check_case(case, case.outputs, got, limits, keep=0, half_io=half_io))
        return worst(checks).ratio

    started = time.monotonic()
    ratio([])
    once = time.monotonic() - started
    together = max(1, int(np.ceil(once * len(sites) / budget)))
    rows: list[list[Any]] = []
    for start in range(0, len(sites), together):
        block = range(start, min(start + together, len(sites)))
        value = ratio(block)
        rows.extend([*sites[i], value] for i in block)
    return {"rows": rows}


def _with_weights_of(emulated: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The fp32 graph at `path`, with those of its weights that `emulated` holds itself, for they are small enough."""
    source = onnx.load(path, load_external_data=False)
    held = {t.name.removesuffix(HALVED) for t in emulated.graph.initializer if t.data_location != TensorProto.EXTERNAL}
    for tensor in source.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and tensor.name in held:
            load_external_data_for_tensor(tensor, str(path.parent))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    return source


def add_switches(emulated: onnx.ModelProto, source: onnx.ModelProto) -> list[tuple[str, bool]]:
    """Give an emulated graph one more input, SWITCH: bool [n], and let rounding i happen only where element i is true.

    Returns (tensor of the fp32 graph, whether it is a weight) of each rounding; copies of a weight are of that weight. The
    roundings of weights that are not stored in `source` itself get no switch.
    """
    graph = emulated.graph
    exact_weights = {
        t.name: t
        for t in source.graph.initializer
        if t.data_type == TensorProto.FLOAT and t.data_location != TensorProto.EXTERNAL
    }
    halved = {node.output[0]: node for node in graph.node if node.output and node.output[0].endswith(HALVED)}
    weights = {t.name: t for t in graph.initializer}
    known = tensor_names(source)
    sites: list[tuple[str, bool]] = []
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Cast" or not node.input[0].endswith(HALVED):
            continue
        name = node.output[0]
        weight = node.input[0] in weights
        tensor = in_source(name, known)
        if weight:
            named = (exact_weights.get(own) for own in (name, _OF_A_COPY.sub("", name)))
            of = next((w for w in named if w is not None and w.dims == weights[node.input[0]].dims), None)
            if of is None:
                continue
            tensor = of.name
            exact = f"{name}//wide"
            graph.initializer.append(of)
            graph.initializer[-1].name = exact
        else:
            exact = halved[node.input[0]].input[0]
        if tensor is None:
            continue
        index = f"{name}//index"
        graph.initializer.append(numpy_helper.from_array(np.asarray(len(sites), np.int64), index))
        sites.append((tensor, weight))
        node.output[0] = f"{name}//rounded"
        nodes.append(helper.make_node("Gather", [SWITCH, index], [f"{name}//on"]))
        # What is rounded may be an integer that is cast to half precision, and no float yet.
        nodes.append(helper.make_node("Cast", [exact], [f"{name}//as_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Where", [f"{name}//on", node.output[0], f"{name}//as_float"], [name]))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info(SWITCH, TensorProto.BOOL, [len(sites)]))
    return sites


def in_source(name: str, known: set[str]) -> str | None:
    """The fp32 graph's name for a tensor of the typed or the emulated graph, whose casts have names of their own."""
    candidate = name.removesuffix(ENTERED)
    return next((n for n in (candidate, _OF_A_CAST.sub("", candidate)) if n in known), None)


def tensor_names(model: onnx.ModelProto) -> set[str]:
    """What the main graph calls its tensors, inputs and weights."""
    graph = model.graph
    return {name for node in graph.node for name in node.output} | {v.name for v in (*graph.input, *graph.initializer)}
