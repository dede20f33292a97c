"""The front door: every public name is there, and none costs anything before it is used."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import attn_runtime
import pytest


@pytest.mark.parametrize("name", attn_runtime.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(attn_runtime, name) is not None
    # Importing a module of that name would put it in the name's place.
    assert importlib.util.find_spec(f"attn_runtime.{name}") is None


def test_dir_has_them_and_another_name_is_an_error() -> None:
    assert set(attn_runtime.__all__) <= set(dir(attn_runtime))
    with pytest.raises(AttributeError, match="module 'attn_runtime' has no attribute 'exprot'"):
        attn_runtime.exprot  # noqa: B018


def test_names_are_what_a_type_checker_is_told() -> None:
    """The names for a type checker, and those that are imported when used, are written down apart."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(attn_runtime.__file__).read_text(encoding="utf-8"))
    told = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module not in (
            "__future__",
            "typing",
            "lazy",
            "attn_runtime.lazy",
        ):
            told |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    assert sorted(told) == sorted(attn_runtime.__all__) == attn_runtime.__all__
    for name, (module, original) in told.items():
        home = importlib.import_module(module if module.startswith("attn_") else f"attn_runtime.{module}")
        assert getattr(home, original) is getattr(attn_runtime, name)


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"numpy", "safetensors", "onnxruntime", "click"}
    code = f"import sys, attn_runtime; print(sorted(set(sys.modules) & {heavy!r}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_python_m_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "attn_runtime", "--version"], capture_output=True, text=True)
    assert done.stdout == "attn-run, version 0.1.0\n" and done.returncode == 0
