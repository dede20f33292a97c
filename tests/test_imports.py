"""Who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNTIME, MODELS, EXPORT = (
    ROOT / "runtime" / "attn_runtime",
    ROOT / "models" / "attn_models",
    ROOT / "export" / "attn_export",
)
ENGINES = {"onnxruntime", "tensorrt", "tensorrt_rtx"}


# --- direction ----------------------------------------------------------------------------------------------------


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """(top-level package, whether at module level) of every absolute import in a file."""

    def visit(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name.partition(".")[0], top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                yield (child.module or "").partition(".")[0], top
            yield from visit(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return visit(ast.parse(file.read_text(encoding="utf-8")), True)


def offenders(package: Path, forbidden: set[str]) -> list[str]:
    files = sorted(package.rglob("*.py"))
    assert files, f"{package} is empty"
    return [
        f"{file.relative_to(ROOT)} imports {name}" for file in files for name, _ in imports(file) if name in forbidden
    ]


def test_the_reader_of_imports_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("import a.b\nfrom . import c\nif x:\n    import d\ndef f():\n    from e.f import g\n")
    assert list(imports(file)) == [("a", True), ("d", True), ("e", False)]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        (RUNTIME, {"torch", "onnx", "onnxscript", "onnxsim", "rich", "attn_models", "attn_export"}),
        (MODELS, {"onnx", "onnxscript", "onnxsim", "attn_export"} | ENGINES),
    ],
    ids=["runtime", "models"],
)
def test_direction(package: Path, forbidden: set[str]) -> None:
    assert offenders(package, forbidden) == []


def test_only_backends_import_engines_and_only_when_used() -> None:
    allowed = {RUNTIME / "backends" / "ort.py", RUNTIME / "backends" / "trt.py"}
    found = [(f, top) for f in sorted(RUNTIME.rglob("*.py")) for name, top in imports(f) if name in ENGINES]
    assert {file for file, _ in found} <= allowed
    assert found and not [file for file, top in found if top]


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
