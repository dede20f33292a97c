"""Precision schemes, one a file: put a file here and `--precision` takes its name. `_base.py` is the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from ._autocast import MAX_BYTES, Cast, computes, nodes_in_fp32, read_cast, require_autocast
    from ._base import FLAGS, Scheme, get, names, none_named, of_type, option, scheme_of
    from ._bodies import has_bodies, readers_of
    from ._element_types import HALVES, tensor_types
    from ._emulation import ENTERED, HALVED, MOVES

__all__ = [
    "ENTERED",
    "FLAGS",
    "HALVED",
    "HALVES",
    "MAX_BYTES",
    "MOVES",
    "Cast",
    "Scheme",
    "computes",
    "get",
    "has_bodies",
    "names",
    "nodes_in_fp32",
    "none_named",
    "of_type",
    "option",
    "read_cast",
    "readers_of",
    "require_autocast",
    "scheme_of",
    "tensor_types",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "_autocast": ["Cast", "MAX_BYTES", "computes", "nodes_in_fp32", "read_cast", "require_autocast"],
        "_base": ["FLAGS", "Scheme", "get", "names", "none_named", "of_type", "option", "scheme_of"],
        "_bodies": ["has_bodies", "readers_of"],
        "_element_types": ["HALVES", "tensor_types"],
        "_emulation": ["ENTERED", "HALVED", "MOVES"],
    },
)
