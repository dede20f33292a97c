"""Which rounding is of which tensor of the fp32 graph."""

from __future__ import annotations

import pytest
from attn_export.precision.schemes._emulation import ENTERED
from attn_export.precision.sensitivity import in_source


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("h", "h"), ("h_cast_to_fp16", "h"), ("h_cast_to_bf16", "h"), ("h_cast_to_fp32", "h"), ("h_pre_cast", "h"),
        (f"x{ENTERED}", "x"), ("own_cast_to_fp16", "own_cast_to_fp16"), ("h_cast_to_fp16_more", None), ("other", None),
    ],
)  # fmt: skip
def test_a_cast_is_of_the_tensor_that_it_casts(name: str, tensor: str | None) -> None:
    assert in_source(name, {"h", "x", "own", "own_cast_to_fp16"}) == tensor
