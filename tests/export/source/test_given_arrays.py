"""What a person gives as inputs is held against the declared ones. (Names, dtypes and sizes: test_inputs_from.py.)"""

from __future__ import annotations

import numpy as np
import pytest
from attn_export.source import given_inputs
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec

THREE = (Dim.fixed(3),)


@pytest.mark.parametrize(
    ("spec", "value", "says"),
    [
        (
            TensorSpec("m", "bool", THREE),
            np.array([0, 1, 2], np.uint8).view(np.bool_),
            "holds a byte 2, expected 0 and 1",
        ),
        (TensorSpec("i", "int64", THREE, low=1), np.array([0, 1, 2]), "got values 0..2, expected 1 and more; widen"),
        (
            TensorSpec("i", "int64", THREE, high=2),
            np.array([0, 1, 2]),
            "expected less than 2; widen the range, or mend it",
        ),
    ],
)
def test_values_outside_of_what_is_declared_are_refused(spec: TensorSpec, value: np.ndarray, says: str) -> None:
    with pytest.raises(UsageError, match="the place: input") as refused:
        given_inputs("the place", {spec.name: value}, [spec], "--option", "mend it")
    assert says in str(refused.value)


def test_an_open_npz_is_as_good_as_a_dict(tmp_path) -> None:
    np.savez(tmp_path / "one.npz", y=np.zeros(3, np.float32), x=np.ones(3, np.float32))
    specs = [TensorSpec("x", "float32", THREE), TensorSpec("y", "float32", THREE)]
    with np.load(tmp_path / "one.npz") as given:
        assert list(given_inputs("here", given, specs, "--option", "mend it")) == ["x", "y"]
