"""A function of the user's gives the samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from attn_export.precision.calibration.sample_function import function_samples
from attn_runtime.errors import UsageError

ROWS = [{"x": np.full((1, 3), n, np.float32)} for n in range(3)]


def generator() -> Iterator[dict[str, Any]]:
    print("loading ...")
    yield from ROWS


def in_tensors() -> list[dict[str, Any]]:
    return [{"x": torch.from_numpy(row["x"])} for row in ROWS]


class Reader:
    """ONNX Runtime's CalibrationDataReader, by its shape alone."""

    def __init__(self) -> None:
        self._rows = iter(ROWS)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rows, None)


used_up = iter(ROWS)
number = 3


def wants_a_path(path: str) -> list[dict[str, Any]]:
    return ROWS


def one() -> int:
    return 1


def breaks() -> Iterator[dict[str, Any]]:
    yield ROWS[0]
    raise KeyError("no such row\nand a second line")


def leaves() -> Iterator[dict[str, Any]]:
    yield ROWS[0]
    raise SystemExit(3)


@pytest.mark.parametrize("name", ["generator", "ROWS", "in_tensors", "Reader"])
def test_what_gives_samples_gives_them_again(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    read = function_samples(f"{__name__}:{name}")
    for _ in range(2):
        assert [(label, float(np.asarray(one["x"]).max())) for label, one in read()] == [
            ("sample 0", 0.0), ("sample 1", 1.0), ("sample 2", 2.0),
        ]  # fmt: skip
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "has no nothing"),
        ("used_up", "got a list_iterator, expected a function without arguments"),
        ("number", "got a int, expected a function without arguments"),
        ("wants_a_path", "failed: TypeError: wants_a_path() missing 1 required positional argument"),
        ("one", "it returned a int, expected an iterable of samples"),
        ("breaks", "breaks, sample 1: failed: KeyError: 'no such row"),
        ("leaves", "leaves, sample 1: failed: SystemExit: 3"),
    ],
)
def test_what_gives_none_is_refused_in_a_line(name: str, says: str) -> None:
    with pytest.raises(UsageError, match="--calibrate .*test_sample_function:") as refused:
        list(function_samples(f"{__name__}:{name}")())
    assert says in str(refused.value) and "\n" not in str(refused.value)
