"""Pickles that would run code if they were loaded as such. None of them does harm: they would make a file, or import a module."""

import argparse
import copyreg
import io
import pickle
import sys
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export.source.checkpoints.inert_pickle import Inert, _Unpickler, load_tensors, origin_of
from torch import nn


class Touches:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def opcodes(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


def with_pickle(path: Path, data: bytes) -> Path:
    """A torch file with that pickle in the place of its own."""
    torch.save({"w": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as old:
        entries = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries.items():
            new.writestr(name, data if name.endswith("data.pkl") else content)
    return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_a_pickle_would_call_is_not_called_and_its_tensors_are_read(tmp_path: Path, protocol: int) -> None:
    made = tmp_path / "made"
    torch.save({"w": torch.arange(3.0), "x": Touches(made)}, tmp_path / "w.pt", pickle_protocol=protocol)
    loaded = load_tensors(tmp_path / "w.pt")
    assert not made.exists()
    assert torch.equal(loaded["w"], torch.arange(3.0)) and origin_of(loaded["x"]) in ("io.open", "_io.open")
    torch.load(tmp_path / "w.pt", weights_only=False)["x"].close()
    assert made.exists(), "loaded as a pickle, it does make the file"


def test_an_object_is_never_made_and_its_module_is_not_imported(tmp_path: Path, ordinary: Any) -> None:
    instance = ordinary()
    instance.attribute = {"w": torch.ones(1)}
    torch.save({"one": instance, "its class": ordinary, "bound": partial(ordinary)}, tmp_path / "w.pt")
    del sys.modules[ordinary.__module__]
    loaded = load_tensors(tmp_path / "w.pt")
    assert ordinary.__module__ not in sys.modules
    assert [origin_of(v) for v in loaded.values()] == [
        "ordinary_objects.Ordinary", "ordinary_objects.Ordinary", "functools.partial"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\nopen\n(VPATH\nVw\ntR.",  # GLOBAL, REDUCE
        b"(VPATH\nVw\nibuiltins\nopen\n.",  # INST
        b"(cbuiltins\nopen\nVPATH\nVw\no.",  # OBJ
        b"cbuiltins\ngetattr\n(cpathlib\nPath\nVtouch\ntR(cpathlib\nPath\n(VPATH\ntRtR.",  # calls what a call gave
        b"cbuiltins\neval\n(Vopen('PATH', 'w')\ntR}Va\nV1\nsb.",  # with a state
    ],
)
def test_no_opcode_calls(tmp_path: Path, data: bytes) -> None:
    made = tmp_path / "made"
    data = data.replace(b"PATH", str(made).encode())
    assert isinstance(opcodes(data), Inert) and not made.exists()
    with warnings.catch_warnings(), suppress(AttributeError):
        warnings.simplefilter("ignore")  # of a file that nobody closes
        pickle.loads(data)
    assert made.exists(), "loaded as a pickle, it does make the file"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"ctorch._utils\n_rebuild_tensor_v2\n(NN}V__code__\nV1\nstb.", "sets the state of a function"),
        (b"ccollections\nOrderedDict\n}V__call__\nV1\nsb.", "sets the state of a function"),
        (b"ctorch.storage\nUntypedStorage\n}Vdtype\nV1\nsb.", "sets the state of a SimpleNamespace"),
        (b"V__import__\n(Vos\ntR.", "calls a str"),
        (b"(V__import__\nVos\no.", "calls a str"),
        (b"V__import__\n(Vos\nt\x81.", "calls a str"),
        (b"V__import__\n(Vos\nt}\x92.", "calls a str"),
        (b"ctorch.storage\nUntypedStorage\n)R.", "calls a SimpleNamespace"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(V1\nI0\n(I2\nt(I1\ntI00\nNtR.", "described by other things"),
        (b"\x82\x07.", "by a number, 7"),
    ],
)
def test_what_is_given_out_can_be_neither_changed_nor_misused(data: bytes, says: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=says):
        opcodes(data)


def test_a_registered_extension_is_not_reached() -> None:
    copyreg.add_extension("os", "getcwd", 0x1234)
    try:
        with pytest.raises(pickle.UnpicklingError, match="by a number"):
            opcodes(b"\x83\x34\x12)R.")
        assert 0x1234 not in copyreg._extension_cache
    finally:
        copyreg.remove_extension("os", "getcwd", 0x1234)


def test_a_state_sets_nothing_but_version_numbers() -> None:
    state = OrderedDict(a=1)
    state._metadata = {"": {"version": 1}}
    state.note = "no method"
    loaded = opcodes(pickle.dumps(state, 2))
    assert loaded._metadata == {"": {"version": 1}} and not hasattr(loaded, "note") and loaded == {"a": 1}


def test_a_tensor_reaches_no_further_than_its_storage(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "x": Touches(tmp_path / "made")}, tmp_path / "w.pt", pickle_protocol=2)
    with zipfile.ZipFile(tmp_path / "w.pt") as file:
        (name,) = [n for n in file.namelist() if n.endswith("data.pkl")]
        data = file.read(name)
    size = b"K\x02\x85"  # (2,)
    assert data.count(size) == 1
    for hostile in (b"J\xff\xff\xff\x7f\x85", b"J\xfe\xff\xff\xff\x85"):
        with pytest.raises((RuntimeError, pickle.UnpicklingError), match="resiz|described by other|out of bounds"):
            load_tensors(with_pickle(tmp_path / "h.pt", data.replace(size, hostile)))


def test_tensors_of_every_kind_come_back_beside_objects(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    with_attribute = base.clone()
    with_attribute.note = "mine"
    tensors = {
        "plain": base, "transposed": base.t(), "part": base[1:, ::2], "parameter": nn.Parameter(base),
        "attribute": with_attribute, "half": base.half(), "bfloat16": base.bfloat16(), "bool": base > 3,
        "uint16": torch.ones(3, dtype=torch.uint16), "float8": base.to(torch.float8_e4m3fn), "empty": torch.ones(0, 3),
        "complex": torch.ones(2, dtype=torch.complex64), "number": torch.tensor(5),
    }  # fmt: skip
    others = {"args": argparse.Namespace(lr=1), "rng": np.random.get_state(), "array": np.ones(2), "path": Path("x")}
    torch.save({"state": defaultdict(int, tensors)} | others, tmp_path / "w.pt")
    loaded = load_tensors(tmp_path / "w.pt")
    for name, tensor in tensors.items():
        got = loaded["state"][name]
        assert got.dtype == tensor.dtype and torch.equal(
            got.detach().to(torch.complex64), tensor.to(torch.complex64)
        ), name
    assert origin_of(loaded["args"]) == "argparse.Namespace" and origin_of(loaded["array"]) == "NumPy array"


def test_what_is_no_dense_tensor_stays_a_stand_in(tmp_path: Path) -> None:
    lazy = torch.ones(2, dtype=torch.complex64).conj()
    torch.save({"sparse": torch.eye(3).to_sparse(), "lazy": lazy, "a": argparse.Namespace()}, tmp_path / "w.pt")
    loaded = load_tensors(tmp_path / "w.pt")
    assert [origin_of(v) for v in loaded.values()] == ["sparse tensor", "a lazy conjugate", "argparse.Namespace"]
