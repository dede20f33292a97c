"""Where a deployed folder can't be put is told before any work, and what was not made here stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attn_export.deploy.folder import DeployFolder
from attn_runtime.errors import OutputError


@pytest.mark.parametrize(
    ("place", "force", "says"),
    [
        ("loop", False, "exists and is no folder"),
        ("loop.tar.gz", False, "is not a file"),
        ("loop/r", True, "symbolic links"),
        ("f", True, "but a FIFO"),
        ("f.tar.gz", True, "but a FIFO"),
        ("n" * 250, True, "the name of 250 bytes is too long"),
        ("n" * 300, True, "the name of 300 bytes is too long"),
        ("n" * 250 + "/r", True, "does not exist"),
    ],
)
def test_it_is_refused_before_the_work(tmp_path: Path, place: str, force: bool, says: str) -> None:
    for name in ("f", "f.tar.gz"):
        os.mkfifo(tmp_path / name)
    for name in ("loop", "loop.tar.gz"):
        (tmp_path / name).symlink_to(name)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=says) as caught, DeployFolder(tmp_path / place, "mark.json", force):
        pytest.fail("the work began")
    assert "\n" not in str(caught.value) and "free some space" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
