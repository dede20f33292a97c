"""Who may import whom: between the packages, between the rooms of one, and the engine libraries."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checks.import_graph import PACKAGES, ROOT, Import, ImportGraph, cycles, repository

GRAPH = repository()
FORBIDDEN: dict[str, set[str]] = {
    "attn_runtime": {"torch", "onnx", "onnx_ir", "onnxscript", "onnxsim", "rich", "attn_models", "attn_export"},
    "attn_models": {
        "onnx",
        "onnx_ir",
        "onnxscript",
        "onnxsim",
        "attn_export",
        "onnxruntime",
        "openvino",
        "tensorrt",
        "tensorrt_rtx",
    },
    "attn_export": {"openvino", "tensorrt", "tensorrt_rtx"},
}
ENGINES = {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"}
_WORD = re.compile("`([^`]+)`")
#: What both command lines are made of, taken from the file itself: click wants it before anything else is imported.
OPEN = {"attn_runtime.cli.options"}
#: The only places that name an engine library, and they do so inside functions: importing a module costs no engine.
ENGINE_FILES = {
    "attn_runtime.native.capi",  # where its library lies
    "attn_runtime.backends.openvino",
    "attn_runtime.backends.ort",
    "attn_runtime.backends.ort_rtx",
    "attn_runtime.ort",
    "attn_runtime.trt.library",
}


def rows_of(package: str) -> dict[str, int]:
    """Room -> its row in the table of docs/architecture.md, which lists the rooms of a package from the lowest upwards."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition(f"### {package}\n")[2].partition("\n### ")[0].splitlines()
    rows = [line.split("|")[1] for line in table if line.startswith("| `")]
    listed = [
        (f"{package}.{word.rstrip('/').replace('/', '.')}", n)
        for n, row in enumerate(rows)
        for word in _WORD.findall(row)
    ]
    assert len(listed) == len(dict(listed)) > 3, f"docs/architecture.md lists the rooms of {package}, each once"
    return dict(listed)


# --- the reader ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> ImportGraph:
    files = {
        "p/__init__.py": "",
        "p/a/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .one import One\n__all__ = ['One']\n",
        "p/a/one.py": "class One: ...\n",
        "p/a/two.py": "def late():\n    from ..b import three\n",
        "p/b/__init__.py": "",
        "p/b/three.py": "from ..a import One\nimport p.a.two\n",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return ImportGraph.read(tmp_path, {"p": "."})


def test_the_reader_sees_late_and_type_only_imports_and_through_doors(small: ImportGraph) -> None:
    assert small.edges()["p.a.two"] == {"p.b.three"}
    assert small.edges()["p.b.three"] == {"p.a.one", "p.a.two"}
    assert small.public("p.a") == ("One",)
    assert cycles(small.edges()) == [["p.a.two", "p.b.three"]]
    assert cycles(small.room_edges()) == [["p.a", "p.b"]]


# --- direction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_downwards(package: str) -> None:
    outside = [
        f"{module} imports {name}"
        for module in GRAPH.modules
        if module.split(".")[0] == package
        for name, _ in all_imports(GRAPH.modules[module])
        if name.split(".")[0] in FORBIDDEN[package]
    ]
    assert not outside


def test_no_cycle_between_modules() -> None:
    assert cycles(GRAPH.edges()) == []


def test_no_cycle_between_rooms() -> None:
    assert cycles(GRAPH.room_edges()) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_downwards(package: str) -> None:
    rows, edges = rows_of(package), GRAPH.room_edges()
    inside = {room: {t for t in to if t.startswith(f"{package}.")} for room, to in edges.items() if room in rows}
    units = {GRAPH.unit(m) for m in GRAPH.modules if m.startswith(f"{package}.") and not m.endswith("__main__")}
    assert sorted(rows) == sorted(units), "docs/architecture.md lists every room once"
    assert not [f"{room} imports {t}" for room, to in inside.items() for t in to if rows[t] > rows[room]]


# --- doors --------------------------------------------------------------------------------------------------------


def reaches_in(one: Import) -> bool:
    """Whether an import takes a thing from a file of another room, or a name that the room does not give out."""
    here, there = GRAPH.room(one.importer), GRAPH.room(one.origin)
    if here == there or one.origin in GRAPH.packages or one.origin in OPEN:
        return False
    if GRAPH.room(one.origin) in PACKAGES and one.origin not in GRAPH.packages:
        return False  # a module right below a package has no door of its own
    return one.target not in GRAPH.packages or (one.name != "" and one.name not in GRAPH.public(one.target))


def test_rooms_are_entered_by_their_doors() -> None:
    assert not [f"{i.importer}:{i.line} takes {i.name or '*'} from {i.target}" for i in GRAPH.imports if reaches_in(i)]


def test_private_names_stay_at_home() -> None:
    taken = [i for i in GRAPH.imports if i.name.startswith("_") and not i.name.startswith("__")]
    assert not [
        f"{i.importer} takes {i.name} from {i.target}" for i in taken if GRAPH.room(i.importer) != GRAPH.room(i.origin)
    ]


def test_across_the_distributions_only_what_is_documented_is_used() -> None:
    text = (
        (ROOT / "docs" / "architecture.md")
        .read_text(encoding="utf-8")
        .partition("of its documented rooms")[2]
        .partition("\n\n")[0]
    )
    rooms = {f"attn_runtime.{word}" for word in _WORD.findall(text)}
    across = [
        i for i in GRAPH.imports if i.origin.startswith("attn_runtime") and not i.importer.startswith("attn_runtime")
    ]
    assert "attn_runtime.bundle" in rooms and rooms <= {i.target for i in across}, "no room is listed for nothing"
    assert not [
        f"{i.importer} takes {i.name} from {i.target}" for i in across if i.target not in {"attn_runtime", *rooms}
    ]


# --- engines ------------------------------------------------------------------------------------------------------


def all_imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """(name, whether at module level) of every absolute import, importlib's with a literal name included."""

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                yield child.module or "", top
            elif isinstance(child, ast.Call) and child.args and isinstance(child.args[0], ast.Constant):
                called = ast.unparse(child.func).rpartition(".")[2]
                if called in ("import_module", "find_spec", "__import__") and isinstance(child.args[0].value, str):
                    yield child.args[0].value, top
            yield from visit(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return visit(tree, True)


def test_the_reader_of_imports_reads_them() -> None:
    text = "import a.b\nif x:\n    import d\ndef f():\n    from e.f import g\n    importlib.util.find_spec('h')\n"
    assert list(all_imports(ast.parse(text))) == [("a.b", True), ("d", True), ("e.f", False), ("h", False)]


def test_engines_are_imported_where_they_are_used_and_only_then() -> None:
    found = [
        (module, top)
        for module, tree in GRAPH.modules.items()
        if module.startswith("attn_runtime")
        for name, top in all_imports(tree)
        if name.split(".")[0] in ENGINES
    ]
    assert found
    assert not [m for m, _ in found if m not in ENGINE_FILES and GRAPH.room(m) not in ENGINE_FILES]
    assert not [m for m, top in found if top]


# --- help ---------------------------------------------------------------------------------------------------------
_HELP = """
import sys
from {module} import main
sys.argv = ["{program}", "--help"]
try:
    main()
except SystemExit as finished:
    assert not finished.code, finished.code
print("LOADED", *sorted({heavy!r} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("program", "module", "heavy"),
    [
        ("attn-run", "attn_runtime.cli.app", {"torch", "numpy", "onnx", "PIL", "matplotlib", "safetensors"} | ENGINES),
        (
            "attn-export",
            "attn_export.cli.app",
            {"torch", "onnx", "onnxscript", "onnxsim", "sklearn", "matplotlib"} | ENGINES,
        ),
    ],
)
def test_help_loads_nothing_heavy(program: str, module: str, heavy: set[str]) -> None:
    code = _HELP.format(module=module, program=program, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout and done.stdout.splitlines()[-1] == "LOADED"
