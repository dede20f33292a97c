"""What the two distributions say of themselves."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no tomllib")
@pytest.mark.parametrize("folder", [ROOT, ROOT / "runtime"], ids=["attn-export", "attn-runtime"])
def test_the_licence_and_the_types_go_with_the_packages(folder: Path) -> None:
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["license"] == "Apache-2.0" and "LICENSE" in project["project"]["license-files"]
    assert "Apache License\n                           Version 2.0, January 2004" in (folder / "LICENSE").read_text()
    folders = {"attn_runtime": "runtime", "attn_export": "export", "attn_models": "models"}
    for package, files in project["tool"]["setuptools"]["package-data"].items():
        home = ROOT / folders[package] / package
        assert "py.typed" in files and (home / "py.typed").is_file()
        # What code reads beside itself is in an editable install either way, and in a wheel only where it is listed.
        beside = {path for path in home.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".so")}
        beside -= {path for path in beside if path.suffix == ".xz"}  # training data
        assert beside == {path for pattern in files for path in home.glob(pattern)}


def test_the_line_that_installs_takes_the_torch_that_is_tested() -> None:
    """Of PyTorch's CPU builds: a number without `+cpu`, or none, is a build with CUDA on the package index."""
    (tested,) = re.findall(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    for page in (ROOT / "README.md", ROOT / "docs/use/install.md"):
        assert set(re.findall(r"pip install.*\btorch(\S*)", page.read_text())) == {f"=={tested}+cpu"}
