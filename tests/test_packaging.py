"""What the two distributions say of themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no tomllib")
@pytest.mark.parametrize("folder", [ROOT, ROOT / "runtime"], ids=["attn-export", "attn-runtime"])
def test_the_licence_and_the_types_go_with_the_packages(folder: Path) -> None:
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    assert (project["project"]["license"], project["project"]["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert "Apache License\n                           Version 2.0, January 2004" in (folder / "LICENSE").read_text()
    folders = {"attn_runtime": "runtime", "attn_export": "export", "attn_models": "models"}
    for package, files in project["tool"]["setuptools"]["package-data"].items():
        assert "py.typed" in files and (ROOT / folders[package] / package / "py.typed").is_file()
