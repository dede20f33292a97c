"""What may be asked of which scheme."""

from __future__ import annotations

import math
from typing import Any

import pytest
from attn_export.precision import schemes
from attn_export.precision.quantised.options import BLOCKS, QuantiseOptions
from attn_runtime.errors import UsageError


@pytest.mark.parametrize("name", schemes.names())
def test_nothing_asked_fits_every_scheme(name: str) -> None:
    QuantiseOptions().check(schemes.get(name))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("int8", {"calibrate": "folder", "calibration": "entropy"}), ("fp8", {"calibration": "percentile"}),
        *(("int4-weights", {"block": block}) for block in BLOCKS), ("int4-weights", {"rounding": "clip"}),
        ("int4-weights", {"calibrate": "folder"}), ("int8-weights", {"calibrate": "folder", "rounding": "gptq"}),
        ("int8-dynamic", {"min_agreement": 1.0, "max_size": 1}), ("int8-weights", {"min_agreement": 1e-9}),
    ],
)  # fmt: skip
def test_what_fits(name: str, options: dict[str, Any]) -> None:
    QuantiseOptions(**options).check(schemes.get(name))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("fp16", {"block": 32}, r"^--block-size is for a precision that quantises, and --fp16 does not; leave it out"),
        ("bf16", {"max_size": 0}, r"^--max-size is for a precision that quantises, and --bf16 does not"),
        ("int8-dynamic", {"calibrate": "x"}, r"^--calibrate: int8-dynamic needs no ranges of activations.*leave it out"),
        ("int4-weights", {"calibration": "entropy"}, r"^--calibration: int4-weights needs no ranges"),
        ("int4-weights", {"calibrate": "x", "rounding": "clip"}, r"^--calibrate: int4-weights needs no ranges"),
        ("int8", {"block": 32}, r"^--block-size 32: int8 has one scale per channel; blocks are for int4-weights; available: 16"),
        ("int4-weights", {"block": 48}, r"^--block-size 48: int4-weights takes other blocks; available: 16, 32, 64, 128, 256$"),
        ("int4-weights", {"block": 0}, r"^--block-size 0: int4-weights takes other blocks"),
        ("int8", {"min_agreement": 0.0}, r"^--min-agreement 0: expected a share over 0 and up to 1, as in 0\.99$"),
        ("int8", {"min_agreement": 1.01}, r"^--min-agreement 1\.01: expected"),
        ("int8", {"min_agreement": math.nan}, r"^--min-agreement nan: expected"),
        ("int8", {"max_size": 0}, r"^--max-size 0: expected a number of bytes over 0$"),
        ("int8", {"max_size": -1}, r"^--max-size -1: expected"),
        ("int8", {"rounding": "gtpq"}, r'^--rounding gtpq: unknown; did you mean "?gptq"?.*available: nearest, clip, gptq$'),
        ("fp8", {"rounding": "gptq"}, r"^--rounding gptq is for integers; fp8 rounds to the nearest number, leave it out$"),
        ("int8", {"calibration": "entropi"}, r'^unknown calibration method entropi; did you mean "?entropy"?'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_one_line(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        QuantiseOptions(**options).check(schemes.get(name))
    assert "\n" not in str(caught.value)


def test_the_scheme_with_what_was_chosen() -> None:
    scheme = schemes.get("int4-weights")
    assert isinstance(scheme, schemes.QuantisedScheme)
    assert QuantiseOptions().of(scheme) == scheme
    made = QuantiseOptions(block=128, rounding="clip").of(scheme)
    assert (made.block, made.rounding, made.name, made.operators) == (128, "clip", scheme.name, scheme.operators)
