"""What is put in place has the modes that the umask gives, whatever made it; and links, other owners, modes that can't be set."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attn_runtime.files import Staging, write_file, write_whole


@pytest.fixture(params=[0o022, 0o077, 0o002, 0o027], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def publish(target: Path, fill: Callable[[Path], object], executables: bool = False) -> None:
    staging = Staging(target)
    try:
        fill(staging.new / target.name)
        staging.publish(executables=executables)
    finally:
        staging.discard()


def private_folder(folder: Path) -> None:
    """Files and folders as tempfile and safetensors make them, a copy of a program, and one that may not be written to."""
    (folder / "inner").mkdir(parents=True)
    folder.chmod(0o700), (folder / "inner").chmod(0o700)
    for name, given in (("a", 0o600), ("inner/b", 0o600), ("program", 0o755), ("kept", 0o444)):
        (folder / name).write_bytes(b"x")
        (folder / name).chmod(given)


@pytest.mark.parametrize("executables", [False, True])
def test_files_and_folders_have_the_umask_s_modes(tmp_path: Path, umask: int, executables: bool) -> None:
    publish(tmp_path / "made", private_folder, executables)
    assert {mode(path) for path in (tmp_path / "made", tmp_path / "made/inner")} == {0o777 & ~umask}
    program = tmp_path / "made/program"
    files = [path for path in (tmp_path / "made").rglob("*") if path.is_file() and path != program]
    assert len(files) == 3 and {mode(path) for path in files} == {0o666 & ~umask}
    assert mode(program) == (0o777 if executables else 0o666) & ~umask


def test_a_file_in_the_place_of_another_too(tmp_path: Path, umask: int) -> None:
    def write(path: Path) -> None:
        path.touch(0o600)

    file = tmp_path / "out.npz"
    file.touch()
    file.chmod(0o640)
    write_whole(file, write)
    assert mode(file) == 0o666 & ~umask
    write_file(file, b"x")
    assert mode(file) == 0o666 & ~umask


def test_the_umask_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask for it is to set it, for a moment in which the files of other threads would be anybody's."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    publish(tmp_path / "made", private_folder)


def test_a_folder_that_hands_its_group_on_still_does(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        folder.mkdir()
        folder.chmod(0o2700)

    publish(tmp_path / "made", fill)
    assert mode(tmp_path / "made") & 0o7000 == 0o2000


def test_what_a_link_leads_to_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "private"
    outside.touch(0o600)

    def fill(folder: Path) -> None:
        folder.mkdir()
        (folder / "link").symlink_to(outside)

    publish(tmp_path / "made", fill)
    assert mode(outside) == 0o600


@pytest.mark.parametrize("of_another", [True, False])
def test_a_mode_that_cannot_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_another: bool) -> None:
    """A hard link to another account's file becomes a copy of our own; a file system without modes is no error."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"weights")
    theirs.chmod(0o600)

    def fill(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").hardlink_to(theirs)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    if of_another:
        monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    publish(tmp_path / "made", fill)
    made = tmp_path / "made/weights"
    assert made.read_bytes() == b"weights" and mode(theirs) == 0o600
    assert made.samefile(theirs) != of_another and (mode(made) != 0o600) == of_another
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["weights"]
