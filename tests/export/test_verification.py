"""attn-export verify with a time limit: it is of the golden cases, and there have to be some."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attn_runtime
import pytest
from attn_export import verify
from attn_export.cli.app import cli
from attn_runtime.errors import CheckpointError, UsageError
from click.testing import CliRunner
from support.graphs.make_hostile_bundles import make_valid_bundle


def test_the_time_limit_is_that_of_the_replay(tmp_path: Path) -> None:
    bundle = make_valid_bundle(tmp_path / "gemm.attn")
    given: list[Any] = []
    replay = attn_runtime.verify

    def noted(path: Path, *, time_limit: float | None, **options: Any) -> Any:
        given.append(time_limit)
        return replay(path, **options)

    with patch.object(attn_runtime, "verify", noted):
        ran = CliRunner().invoke(cli, ["verify", str(bundle), "--time-limit", "5"])
        assert ran.exit_code == 0 and CliRunner().invoke(cli, ["verify", str(bundle)]).exit_code == 0
    assert given == [5.0, None]
    shutil.copy(bundle / "model.onnx", tmp_path / "plain.onnx")
    with pytest.raises(UsageError, match=r"--time-limit: plain\.onnx is a plain ONNX file"):
        CliRunner().invoke(
            cli, ["verify", str(tmp_path / "plain.onnx"), "a:b", "--time-limit", "5"], catch_exceptions=False
        )


def test_what_is_no_source_is_told_before_the_replay(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.pt2")
    with patch.object(attn_runtime, "verify", side_effect=AssertionError):
        for source, checkpoint in ((tmp_path / "f.pt2", None), ("a:b", tmp_path / "f.pt2")):
            with pytest.raises(CheckpointError, match=r"f\.pt2: is not a regular file, but a FIFO"):
                verify(tmp_path, str(source), checkpoint=checkpoint)
        with pytest.raises(CheckpointError, match="no such file"):
            verify(tmp_path, str(tmp_path / "g.pt2"))
