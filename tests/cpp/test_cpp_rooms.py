"""The folders of runtime/cpp/src: each includes only itself and those below it, and is small enough to overlook."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "runtime" / "cpp" / "src"
#: Each room, and the rooms right below it; what those may include, it may too.
BELOW = {
    "util": [],
    "unicode": ["util"],
    "format": ["util"],
    "bundle": ["format"],
    "engine": ["bundle"],
    "ort": ["engine"],
    "openvino": ["ort"],
    "trt/plugin": [],
    "trt": ["engine", "trt/plugin"],
    "session": ["openvino", "trt"],
    "preprocess": ["format"],
    "regex": ["unicode"],
    "tokenizer/models": ["util"],
    "tokenizer": ["bundle", "regex", "tokenizer/models"],
    "generate/graphs": ["session"],
    "generate/lookup": [],
    "generate/serving": ["generate/graphs"],
    "generate": ["generate/serving", "generate/lookup", "tokenizer"],
    "transcribe": ["generate", "preprocess"],
    "verify": ["generate"],
    "c_api": ["verify", "preprocess", "transcribe"],
}
MOST_MODULES = 12


def files() -> list[Path]:
    return sorted(path for suffix in ("h", "cpp", "inc") for path in SOURCE.rglob(f"*.{suffix}"))


def room_of(path: Path) -> str:
    return path.parent.relative_to(SOURCE).as_posix()


def allowed(room: str) -> set[str]:
    return {room}.union(*(allowed(below) for below in BELOW[room]))


def includes(path: Path) -> list[str]:
    return re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE)


def test_every_room_is_known() -> None:
    assert {room_of(path) for path in files()} == set(BELOW)


def test_includes_point_down() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} includes {name}"
        for path in files()
        for name in includes(path)
        if not (SOURCE / name).is_file() or room_of(SOURCE / name) not in allowed(room_of(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_headers_include_each_other_in_no_circle() -> None:
    done: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for each in includes(SOURCE / name):
                follow(each, (*path, name))
            done.add(name)

    for path in files():
        follow(path.relative_to(SOURCE).as_posix(), ())


def test_rooms_are_small() -> None:
    for room in BELOW:
        modules = {path.stem for path in files() if room_of(path) == room}
        assert len(modules) <= MOST_MODULES, f"{room} has {len(modules)} modules: {', '.join(sorted(modules))}"
