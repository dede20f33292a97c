"""Specs and assets that a plain ONNX file carries inside, as metadata property `attn_export.graph`.

The value is JSON: {"inputs": [TensorSpec], "outputs": [TensorSpec], "assets": {"labels": ..., "image": ...}}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BundleError
from ..files import find_problem, parse_json
from ..onnx_file import METADATA_KEY
from ..spec import TensorSpec
from .manifest import check_asset, schema, tensor_values_problem

KEY = METADATA_KEY


@dataclass(frozen=True)
class Embedded:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    assets: Mapping[str, Any]


def read_embedded(text: str, where: str) -> Embedded:
    """Parse the property. Raises BundleError where it has not its published form: the file may come from anywhere."""
    where = f"{where}: metadata {KEY}"
    value = parse_json(text.encode("utf-8", "surrogatepass"), where)
    definition = {
        "type": "object",
        "required": ["inputs", "outputs"],
        "additionalProperties": False,
        "properties": {
            "inputs": {"$ref": "#/$defs/tensors"},
            "outputs": {"$ref": "#/$defs/tensors"},
            "assets": {"type": "object"},
        },
    }
    if problem := find_problem(value, definition, schema()):
        raise BundleError(f"{where}: {problem}; export the file again")
    assets = value.get("assets", {})
    for name, asset in assets.items():
        check_asset(name, asset, where)
    sides = {}
    for side in ("inputs", "outputs"):
        for tensor in value[side]:
            if problem := tensor_values_problem(tensor):
                raise BundleError(f"{where}: {tensor['name']}: values: {problem}; export the file again")
            for dim in tensor["dims"]:
                if not dim["min"] <= dim["opt"] <= dim["max"]:
                    raise BundleError(
                        f"{where}: {tensor['name']}: got dim {dim['min']}:{dim['opt']}:{dim['max']}, expected "
                        f"min <= opt <= max; export the file again"
                    )
        sides[side] = tuple(map(TensorSpec.from_json, value[side]))
    return Embedded(sides["inputs"], sides["outputs"], assets)
