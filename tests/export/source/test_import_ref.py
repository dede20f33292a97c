"""The names and arguments of a model of the user's own."""

from __future__ import annotations

import pytest
from attn_export.source.import_ref import import_target, parse_config
from attn_runtime.errors import UsageError
from torch import nn


def test_config_values_are_literals_or_text() -> None:
    assert parse_config(["a=3", "b=[1,2]", "c=tiny", "d=1e-3", "e=None", "f=x=y"]) == {
        "a": 3, "b": [1, 2], "c": "tiny", "d": 1e-3, "e": None, "f": "x=y",
    }  # fmt: skip
    for bad in (["a"], ["1a=3"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            parse_config(bad)


def test_what_a_name_leads_to() -> None:
    built, rest = import_target("torch.nn:Linear", {"in_features": 3, "out_features": 2})
    assert isinstance(built, nn.Linear) and not rest
    with pytest.raises(UsageError, match="torch.nn has no Lineer; did you mean Linear?"):
        import_target("torch.nn:Lineer", {})
    with pytest.raises(UsageError, match="returned a dict; expected an nn.Module"):
        import_target("builtins:dict", {})
