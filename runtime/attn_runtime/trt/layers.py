"""What an engine is made of: the layer list that the builder prints when its profiling verbosity is DETAILED.

The text is that of IEngineInspector in its ONELINE format. The inspector itself needs an engine on a GPU; the builder's
verbose log has the same list without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# TensorRT-RTX, TensorRT 10 and 11.
_HEADINGS = ("Layers:", "Engine Layer Information:")
_LAYER = re.compile(
    r"^(?:Layer\(.*?\): )?Name: (?P<name>.*?), LayerType: (?P<type>[^,]*), Inputs: \[(?P<inputs>|.*?\})\]"
    r"(?:, Constants: \[(?P<constants>|.*?\})\])?, Outputs: \[(?P<outputs>|.*?\})\](?P<rest>(?:, .*)?)$"
)
_TACTIC = re.compile(r", Tactic(?:Name|Value): ([^,]*)")
_METADATA = re.compile(r", Metadata: (.*)$")
_TENSOR = re.compile(
    r"Name: (?P<name>.*?),.*?Dimensions: \[(?P<dims>[^]]*)\].*?(?:Format/)?Datatype: (?P<type>[A-Za-z0-9]+)"
)
#: An ONNX node in a layer's metadata. They are separated by control characters, and how the layer came from the node may
#: follow ("__gemm_from_conv1x1").
NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\[_]|$)")
_SCRATCH = re.compile(r"Max Scratch Memory: (\d+)")

#: TensorRT's words for dtypes -> numpy's (bfloat16 and float8 are not numpy's own)
DTYPES = {
    "Float": "float32", "FP32": "float32", "Half": "float16", "FP16": "float16", "BFloat16": "bfloat16", "BF16": "bfloat16",
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "Int8": "int8", "Int32": "int32", "Int64": "int64",
    "Bool": "bool", "UInt8": "uint8", "FP8": "float8", "Int4": "int4", "INT4": "int4",
}  # fmt: skip


@dataclass(frozen=True)
class LayerTensor:
    """`dims` has -1 for a dynamic axis; `dtype` is numpy's name, or TensorRT's own where numpy has none."""

    name: str
    dims: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Layer:
    """One kernel, or step, of the engine. `nodes` are the names of the ONNX nodes that went into it.

    `constants` are weights and factors that lie in the engine; only TensorRT-RTX lists them.
    """

    name: str
    type: str
    tactic: str
    inputs: tuple[LayerTensor, ...]
    outputs: tuple[LayerTensor, ...]
    nodes: tuple[str, ...]
    constants: tuple[LayerTensor, ...] = ()


def layers_in(messages: Iterable[str]) -> tuple[Layer, ...]:
    """The layers that a builder's messages list; empty when no message has the list."""
    for message in messages:
        if message.startswith(_HEADINGS):
            lines = (line.strip() for line in message.split("\n")[1:])
            return tuple(layer for layer in map(parse_layer, lines) if layer is not None)
    return ()


def parse_layer(line: str) -> Layer | None:
    """One line of the list; None for a line that tells of something else."""
    found = _LAYER.match(line)
    if found is None:
        return None
    tactic, metadata = _TACTIC.search(found["rest"]), _METADATA.search(found["rest"])
    return Layer(
        found["name"],
        found["type"].strip(),
        tactic[1].strip() if tactic else "",
        _tensors(found["inputs"]),
        _tensors(found["outputs"]),
        tuple(NODE.findall(metadata[1] if metadata else "")),
        _tensors(found["constants"] or ""),
    )


def scratch_bytes(messages: Sequence[str]) -> int | None:
    """The engine's largest scratch memory, in bytes; None when the log does not tell."""
    found = [int(m[1]) for message in messages if (m := _SCRATCH.search(message))]
    return found[-1] if found else None


def _tensors(text: str) -> tuple[LayerTensor, ...]:
    return tuple(
        LayerTensor(
            m["name"],
            tuple(int(size) for size in m["dims"].replace("x", ",").split(",") if size.strip()),
            DTYPES.get(m["type"], m["type"]),
        )
        for m in _TENSOR.finditer(text)
    )
