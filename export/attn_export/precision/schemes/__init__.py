"""Precision schemes, one a file: put a file here and `--precision` takes its name. `_base.py` is the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from ._base import FLAGS, Scheme, get, names, none_named, option
    from ._half import HalfScheme, halves, of_type, scheme_of
    from ._quantised import QuantisedScheme

__all__ = [
    "FLAGS",
    "HalfScheme",
    "QuantisedScheme",
    "Scheme",
    "get",
    "halves",
    "names",
    "none_named",
    "of_type",
    "option",
    "scheme_of",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "_base": ["FLAGS", "Scheme", "get", "names", "none_named", "option"],
        "_half": ["HalfScheme", "halves", "of_type", "scheme_of"],
        "_quantised": ["QuantisedScheme"],
    },
)
