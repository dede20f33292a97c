"""What somebody else could have written, or damaged, of what a process remembers for the next: one name and one function each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path


def to_text(text: str) -> Callable[[Path], None]:
    return lambda file: file.write_text(text) and None  # type: ignore[return-value]


def lie(file: Path) -> None:
    """Another hash than the manifest's, for the mark that the file has."""
    content = json.loads(file.read_text())
    content["files"] = {name: [*told[:-1], "0" * 64] for name, told in content["files"].items()}
    file.write_text(json.dumps(content))


def linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def linked_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))
    file.parent.symlink_to("elsewhere")


HASHES_SPOILT: dict[str, Callable[[Path], object]] = {
    "for others to write": lambda file: file.chmod(0o622),
    "for its group to write": lambda file: file.chmod(0o620),
    "in a folder for others to write": lambda file: file.parent.chmod(0o777),
    "below a folder for others to write": lambda file: file.parent.parent.chmod(0o777),
    "a link": linked,
    "in a folder that is a link": linked_folder,
    "no JSON": to_text("{"),
    "nested deeply": to_text("[" * 100_000),
    "a list": to_text("[]"),
    "of another format": to_text('{"format": 2, "files": {}}'),
    "without files": to_text('{"format": 1}'),
    "with a short mark": to_text('{"format": 1, "files": {"model.onnx": [1]}}'),
    "with a mark of texts": to_text('{"format": 1, "files": {"model.onnx": ["a", 1, 1, 1, 1, "b"]}}'),
    "of other hashes": lie,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
}


def rewrite(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = (folder / file).read_bytes()
        assert change(data) != data
        (folder / file).write_bytes(change(data))

    return spoil


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def graph_linked(folder: Path) -> None:
    (folder / "model.onnx").rename(folder / "other.onnx")
    (folder / "model.onnx").symlink_to("other.onnx")


def no_graph(folder: Path) -> None:
    """What the key vouches for, and ONNX Runtime can't load."""
    (folder / "model.onnx").write_bytes(b"no graph")
    told = f"file model.onnx 8 {hashlib.sha256(b'no graph').hexdigest()}"
    lines = (folder / "key").read_text().splitlines()
    (folder / "key").write_text(
        "\n".join([told if line.startswith("file model.onnx ") else line for line in lines]) + "\n"
    )


GRAPHS_SPOILT: dict[str, Callable[[Path], object]] = {
    "tampered": rewrite("model.onnx", flip_last),
    "truncated": rewrite("model.onnx", lambda data: data[:-9]),
    "missing": lambda folder: (folder / "model.onnx").unlink(),
    "a link": graph_linked,
    "no graph": no_graph,
    "for others to write": lambda folder: (folder / "model.onnx").chmod(0o666),
    "in a folder for others to write": lambda folder: folder.chmod(0o777),
    "with a key for others to write": lambda folder: (folder / "key").chmod(0o666),
    "without a key": lambda folder: (folder / "key").unlink(),
    "of another version": rewrite("key", lambda data: data.replace(b"onnxruntime: ", b"onnxruntime: 9")),
    "with an odd key": rewrite("key", lambda data: data + b"file ../model.onnx 1 2\n"),
    "with a key without files": rewrite("key", lambda data: data[: data.index(b"file ")]),
    "with a key that is a pipe": lambda folder: ((folder / "key").unlink(), os.mkfifo(folder / "key")),
}


def with_other_weights(folder: Path, vouched: bool) -> None:
    """A kept graph that answers the negative. Its key tells the new size, and where `vouched` the new hash."""
    import onnx
    from onnx import numpy_helper

    file = folder / "model.onnx"
    model, before = onnx.load(file), file.read_bytes()
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    after = model.SerializeToString()
    file.write_bytes(after)
    hashed = hashlib.sha256(after if vouched else before).hexdigest()
    old = f"file model.onnx {len(before)} {hashlib.sha256(before).hexdigest()}"
    key = (folder / "key").read_text()
    assert old in key
    (folder / "key").write_text(key.replace(old, f"file model.onnx {len(after)} {hashed}"))
