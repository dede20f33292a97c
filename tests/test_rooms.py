"""A folder is a room: of bounded size, with one sentence at its door, and the names that others may take from it."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from support.checks.import_graph import PACKAGES, ROOT, repository

MAX_FILES = 12
MAX_LINES = 500
GRAPH = repository()
ROOMS = sorted(GRAPH.packages)
#: Folders of Python outside the packages. One model, backend or test of a whole class a file is what contract/ and gpu/ are.
OTHER_FOLDERS = sorted({file.parent for base in ("tests", "scripts") for file in (ROOT / base).rglob("*.py")})


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_small_and_says_what_it_is(room: str) -> None:
    here = [m for m in GRAPH.modules if GRAPH.room(m) == room and m != room]
    assert len(here) <= MAX_FILES, here
    sentence = ast.get_docstring(GRAPH.modules[room])
    assert sentence, f"{room} has no docstring"


@pytest.mark.parametrize("folder", OTHER_FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_of_tests_or_scripts_is_small(folder: Path) -> None:
    assert len([f for f in folder.glob("*.py") if f.name not in ("__init__.py", "conftest.py")]) <= MAX_FILES


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room: str) -> None:
    """`__all__`, what type checkers see, and what the module gives when it is asked: three lists, one content."""
    names = GRAPH.public(room)
    assert sorted(set(names)) == sorted(names)
    modules = {n for n in names if f"{room}.{n}" in GRAPH.modules}
    for name in names:
        thing = (
            importlib.import_module(f"{room}.{name}")
            if name in modules
            else getattr(importlib.import_module(room), name)
        )
        assert thing is not None
    assert not [n for n in names if n in GRAPH.reexports(room) and n in modules], "a module must not hide a name"
    seen = {n for n, origin in GRAPH.reexports(room).items() if origin.startswith(f"{room}.")}
    defined = {n.name for n in GRAPH.modules[room].body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    assert seen - set(names) <= defined | {"lazy"}, "what the door shows is in __all__"


@pytest.mark.parametrize("room", [r for r in ROOMS if "__getattr__" in vars(importlib.import_module(r))])
def test_a_lazy_room_refuses_what_it_has_not(room: str) -> None:
    module = importlib.import_module(room)
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018
    assert set(GRAPH.public(room)) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_long(package: str) -> None:
    long = {m: n for m in GRAPH.modules if m.startswith(package) and (n := _lines(m)) > MAX_LINES}
    assert not long


def _lines(module: str) -> int:
    base = ROOT / PACKAGES[module.split(".")[0]] / module.replace(".", "/")
    file = base / "__init__.py" if module in GRAPH.packages else base.with_suffix(".py")
    return len(file.read_text(encoding="utf-8").splitlines())
