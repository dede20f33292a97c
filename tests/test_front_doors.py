"""The front doors of attn_runtime and attn_export: every public name is there, and none costs anything before it is used."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import attn_export
import attn_runtime
import pytest
from support.checks.import_graph import repository

GRAPH = repository()
DOORS = (attn_runtime, attn_export)
NAMES = [(door, name) for door in DOORS for name in door.__all__]
#: What importing the package must not load.
HEAVY = {
    "attn_runtime": {"numpy", "safetensors", "onnxruntime", "click"},
    "attn_export": {"torch", "numpy", "onnx", "rich", "click"},
}
both = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)


@pytest.mark.parametrize(("door", "name"), NAMES, ids=[f"{door.__name__}.{name}" for door, name in NAMES])
def test_every_public_name_is_there(door: ModuleType, name: str) -> None:
    assert getattr(door, name) is not None
    # Importing a module of that name would put it in the name's place.
    assert importlib.util.find_spec(f"{door.__name__}.{name}") is None


@both
def test_another_name_is_an_error(door: ModuleType) -> None:
    assert set(door.__all__) <= set(dir(door))
    with pytest.raises(AttributeError, match=f"module '{door.__name__}' has no attribute 'exprot'"):
        door.exprot  # noqa: B018


@both
def test_names_are_what_a_type_checker_is_told(door: ModuleType) -> None:
    """The names for a type checker, and those that are imported when used, are written down apart."""
    text = {name: home for name, home in GRAPH.reexports(door.__name__).items() if name in door.__all__}
    assert sorted(text) == sorted(door.__all__) == door.__all__
    for name, home in text.items():
        there = importlib.import_module(home)
        assert any(getattr(there, own, None) is getattr(door, name) for own in (name, *dir(there)))


@both
def test_importing_the_package_loads_nothing_heavy(door: ModuleType) -> None:
    code = f"import sys, {door.__name__}; print(sorted(set(sys.modules) & {HEAVY[door.__name__]!r}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(("package", "program"), [("attn_runtime", "attn-run"), ("attn_export", "attn-export")])
def test_python_m_is_the_program(package: str, program: str) -> None:
    done = subprocess.run([sys.executable, "-m", package, "--version"], capture_output=True, text=True)
    assert done.stdout == f"{program}, version 0.1.0\n" and done.returncode == 0
