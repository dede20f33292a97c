from pathlib import Path

import numpy as np
import pytest
from attn_export.source.input_specs import load_example, override_dims, parse_dims, parse_inputs, specs_from_example
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim


def test_inputs_as_the_readme_writes_them() -> None:
    dims = parse_dims(["batch=1:8:32", "T=128"])
    image, tokens = parse_inputs(["image:float32[batch,3,32,32]", "tokens:int64[batch, T]<30000"], dims)
    assert image.dims == (Dim("batch", 1, 8, 32), Dim.fixed(3), Dim.fixed(32), Dim.fixed(32))
    assert tokens.dims == (Dim("batch", 1, 8, 32), Dim("T", 128, 128, 128))
    assert (tokens.low, tokens.high) == (0, 30000)
    assert not tokens.dims[1].dynamic


def test_a_scalar_input() -> None:
    (scale,) = parse_inputs(["scale:float32[]"], {})
    assert scale.dims == ()


@pytest.mark.parametrize(
    ("inputs", "dims", "says"),
    [
        (["image:float32"], [], "expected NAME:DTYPE[AXIS,...]"),
        (["image:float31[3]"], [], "did you mean float32?"),
        (["image:float32[batch,3]"], [], "dim batch has no size; add --dim batch="),
        (["tokens:int64[4]"], [], "needs a range"),
        (["tokens:int64[4]<0"], [], "is empty"),
        (["tokens:int8[4]<1000"], [], "int8 ends at 127"),
        (["image:float32[3]<5"], [], "a range (<5) is for integers"),
        (["image:float32[0]"], [], "sizes start at 1"),
        (["image:float32[a-b]"], [], "neither a size nor a name"),
        (["a:float32[1]", "a:float32[1]"], [], "given twice"),
        (["a:float32[batch]"], ["batch=1:8:32", "bacth=4"], "did you mean batch?"),
        ([], ["batch=8:1:32"], "min <= opt <= max"),
        ([], ["batch=x"], "expected NAME=MIN:OPT:MAX"),
        ([], ["batch=0:1:2"], "sizes start at 1"),
        ([], ["batch=1", "batch=2"], "given twice"),
    ],
)
def test_what_does_not_parse_is_told(inputs: list[str], dims: list[str], says: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_inputs(inputs, parse_dims(dims))
    assert says in str(told.value)


def test_override_changes_only_the_named_dim() -> None:
    (own,) = parse_inputs(["x:float32[batch,T]"], parse_dims(["batch=1:2:4", "T=1:8:16"]))
    (changed,) = override_dims([own], parse_dims(["T=4:4:64"]))
    assert changed.dims == (Dim("batch", 1, 2, 4), Dim("T", 4, 4, 64))
    with pytest.raises(UsageError, match="no input has a dim of that name"):
        override_dims([own], parse_dims(["S=4"]))


def test_example_gives_shapes_and_integer_ranges(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", ids=np.array([[3, 7, 41]]), mask=np.ones((1, 3), bool))
    example = load_example(tmp_path / "x.npz")
    ids, mask = specs_from_example(example, parse_dims(["ids.1=1:3:16"]))
    assert ids.dims == (Dim.fixed(1), Dim("ids_1", 1, 3, 16))
    assert (ids.low, ids.high) == (3, 42)
    assert mask.dims == (Dim.fixed(1), Dim.fixed(3))
    with pytest.raises(UsageError, match=r"known: ids\.0, ids\.1, mask\.0, mask\.1"):
        specs_from_example(example, parse_dims(["batch=1:2:3"]))
    with pytest.raises(UsageError, match="the example has 3 there, outside 4..8"):
        specs_from_example(example, parse_dims(["ids.1=4:5:8"]))


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
