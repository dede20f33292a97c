"""What the user names, and the declared inputs that go with it, as a module that can be exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .built_in import built_in_models, list_models
    from .given_arrays import given_inputs
    from .half_precision import half_precision_named
    from .import_ref import import_attribute
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
    "given_inputs",
    "half_precision_named",
    "import_attribute",
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
        "given_arrays": ["given_inputs"],
        "half_precision": ["half_precision_named"],
        "import_ref": ["import_attribute"],
        "input_specs": ["parse_dims", "parse_inputs"],
        "inputs_from": ["OWN_FIT", "UserDraw"],
        "library_models": ["surveyed_models"],
        "resolve": ["DERIVED", "is_saved_model", "load_source"],
        "types": ["ONLY", "Source", "SourceGraph"],
    },
)
