"""Who may import whom, and that the runtime needs no more than it says: proved in machines that have no more."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support.make_hostile_bundles import gemm_model

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


# --- a machine without torch and onnx -----------------------------------------------------------------------------

_IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys
import attn_runtime
assert attn_runtime.__file__.startswith(sys.prefix), attn_runtime.__file__
for name in ("torch", "onnx"):
    assert importlib.util.find_spec(name) is None, name
names = [m.name for m in pkgutil.walk_packages(attn_runtime.__path__, "attn_runtime.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@cache
def python_310() -> str | None:
    """A Python 3.10 that starts: a pyenv shim may be there without one."""
    found = [shutil.which("python3.10"), *map(str, Path.home().glob(".pyenv/versions/3.10*/bin/python"))]
    for python in filter(None, found):
        asked = subprocess.run(
            [python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True
        )
        if asked.stdout.strip() == "(3, 10)":
            return python
    return None


class Machine:
    """A virtual environment with attn-runtime alone, installed from a copy of runtime/ as a user would."""

    def __init__(self, python: str, folder: Path) -> None:
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        # A copy, since building leaves its own folders beside the sources.
        self.source = folder / "runtime"
        leave = shutil.ignore_patterns("*.egg-info", "build", "__pycache__", "cpp")
        shutil.copytree(ROOT / "runtime", self.source, ignore=leave)
        self.install(str(self.source))

    def install(self, what: str) -> None:
        done = self.run("python", "-m", "pip", "install", "-q", "--disable-pip-version-check", what)
        assert done.returncode == 0, done.stderr

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        program, *arguments = map(str, command)
        # Neither this checkout nor the variables of its tests reach the other interpreter.
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [self.bin / program, *arguments], capture_output=True, text=True, cwd=self.source.parent, env=clean
        )


@pytest.fixture(scope="session", params=["this Python", "Python 3.10"])
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The machine before any engine is installed."""
    python = sys.executable if request.param == "this Python" else python_310()
    if python is None:
        pytest.skip("no Python 3.10 here: neither python3.10 on the PATH nor one of pyenv's")
    if request.param == "this Python" and python_310() and not os.environ.get("ATTN_TEST_ALL"):
        pytest.skip("the oldest Python stands for both; ATTN_TEST_ALL=1 takes both")
    return Machine(python, tmp_path_factory.mktemp("bare"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runtime_needs_neither_torch_nor_onnx_nor_an_engine(bare: Machine, valid_bundle: Path, tmp_path: Path) -> None:
    """One test of three acts, since the second changes the machine: nothing installed, an engine installed, a bundle."""
    done = bare.run("python", "-c", _IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= len([*RUNTIME.rglob("*.py")]) - 2  # all but the two __init__.py

    doctor = bare.run("attn-run", "doctor")
    assert (doctor.returncode, doctor.stderr) == (10, "")
    assert "onnxruntime is not installed" in doctor.stdout
    refused = bare.run("attn-run", "verify", valid_bundle)
    assert refused.returncode == 10 and "pip install 'attn-runtime[cpu]'" in refused.stderr
    assert bare.run("attn-run", "verify", valid_bundle, "--backend", "replay").returncode == 0
    assert bare.run("attn-run", "info", valid_bundle).returncode == 0

    bare.install(f"{bare.source}[cpu]")
    done = bare.run("python", "-c", _IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    verified = bare.run("attn-run", "verify", valid_bundle)
    assert (verified.returncode, verified.stderr) == (0, "") and "3 golden cases match" in verified.stdout
    assert bare.run("attn-run", "doctor").returncode == 0

    # ONNX Runtime of Python 3.10 would open a graph whose weights are any file of the machine; attn-runtime does not.
    (tmp_path / "outside.bin").write_bytes(bytes(640))
    model = gemm_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value="../outside.bin")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "m.onnx").write_bytes(model.SerializeToString())
    hostile = bare.run("attn-run", "info", tmp_path / "inner" / "m.onnx")
    assert hostile.returncode == 8 and "outside its own folder" in hostile.stderr
