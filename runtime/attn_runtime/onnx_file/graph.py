"""What an ONNX file computes, node by node, without onnx: operators, names, types, and where in PyTorch each came from.

Read from the wire format, so that a device that builds its own engine can tell a matmul from an add and name the
module at fault. The file is not trusted: nesting, counts and lengths are bounded.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BundleError
from ..files import MAX_JSON_BYTES
from .protobuf import BYTES, FIXED32, VARINT, entry, fields, messages, open_message, varint

#: The metadata property that holds what an export knows beyond the graph; `bundle.onnx_metadata` tells its form.
METADATA_KEY = "attn_export.graph"
#: No graph that a GPU runs has more nodes, and no name is longer: more is a file made to exhaust the memory.
_MOST_NODES = 1_000_000
_LONGEST = 1 << 16
#: TensorProto.DataType -> numpy's name, or ml_dtypes' where numpy has none
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn",
}  # fmt: skip
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
#: In place of a dtype: the attribute is one of the function that the node is in.
_REFERENCE = "reference"
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")

Attribute = int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One operator. `module` is the PyTorch module path and `source` the line "FILE:LINE" it came from, "" where the
    file does not tell; `attributes` holds those of one number, one string or a list of whole numbers. A node without a name
    is called `node_of_OUTPUT`, as TensorRT calls it. `parametric`: in a function, and attributes of its are the caller's."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    module: str
    source: str
    parametric: bool = False


@dataclass(frozen=True)
class Value:
    """A tensor's declared type. `dims` are sizes, names of dynamic axes, or None for an unnamed one; None: no shape."""

    dtype: str
    dims: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class OnnxGraph:
    """nodes         in file order, those of bodies (If, Loop) and functions included
    inputs        of the main graph, without its weights
    outputs       of the main graph
    values        every declared type: inputs, outputs, weights, constants (shapes left out), and those between
    opset         of the default domain
    embedded      the text under METADATA_KEY, unchecked; "" where the file has none
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, Value]
    weights: frozenset[str]
    opset: int
    embedded: str = ""

    def node_by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}


def read_graph(file: Path, where: str) -> OnnxGraph:
    """Read `file`; its external data stays where it is. `where` opens messages.

    Raises BundleError where the file is missing, broken, or beyond what any model needs.
    """
    with open_message(file, where) as data:
        reader = _Reader(data, where)
        reader.walk()
    inputs = tuple(name for name in reader.inputs if name not in reader.weights)
    return OnnxGraph(
        tuple(reader.nodes),
        inputs,
        tuple(reader.outputs),
        reader.values,
        frozenset(reader.weights),
        reader.opset,
        reader.embedded,
    )


@dataclass
class _Reader:
    data: mmap.mmap
    where: str
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)
    opset: int = 0
    embedded: str = ""

    def walk(self) -> None:
        main = None
        functions: list[tuple[int, int]] = []
        for number, start, stop in messages(self.data, 0, len(self.data)):
            if number == 7:
                main = (start, stop)
            elif number == 8:
                self._opset(start, stop)
            elif number == 14 and stop - start <= MAX_JSON_BYTES:
                key, value = entry(self.data, start, stop)
                if key == METADATA_KEY.encode():
                    self.embedded = value.decode()
            elif number == 25:
                functions.append((start, stop))
        if main is None:
            raise ValueError("it has no graph")
        # A stack, not recursion: a hostile file may nest bodies as deep as it likes.
        pending = [("graph", *main), *(("function", *place) for place in functions)]
        top = True
        while pending:
            kind, start, stop = pending.pop(0) if top else pending.pop()
            pending += self._graph(start, stop, top) if kind == "graph" else self._function(start, stop)
            top = False

    def _opset(self, start: int, stop: int) -> None:
        domain, version = "", 0
        for f in fields(self.data, start, stop):
            if f.number == 1 and f.wire == BYTES:
                domain = self._text(f.start, f.stop)
            elif f.number == 2 and f.wire == VARINT:
                version = f.value
        if domain in ("", "ai.onnx"):
            self.opset = version

    def _graph(self, start: int, stop: int, top: bool) -> Iterator[tuple[str, int, int]]:
        for number, begin, end in messages(self.data, start, stop):
            if number == 1:
                yield from self._node(begin, end)
            elif number == 5:
                name, lies = self._tensor(begin, end)
                self.values[name] = lies
                if top:
                    self.weights.add(name)
            elif number in (11, 12, 13):
                name, value = self._value_info(begin, end)
                self.values[name] = value
                if top and number != 13:
                    (self.inputs if number == 11 else self.outputs).append(name)
            self._bounded(len(self.nodes) + len(self.values))

    def _function(self, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        for number, begin, end in messages(self.data, start, stop):
            if number == 7:
                yield from self._node(begin, end)
            self._bounded(len(self.nodes))

    def _node(self, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        name = op_type = domain = module = source = dtype = ""
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: dict[str, Attribute] = {}
        parametric = False
        for number, begin, end in messages(self.data, start, stop):
            if number == 1:
                inputs.append(self._text(begin, end))
            elif number == 2:
                outputs.append(self._text(begin, end))
            elif number == 3:
                name = self._text(begin, end)
            elif number == 4:
                op_type = self._text(begin, end)
            elif number == 5:
                key, value, bodies, told = self._attribute(begin, end)
                if value is not None:
                    attributes[key] = value
                parametric |= told == _REFERENCE
                dtype = told or dtype
                yield from bodies
            elif number == 7:
                domain = self._text(begin, end)
            elif number == 9:
                key_bytes, value_bytes = entry(self.data, begin, end)
                if key_bytes == b"pkg.torch.onnx.name_scopes":
                    module = _module(value_bytes[:_LONGEST].decode(errors="replace"))
                elif key_bytes == b"pkg.torch.onnx.stack_trace":
                    source = _source(value_bytes[:_LONGEST].decode(errors="replace"))
            self._bounded(len(inputs) + len(outputs) + len(attributes))
        if not name and outputs:
            name = f"node_of_{outputs[0]}"  # as TensorRT calls it
        if op_type == "Constant" and dtype and outputs:
            self.values.setdefault(outputs[0], Value(dtype, None))
        module = module or _from_name(name)
        node = Node(name, op_type, domain, tuple(inputs), tuple(outputs), attributes, module, source, parametric)
        self.nodes.append(node)

    def _attribute(self, start: int, stop: int) -> tuple[str, Attribute | None, list[tuple[str, int, int]], str]:
        """Its name, its value where that is kept, the bodies in it, and the dtype of a tensor, or _REFERENCE."""
        name, dtype = "", ""
        value: Attribute | None = None
        numbers: list[int] = []
        bodies: list[tuple[str, int, int]] = []
        for f in fields(self.data, start, stop):
            if f.number == 1 and f.wire == BYTES:
                name = self._text(f.start, f.stop)
            elif f.number == 2 and f.wire == FIXED32:
                value = struct.unpack("<f", self.data[f.start : f.stop])[0]
            elif f.number == 3 and f.wire == VARINT:
                value = _signed(f.value)
            elif f.number == 8 and f.wire == VARINT:
                numbers.append(_signed(f.value))
            elif f.number == 8 and f.wire == BYTES:
                numbers += self._packed(f.start, f.stop)
            elif f.number == 21 and f.wire == BYTES:
                dtype = _REFERENCE
            elif f.number == 5 and f.wire == BYTES:
                dtype = self._tensor(f.start, f.stop)[1].dtype
            elif f.number == 4 and f.wire == BYTES:
                value = self.data[f.start : min(f.stop, f.start + _LONGEST)].decode(errors="replace")
            elif f.number in (6, 11) and f.wire == BYTES:
                bodies.append(("graph", f.start, f.stop))
            self._bounded(len(numbers))
        return name, tuple(numbers) if value is None and numbers else value, bodies, dtype

    def _tensor(self, start: int, stop: int) -> tuple[str, Value]:
        name, dtype = "", 0
        dims: list[int] = []
        for f in fields(self.data, start, stop):
            if f.number == 1 and f.wire == VARINT:
                dims.append(_signed(f.value))
            elif f.number == 1 and f.wire == BYTES:
                dims += self._packed(f.start, f.stop)
            elif f.number == 2 and f.wire == VARINT:
                dtype = f.value
            elif f.number == 8 and f.wire == BYTES:
                name = self._text(f.start, f.stop)
            self._bounded(len(dims))
        return name, Value(_DTYPES.get(dtype, f"type {dtype}"), tuple(dims))

    def _packed(self, start: int, stop: int) -> Iterator[int]:
        """Whole numbers one behind the other, as most writers have a list of them; of a longer list than any model's, none."""
        while start < stop <= start + _LONGEST:
            number, start = varint(self.data, start, stop)
            yield _signed(number)

    def _value_info(self, start: int, stop: int) -> tuple[str, Value]:
        name, value = "", Value("", None)
        for number, begin, end in messages(self.data, start, stop):
            if number == 1:
                name = self._text(begin, end)
            elif number == 2:
                for kind, inner, last in messages(self.data, begin, end):
                    if kind == 1:
                        value = self._tensor_type(inner, last)
        return name, value

    def _tensor_type(self, start: int, stop: int) -> Value:
        dtype, dims = 0, None
        for f in fields(self.data, start, stop):
            if f.number == 1 and f.wire == VARINT:
                dtype = f.value
            elif f.number == 2 and f.wire == BYTES:
                dims = tuple(self._dim(a, b) for n, a, b in messages(self.data, f.start, f.stop) if n == 1)
        return Value(_DTYPES.get(dtype, f"type {dtype}"), dims)

    def _dim(self, start: int, stop: int) -> int | str | None:
        size: int | str | None = None
        for f in fields(self.data, start, stop):
            if f.number == 1 and f.wire == VARINT:
                size = f.value
            elif f.number == 2 and f.wire == BYTES:
                size = self._text(f.start, f.stop) or None
        return size

    def _text(self, start: int, stop: int) -> str:
        if stop - start > _LONGEST:
            raise BundleError(f"{self.where}: a name of {stop - start} bytes, expected at most {_LONGEST}.")
        return self.data[start:stop].decode()

    def _bounded(self, count: int) -> None:
        if count > _MOST_NODES:
            raise BundleError(f"{self.where}: more than {_MOST_NODES} nodes and values, expected fewer.")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _module(scopes: str) -> str:
    """The last but one of "['', 'attention', 'attention.query', 'conv2d_7']": the last is the operator."""
    names = [a or b for a, b in _QUOTED.findall(scopes)]
    return names[-2] if len(names) > 1 else ""


def _source(trace: str) -> str:
    """The innermost frame that is the user's own, as FILE:LINE."""
    frames = _FRAME.findall(trace)
    own = [f for f in frames if not re.search(r"[\\/](site|dist)-packages[\\/]", f[0])] or frames
    return ":".join(own[-1]) if own else ""


def _from_name(name: str) -> str:
    """The torchscript exporter keeps modules in the node's name: "/net/net.0/MatMul" is of "net.0"."""
    path = ""
    for part in name.split("/")[1:-1] if name.startswith("/") else ():
        last = path.rpartition(".")[2]
        path = f"{path[: -len(last)]}{part}" if last and part.startswith(f"{last}.") else f"{path}.{part}".strip(".")
    return path
