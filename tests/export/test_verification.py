"""attn-export verify with a time limit: it is of the golden cases, and there have to be some."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attn_runtime
import pytest
from attn_export.cli.app import cli
from attn_runtime.errors import UsageError
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
