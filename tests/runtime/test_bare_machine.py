"""The runtime needs no more than it says: installed from a copy, as a user would, in a machine that has no more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from support.graphs.make_hostile_bundles import gemm_model

ROOT = Path(__file__).parents[2]

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
    """A virtual environment with attn-runtime alone, whose wheel comes from a copy of runtime/ as a user's would."""

    def __init__(self, python: str, folder: Path) -> None:
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        # A copy, since building leaves its own folders beside the sources.
        self.source = folder / "runtime"
        leave = shutil.ignore_patterns("*.egg-info", "build", "__pycache__", "cpp")
        shutil.copytree(ROOT / "runtime", self.source, ignore=leave)
        self.pip("wheel", "--no-deps", "-w", folder, self.source)
        (self.wheel,) = folder.glob("*.whl")
        self.pip("install", "--no-compile", self.wheel)

    def pip(self, command: str, *arguments: object) -> None:
        done = self.run("python", "-m", "pip", command, "-q", "--disable-pip-version-check", *arguments)
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


@pytest.mark.timeout(600)
def test_runtime_needs_neither_torch_nor_onnx_nor_an_engine(bare: Machine, valid_bundle: Path, tmp_path: Path) -> None:
    """One test of three acts, since the second changes the machine: nothing installed, an engine installed, a bundle."""
    done = bare.run("python", "-c", _IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert (
        int(done.stdout) >= len([*(ROOT / "runtime" / "attn_runtime").rglob("*.py")]) - 1
    )  # all but the first __init__.py

    doctor = bare.run("attn-run", "doctor")
    assert (doctor.returncode, doctor.stderr) == (10, "")
    assert "onnxruntime is not installed" in doctor.stdout
    refused = bare.run("attn-run", "verify", valid_bundle)
    assert refused.returncode == 10 and "pip install onnxruntime" in refused.stderr
    assert bare.run("attn-run", "verify", valid_bundle, "--backend", "replay").returncode == 0
    assert bare.run("attn-run", "info", valid_bundle).returncode == 0

    bare.pip("install", "--no-compile", f"{bare.wheel}[cpu]")
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
