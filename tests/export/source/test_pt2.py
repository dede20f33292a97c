"""Programs saved by torch.export: loaded without pickle, with the dims that they declare."""

import io
import json
import pickle
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from attn_export.source import pt2
from attn_export.source.input_specs import parse_dims
from attn_runtime.errors import CaptureError, CheckpointError, UsageError
from attn_runtime.spec import Dim
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 2)

    def forward(self, tokens: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(tokens).mean(1) * scale)


ARGS = (torch.randint(0, 20, (3, 5)), torch.randn(3, 1))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    batch, length = torch.export.Dim("batch", min=1, max=16), torch.export.Dim("T", min=1, max=64)
    saved = torch.export.export(
        Net().eval(), ARGS, dynamic_shapes={"tokens": {0: batch, 1: length}, "scale": {0: batch}}
    )
    torch.export.save(saved, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def rewritten(program: Path, suffix: str, content: bytes) -> Path:
    """A copy of the archive with another content of the member of that name."""
    target = program.with_name("changed.pt2")
    hit = False
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            hit |= info.filename.endswith(suffix)
            new.writestr(info.filename, content if info.filename.endswith(suffix) else old.read(info))
    assert hit
    return target


def test_the_program_comes_back_with_its_dims(program: Path) -> None:
    module, (tokens, scale) = pt2.load(program, {})
    with torch.no_grad():
        assert torch.equal(module(*ARGS), Net()(*ARGS))
    assert [d.max for d in tokens.dims] == [16, 64]
    assert [d.opt for d in tokens.dims] == [3, 5]
    assert scale.dims[0] == tokens.dims[0]
    assert scale.dims[1] == Dim.fixed(1)
    assert tokens.high is not None and tokens.high <= 20


def test_dims_can_be_narrowed_by_their_own_names(program: Path) -> None:
    _, (tokens, _) = pt2.load(program, {})
    name = tokens.dims[0].name
    _, (narrow, _) = pt2.load(program, parse_dims([f"{name}=1:2:4"]))
    assert narrow.dims[0] == Dim(name, 1, 2, 4)
    with pytest.raises(UsageError, match="has no such dim"):
        pt2.load(program, parse_dims(["nosuch=1:2:4"]))


def test_a_pickled_object_in_it_is_refused_and_its_module_is_not_imported(program: Path, ordinary: Any) -> None:
    saved = io.BytesIO()
    torch.save(((ordinary(),), {}), saved)
    changed = rewritten(program, "sample_inputs/model.pt", saved.getvalue())
    del sys.modules[ordinary.__module__]
    with pytest.raises(CheckpointError, match="could run code|no readable"):
        pt2.load(changed, {})
    assert ordinary.__module__ not in sys.modules


@pytest.mark.parametrize("place", ["size", "range"])
def test_a_size_that_is_more_than_arithmetic_is_refused_and_not_evaluated(
    program: Path, ordinary: Any, place: str
) -> None:
    with zipfile.ZipFile(program) as archive:
        member = next(n for n in archive.namelist() if n.endswith("models/model.json"))
        text = archive.read(member).decode()
    model = json.loads(text)
    bounds = model["range_constraints"]
    code = f"__import__({ordinary.__module__!r})"
    if place == "size":
        symbol = text.split('"expr_str": "')[1].split('"')[0]
        text = text.replace(f'"expr_str": "{symbol}"', f'"expr_str": "{code}"')
    else:
        bounds[code] = bounds.pop(next(iter(bounds)))
        text = json.dumps(model)
    changed = rewritten(program, "models/model.json", text.encode())
    del sys.modules[ordinary.__module__]
    with pytest.raises(CheckpointError, match="which is no arithmetic"):
        pt2.load(changed, {})
    assert ordinary.__module__ not in sys.modules


def test_every_way_to_unpickle_is_shut() -> None:
    with pt2._no_pickle():
        for opens in (pickle.loads, torch._C._pickle_load_obj):
            with pytest.raises(pickle.UnpicklingError):
                opens(pickle.dumps([1]))
        with pytest.raises(pickle.UnpicklingError):
            saved = io.BytesIO()
            torch.save(Fraction(1, 3), saved)
            saved.seek(0)
            torch.load(saved, weights_only=False)
    assert pickle.loads(pickle.dumps([1])) == [1]


def test_an_open_end_needs_a_bound_of_the_users(tmp_path: Path) -> None:
    open_end = torch.export.Dim("batch", min=2)
    saved = torch.export.export(nn.Linear(4, 2), (torch.randn(3, 4),), dynamic_shapes=({0: open_end},))
    torch.export.save(saved, tmp_path / "open.pt2")
    with pytest.raises(UsageError, match=r"has no upper bound \(example size 3\); add --dim (\w+)=") as told:
        pt2.load(tmp_path / "open.pt2", {})
    name = str(told.value).split("--dim ")[1].split("=")[0]
    _, (x,) = pt2.load(tmp_path / "open.pt2", parse_dims([f"{name}=2:3:9"]))
    assert x.dims[0] == Dim(name, 2, 3, 9)


def test_nested_inputs_and_keywords_are_refused_with_the_way_out(tmp_path: Path) -> None:
    class Nested(nn.Module):
        def forward(self, pair: tuple[torch.Tensor, torch.Tensor], *, scale: torch.Tensor) -> torch.Tensor:
            return pair[0] + pair[1] * scale

    one = torch.ones(2)
    torch.export.save(torch.export.export(Nested(), ((one, one),), {"scale": one}), tmp_path / "n.pt2")
    with pytest.raises(CaptureError, match="export it again with tensors by position"):
        pt2.load(tmp_path / "n.pt2", {})


def test_integers_below_zero_are_drawn_below_zero(tmp_path: Path) -> None:
    saved = torch.export.export(nn.ReLU(), (torch.tensor([-5, -2]),))
    torch.export.save(saved, tmp_path / "neg.pt2")
    _, (x,) = pt2.load(tmp_path / "neg.pt2", {})
    assert (x.low, x.high) == (-5, -1)


def test_files_that_are_no_program(program: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(program.read_bytes()[:-100])
    for path, says in ((cut, "no readable .pt2"), (tmp_path / "absent.pt2", "no such file")):
        with pytest.raises(CheckpointError, match=says):
            pt2.load(path, {})
