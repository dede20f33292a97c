"""What the user names, and the declared inputs that go with it, as a module that can be exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .built_in import built_in_models, list_models
    from .half_precision import half_precision_named
    from .input_specs import parse_dims, parse_inputs
    from .inputs_from import OWN_FIT, UserDraw
    from .library_models import surveyed_models
    from .resolve import DERIVED, is_saved_model, load_source
    from .types import ONLY, Source, SourceGraph

__all__ = [
    "DERIVED",
    "ONLY",
    "OWN_FIT",
    "Source",
    "SourceGraph",
    "UserDraw",
    "built_in_models",
    "half_precision_named",
    "is_saved_model",
    "list_models",
    "load_source",
    "parse_dims",
    "parse_inputs",
    "surveyed_models",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "built_in": ["built_in_models", "list_models"],
        "half_precision": ["half_precision_named"],
        "input_specs": ["parse_dims", "parse_inputs"],
        "inputs_from": ["OWN_FIT", "UserDraw"],
        "library_models": ["surveyed_models"],
        "resolve": ["DERIVED", "is_saved_model", "load_source"],
        "types": ["ONLY", "Source", "SourceGraph"],
    },
)
