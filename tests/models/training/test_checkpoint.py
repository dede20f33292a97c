"""Files of a training are whole or not there."""

import os

import pytest
from attn_models.training import checkpoint
from attn_runtime.errors import OutputError


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    checkpoint.write_whole(file, b"old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint.write_whole(file, b"new")
    assert [f.name for f in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == b"old"
