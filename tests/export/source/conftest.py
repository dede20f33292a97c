"""What hostile files hold, without the harm: an object of a class of no effect, whose import would be seen."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def ordinary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A plain class of a module of its own. Delete it from sys.modules before loading: who unpickles imports it again."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "ordinary_objects.py").write_text("class Ordinary:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield importlib.import_module("ordinary_objects").Ordinary
    sys.modules.pop("ordinary_objects", None)
