"""What a user names for an export is opened only where it is a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.precision.bisect_bundle import _file
from attn_export.source.assets import read_assets
from attn_export.source.checkpoints import load_checkpoint
from attn_export.source.examples import load_example
from attn_export.source.pt2 import load
from attn_models.training.checkpoint import read_state
from attn_runtime.errors import AttnError, CheckpointError, UsageError
from support.checks.time_limit import time_limit
from torch import nn

READERS: dict[str, tuple[Callable[[Path], Any], type[AttnError]]] = {
    "w.safetensors": (lambda path: load_checkpoint(nn.Linear(1, 1), path), CheckpointError),
    "model.safetensors": (lambda path: load_checkpoint(nn.Linear(1, 1), path.parent), CheckpointError),
    "w.pt": (lambda path: load_checkpoint(nn.Linear(1, 1), path), CheckpointError),
    "p.pt2": (lambda path: load(path, {}), CheckpointError),
    "x.npz": (load_example, UsageError),
    "x.safetensors": (load_example, UsageError),
    "labels.json": (lambda path: read_assets(path.parent, []), UsageError),
    "b.onnx": (lambda path: _file(str(path), ["fp32"]), UsageError),
    "state.safetensors": (read_state, CheckpointError),
}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_or_a_folder_is_refused_at_once(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    read, error = READERS[name]
    make(tmp_path / name)
    with time_limit(20), pytest.raises(error, match="is not a regular file, but a (FIFO|folder)"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_too_long_a_name_is_told(tmp_path: Path, name: str) -> None:
    read, error = READERS[name]
    with pytest.raises(error) as caught:
        read(tmp_path / ("n" * 300) / name)
    assert "\n" not in str(caught.value)


def test_an_example_whose_bools_are_neither_true_nor_false(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", keep=np.array([1, 7, 0], np.uint8).view(np.bool_))
    with pytest.raises(UsageError, match="keep is bool and holds a byte 7, expected 0 and 1 alone"):
        load_example(tmp_path / "x.npz")
