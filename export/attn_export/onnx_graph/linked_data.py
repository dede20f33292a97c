"""Weights that have a second hard link, as in every snapshot of a disk that is made of links.

onnx and onnx_ir refuse to read these, for fear of a model that reads other files than its own. Whether it does is looked
for by `check_external_data`; a copy has one link.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from attn_runtime.errors import BundleError
from attn_runtime.onnx_file import check_external_data

from .onnx_file import read_info


def with_own_data(path: Path, folder: Path) -> Path:
    """`path` where all its data files have one link; else a copy of graph and data in `folder`, under their names.

    Raises BundleError where the graph names data that is not its own, and where it can't be copied.
    """
    data = check_external_data(path, path.name)
    if all(file.stat().st_nlink == 1 for file in data):
        return path
    inside = path.parent.resolve()
    try:
        named = {folder / name: path.parent / name for name in read_info(path).data_files}  # some may be links inside
        for place, file in ({folder / file.relative_to(inside): file for file in data} | named).items():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        return Path(shutil.copyfile(path, folder / path.name))
    except OSError as error:
        raise BundleError(
            f"{path}: its data has a second hard link, which onnx does not read, and can't be copied to {folder}: "
            f"{error.strerror or error}; make room there (TMPDIR), or copy the model yourself"
        ) from error
