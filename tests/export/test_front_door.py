"""The front door: every public name is there, and none costs anything before it is used."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import attn_export
import pytest


@pytest.mark.parametrize("name", attn_export.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(attn_export, name) is not None
    # Importing a module of that name would put it in the name's place.
    assert importlib.util.find_spec(f"attn_export.{name}") is None


def test_dir_has_them_and_another_name_is_an_error() -> None:
    assert set(attn_export.__all__) <= set(dir(attn_export))
    with pytest.raises(AttributeError, match="module 'attn_export' has no attribute 'exprot'"):
        attn_export.exprot  # noqa: B018


def test_names_are_what_a_type_checker_is_told() -> None:
    """The names for a type checker, and those that are imported when used, are written down apart."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(attn_export.__file__).read_text(encoding="utf-8"))
    told = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module not in (
            "__future__",
            "typing",
            "lazy",
            "attn_runtime.lazy",
        ):
            told |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    assert sorted(told) == sorted(attn_export.__all__) == attn_export.__all__
    for name, (module, original) in told.items():
        home = importlib.import_module(module if module.startswith("attn_") else f"attn_export.{module}")
        assert getattr(home, original) is getattr(attn_export, name)


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "onnx", "rich", "click"}
    code = f"import sys, attn_export; print(sorted(set(sys.modules) & {heavy!r}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_python_m_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "attn_export", "--version"], capture_output=True, text=True)
    assert done.stdout == "attn-export, version 0.1.0\n" and done.returncode == 0
