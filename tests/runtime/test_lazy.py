"""What is not paid for before it is used: a package's public names, methods of dataclasses, modules."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from dataclasses import dataclass as standard_dataclass
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.lazy import dataclass, lazy


def test_names_are_found_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room/__init__.py").write_text("")
    (tmp_path / "room/inner.py").write_text("one, two = 1, 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    get, names = lazy("room", ["two", "first"], {"inner": ["one as first", "two"]})
    assert names() == ["first", "two"] and "room.inner" not in sys.modules
    assert (get("first"), get("two")) == (1, 2)
    monkeypatch.setattr("room.inner.two", 22)
    assert get("two") == 22
    with pytest.raises(AttributeError, match="module 'room' has no attribute 'one'"):
        get("one")


@dataclass(frozen=True)
class Point:
    """A dataclass of `lazy`."""

    x: int
    y: list[int] = field(default_factory=list, hash=False)
    z: int = field(default=3, compare=False)


@standard_dataclass(frozen=True)
class Standard:
    """The standard library's, of the same fields."""

    x: int
    y: list[int] = field(default_factory=list, hash=False)
    z: int = field(default=3, compare=False)


@pytest.mark.parametrize("kind", [Point, Standard])
def test_a_dataclass_is_as_the_standard_librarys(kind: Any) -> None:
    one = kind(1, y=[2])
    assert (one.x, one.y, one.z) == (1, [2], 3)
    assert repr(one) == f"{kind.__name__}(x=1, y=[2], z=3)"
    assert one == kind(1, [2], 9) and one != kind(1, [3]) and one != (1, [2], 3)
    assert hash(one) == hash(kind(1, [5])) != hash(kind(2, [2]))
    assert kind(1).y is not kind(1).y
    assert replace(one, x=4) == kind(4, [2]) and asdict(one) == {"x": 1, "y": [2], "z": 3}
    assert [each.name for each in fields(one)] == list(vars(one)) == ["x", "y", "z"]
    for wrong in ([], [1, [], 3, 4]):
        with pytest.raises(TypeError):
            kind(*wrong)
    for odd in ({"x": 2}, {"w": 1}):
        with pytest.raises(TypeError):
            kind(1, **odd)
    with pytest.raises(FrozenInstanceError):
        one.x = 2
    with pytest.raises(FrozenInstanceError):
        del one.x
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_opening_a_session_loads_nothing_that_it_has_no_use_for(valid_bundle: Path) -> None:
    """Each took milliseconds of a process that answers once: all of them together as much as ONNX Runtime's session."""
    code = """
import sys, attn_runtime, numpy, onnxruntime
before = set(sys.modules)
with attn_runtime.open_session(sys.argv[1], "cpu", "ort", threads=1) as session:
    session.run({"x": numpy.zeros((1, 16), "float32")})
print(*sorted({name for name in set(sys.modules) - before}))
"""
    for _ in range(2):
        told = subprocess.run([sys.executable, "-c", code, valid_bundle], capture_output=True, text=True, check=True)
    loaded = set(told.stdout.split())
    heavy = {
        *(
            "numpy.ma",
            "importlib.metadata",
            "email",
            "zipfile",
            "socket",
            "html",
            "shutil",
            "tempfile",
            "random",
            "difflib",
        ),
        *(
            "safetensors",
            "cuda.bindings",
            "attn_runtime.onnx_file.graph",
            "attn_runtime.device.dlpack",
            "attn_runtime.trt",
        ),
        *("attn_runtime.bundle.tensor_files", "attn_runtime.ort.gpu_engine"),
    }
    assert not loaded & heavy
