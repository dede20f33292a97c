"""Bundles whose graph was changed behind the back of their proof, and the golden cases that see it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
from attn_runtime.tasks import verify


def spoilt(bundle: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """A copy of the bundle with its graph changed, and hashes that fit."""
    bundle = Path(shutil.copytree(bundle, bundle.with_name("spoilt.attn"), dirs_exist_ok=True))
    path = bundle / "model.onnx"
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((bundle / "manifest.json").read_text())
    data = path.read_bytes()
    manifest["files"]["model.onnx"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def failing(bundle: Path) -> set[str]:
    return {case.case for case in verify(bundle, "ort", "cpu", check=False).cases if not case.passed}
