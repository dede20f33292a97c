"""What can't be written is told before the work that it is of."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import AttnError, OutputError, UsageError
from attn_runtime.tasks.file_run import run_file

_PLACES = [("none/x", "folder .*none does not exist"), ("n" * 240, "the name of 24. bytes is too long")]


@pytest.mark.parametrize(("place", "says"), _PLACES)
def test_run(tmp_path: Path, place: str, says: str) -> None:
    with pytest.raises(OutputError, match=says):
        run_file(tmp_path / "not looked at", "x.npz", output=tmp_path / f"{place}.npz")


@pytest.mark.parametrize(("place", "says"), [*_PLACES, ("x.unknown", "got suffix unknown")])
@pytest.mark.parametrize("command", [["bench"], ["attention"]])
def test_a_picture(tmp_path: Path, command: list[str], place: str, says: str) -> None:
    pytest.importorskip("matplotlib")
    given = [*command, str(tmp_path / "not looked at"), *(["x.npz"] if command == ["attention"] else [])]
    plot = tmp_path / (place if place.endswith("unknown") else f"{place}.png")
    error: type[AttnError] = UsageError if place.endswith("unknown") else OutputError
    with pytest.raises(error, match=says):
        cli.main([*given, "--plot", str(plot)], standalone_mode=False)
