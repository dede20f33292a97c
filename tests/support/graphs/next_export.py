"""The same model, trained on: with other weights and other labels; and the ways in which it takes an open bundle's place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from attn_runtime.files.atomic_write import Staging
from onnx import numpy_helper

#: What the next export has more of everything that the one before answers.
FACTOR = 2.0


def next_export(bundle: Path, target: Path) -> Path:
    """Beside `bundle`: its answers, golden or not, are FACTOR times as large, and its labels say "next"."""
    shutil.copytree(bundle, target)
    model = onnx.load(target / "model.onnx")
    for weight in model.graph.initializer:
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(FACTOR), weight.name))
    manifest = json.loads((target / "manifest.json").read_text())
    labels = manifest["assets"]["labels"]
    count = len(json.loads((target / labels).read_text()))
    contents = {
        "model.onnx": model.SerializeToString(),
        labels: json.dumps([f"next {n}" for n in range(count)]).encode(),
    }
    for name, data in contents.items():
        (target / name).write_bytes(data)
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def exchanged(bundle: Path, by: Path) -> None:
    """As a re-export does it: another folder, in one step."""
    staging = Staging(bundle)
    shutil.copytree(by, staging.new / bundle.name)
    staging.publish()


def renamed(bundle: Path, by: Path) -> None:
    bundle.rename(bundle.with_name("old.attn"))
    shutil.copytree(by, bundle)


def rewritten(bundle: Path, by: Path) -> None:
    """File by file, where they lie, and with the old files' times, as `rsync --inplace --times` may do it."""
    for path in by.rglob("*"):
        place = bundle / path.relative_to(by)
        if path.is_file() and place.read_bytes() != path.read_bytes():
            before = place.stat()
            place.write_bytes(path.read_bytes())
            os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def removed(bundle: Path, by: Path) -> None:
    shutil.rmtree(bundle)


WAYS: list[Callable[[Path, Path], None]] = [exchanged, renamed, rewritten, removed]
