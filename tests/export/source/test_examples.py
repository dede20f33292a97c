from pathlib import Path

import numpy as np
import pytest
from attn_export.source.examples import Example, check_example, load_example, specs_from_examples
from attn_export.source.input_specs import parse_dims
from attn_runtime.errors import InputError, UsageError
from attn_runtime.spec import Dim


def test_example_gives_shapes_and_integer_ranges(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", ids=np.array([[3, 7, 41]]), mask=np.ones((1, 3), bool))
    example = load_example(tmp_path / "x.npz")
    ids, mask = specs_from_examples([example], parse_dims(["ids.1=1:3:16"]))
    assert ids.dims == (Dim.fixed(1), Dim("ids_1", 1, 3, 16))
    assert (ids.low, ids.high) == (3, 42)
    assert mask.dims == (Dim.fixed(1), Dim.fixed(3))
    with pytest.raises(UsageError, match=r"known: ids\.0, ids\.1, mask\.0, mask\.1"):
        specs_from_examples([example], parse_dims(["batch=1:2:3"]))
    with pytest.raises(UsageError, match="the example has 3 there, outside 4..8"):
        specs_from_examples([example], parse_dims(["ids.1=4:5:8"]))


def test_examples_that_cannot_be_read(tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", np.ones(3))
    np.savez(tmp_path / "object.npz", x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "short.safetensors").write_bytes(b"\x00" * 5)
    for name, says in {
        "absent.npz": "no such file",
        "bare.npy": "one bare array",
        "text.npz": "not an .npz",
        "short.safetensors": "not an .npz",
    }.items():
        with pytest.raises(UsageError, match=says):
            load_example(tmp_path / name)
    with pytest.raises(UsageError, match="not an .npz"):  # pickled objects are never loaded
        load_example(tmp_path / "object.npz")


def saved(path: Path, **arrays: np.ndarray) -> Example:
    np.savez(path, **arrays)
    return load_example(path)


def test_several_examples_share_specs(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.npz", ids=np.array([[3, 7, 41]]), x=np.ones(2, np.float32))
    b = saved(tmp_path / "b.npz", ids=np.array([[1, 50]]), x=np.ones(2, np.float32))
    with pytest.raises(UsageError, match=r"b.npz: ids has 2 on axis 1, and .*a.npz has 3; add --dim ids.1=2:3:3"):
        specs_from_examples([a, b], {})
    with pytest.raises(UsageError, match=r"--dim ids.1: the example has 2 there, outside 3..9 \(.*b.npz\)"):
        specs_from_examples([a, b], parse_dims(["ids.1=3:3:9"]))
    specs = specs_from_examples([a, b], parse_dims(["ids.1=1:3:9"]))
    assert (specs[0].low, specs[0].high) == (1, 51)
    for example in (a, b):
        check_example(specs, example)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": np.ones((2, 3), np.float64)}, "expected dtype float32"),
        ({"x": np.ones(2, np.float32)}, "expected rank 2"),
        ({"y": np.ones((2, 3), np.float32)}, "missing input x; unknown input y"),
        ({"x": np.ones((2, 9), np.float32)}, "allows 1..4"),
    ],
)
def test_an_example_that_does_not_fit_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    good = saved(tmp_path / "good.npz", x=np.ones((2, 3), np.float32))
    bad = saved(tmp_path / "bad.npz", **arrays)
    with pytest.raises((InputError, UsageError)) as told:
        specs = specs_from_examples([good], parse_dims(["x.1=1:3:4"]))
        check_example(specs, good)
        check_example(specs, bad)
    assert says in str(told.value) and "bad.npz" in str(told.value)
