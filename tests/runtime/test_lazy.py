"""A package's public names, found when they are first asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from attn_runtime.lazy import lazy


def test_names_are_found_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room/__init__.py").write_text("")
    (tmp_path / "room/inner.py").write_text("one, two = 1, 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    get, names = lazy("room", ["two", "first"], {"inner": ["one as first", "two"]})
    assert names() == ["first", "two"] and "room.inner" not in sys.modules
    assert (get("first"), get("two")) == (1, 2)
    monkeypatch.setattr("room.inner.two", 22)
    assert get("two") == 22
    with pytest.raises(AttributeError, match="module 'room' has no attribute 'one'"):
        get("one")
