"""Several runs that write one target put theirs in place one after the other; each is whole, and nothing stays behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attn_runtime.errors import OutputError
from attn_runtime.files import Staging, atomic_write, changing, turns, write_file

#: Replaces the target over and over by two files of one number each, or by a folder of them, from a common start on.
_WRITER = """
import sys
from pathlib import Path
from attn_runtime.files import Staging, atomic_write

target, number, exchange = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "exchange"
if not exchange:
    atomic_write._exchange = lambda one, other: False
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    staging = Staging(target)
    folder = staging.new
    if target.suffix == ".attn":
        folder = folder / target.name
        folder.mkdir()
    for name in (target.name, target.name + ".data"):
        (folder / name).write_text(number)
    staging.publish()
"""


@pytest.mark.parametrize(("name", "how"), [("a.attn", "exchange"), ("a.attn", "two steps"), ("a.onnx", "two steps")])
def test_three_processes_write_one_target(name: str, how: str, tmp_path: Path) -> None:
    target = tmp_path / name
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(target), str(number), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("\n")
        writer.stdin.flush()
    told = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], told
    folder = target if target.is_dir() else tmp_path
    both = [(folder / file).read_text() for file in (name, f"{name}.data")]
    assert both[0] == both[1] in ("0", "1", "2")
    assert sorted(p.name for p in tmp_path.iterdir()) == ([name] if target.is_dir() else [name, f"{name}.data"])


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Staging]:
    staging = Staging(tmp_path / "file", alone=True)
    yield staging
    staging.discard()


def test_who_comes_second_waits_for_the_first(held: Staging) -> None:
    second = threading.Thread(target=write_file, args=(held.target, b"second"))
    (held.new / "file").write_bytes(b"first")
    second.start()
    seen: list[bool] = []

    def confirm() -> None:
        second.join(0.3)
        seen.append(held.target.exists())

    held.publish(confirm)
    second.join(30)
    assert seen == [False]
    assert held.target.read_bytes() == b"second"
    assert [p.name for p in held.target.parent.iterdir()] == ["file"]


def test_who_does_not_end_is_not_waited_for_for_ever(held: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_TURN_SECONDS", 0.05)
    with pytest.raises(OutputError, match="another process is writing it and does not end") as caught:
        write_file(held.target, b"second")
    assert "\n" not in str(caught.value) and not held.target.exists()


def test_what_a_killed_run_left_of_its_turn_is_taken_over(tmp_path: Path) -> None:
    turn = tmp_path / ".file.tmp-turn"
    turn.write_bytes(b"")
    write_file(tmp_path / "file", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_run_left_of_its_turn_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp-turn").write_bytes(b"")
    Staging(tmp_path / "file").discard()
    assert not list(tmp_path.iterdir())


def test_without_locks_it_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "fcntl", None)
    write_file(tmp_path / "file", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_is_confirmed_in_vain_stays_as_it_was(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"old")
    staging = Staging(tmp_path / "file")
    (staging.new / "file").write_bytes(b"new")

    def refuse() -> None:
        raise OutputError("changed meanwhile")

    with pytest.raises(OutputError, match="changed meanwhile"):
        staging.publish(refuse)
    staging.discard()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_who_changes_a_target_waits_for_another_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    waiting, entered = threading.Event(), threading.Event()

    def other() -> None:
        with changing(tmp_path / "a.attn", lambda: (said.append("waits"), waiting.set())):
            entered.set()

    second = threading.Thread(target=other)
    with changing(tmp_path / "a.attn"):
        second.start()
        assert waiting.wait(30) and not entered.is_set()
        # It keeps nobody from putting something there, and no sweep takes it away.
        write_file(tmp_path / "a.attn", b"x")
        atomic_write.sweep(tmp_path / "a.attn")
        assert (tmp_path / ".a.attn.tmp-change").exists() and not entered.is_set()
    second.join(30)
    assert entered.is_set() and said == ["waits"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.attn"]


def test_a_run_that_was_killed_in_a_change_keeps_nobody_waiting(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from attn_runtime.files import changing\n"
    code += "with changing(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.attn")], check=False)
    assert (tmp_path / ".a.attn.tmp-change").exists()
    with changing(tmp_path / "a.attn", lambda: pytest.fail("waits")):
        pass
    assert not list(tmp_path.iterdir())


def test_where_no_lock_can_be_made_a_change_goes_on(tmp_path: Path) -> None:
    went_on = False
    with changing(tmp_path / "nothing" / "a.attn"):
        went_on = True
    assert went_on and not list(tmp_path.iterdir())
