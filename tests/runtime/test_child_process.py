"""Real children: killed, hung and noisy ones."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from attn_runtime import child_process
from attn_runtime.child_process import Isolated, TaskFailed
from attn_runtime.errors import StageError


def process_of(child: Isolated) -> "subprocess.Popen[str]":
    assert child._child is not None
    return child._child.process


def test_a_task_answers_and_one_started_before_is_dropped() -> None:
    with Isolated(60) as child:
        child.start("warm")
        assert "onnxruntime" in child.run("warm", "versions")


def test_modules_in_the_current_folder_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('json of the current folder')")
    monkeypatch.chdir(tmp_path)
    with Isolated(60) as child:
        assert "onnxruntime" in child.run("warm", "versions")


def test_a_reply_belongs_to_its_own_task(tmp_path: Path) -> None:
    with Isolated(60) as child:
        child.start("warm")
        with pytest.raises(TaskFailed):  # warm's reply would be a success
            child.run("answers", "x", graph=str(tmp_path / "absent.onnx"), cases=[], large=False)


def test_a_failed_task_says_why_and_the_child_lives(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x0a")
    with Isolated(60) as child:
        with pytest.raises(TaskFailed, match=r"stage-x: .*bad\.onnx"):
            child.run("answers", "stage-x", graph=str(tmp_path / "bad.onnx"), cases=[], large=False)
        pid = process_of(child).pid
        child.run("warm", "again")
        assert process_of(child).pid == pid


def test_a_crash_names_the_stage_and_the_signal_and_the_next_task_has_a_new_child() -> None:
    with Isolated(60) as child:
        child.run("warm", "first")
        process = process_of(child)
        os.kill(process.pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (process.pid, signal.SIGSEGV)).start()
        threading.Timer(0.4, os.kill, (process.pid, signal.SIGCONT)).start()
        with pytest.raises(StageError, match=r"simplify: the child process died \(SIGSEGV\)"):
            child.run("warm", "simplify")
        assert "onnx" in child.run("warm", "after")


def test_a_hang_is_ended_at_the_limit() -> None:
    with Isolated(60) as child:
        child.run("warm", "first")
        process = process_of(child)
        os.kill(process.pid, signal.SIGSTOP)  # it hears nothing any more
        child.seconds = 0.3
        with pytest.raises(StageError, match="simplify: no answer within 0 s"):
            child.run("warm", "simplify")
        assert process.poll() is not None


def test_closing_leaves_no_process() -> None:
    before = threading.active_count()
    child = Isolated(60)
    child.run("warm", "x")
    process = process_of(child)
    child.close()
    assert process.poll() is not None
    assert threading.active_count() == before


def failed_task(child: Isolated) -> None:
    """The quickest: it imports onnxruntime alone."""
    with pytest.raises(TaskFailed):
        child.run("answers", "x", graph="absent.onnx", cases=[], large=False)


def served() -> "subprocess.Popen[str]":
    with Isolated(60) as child:
        failed_task(child)
        return process_of(child)


def test_a_child_that_served_well_serves_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = served()
    assert first.poll() is None and served() is first
    monkeypatch.chdir(tmp_path)  # paths of a task may be relative
    moved = served()
    assert moved is not first and first.poll() is not None
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert served() is not moved
    child_process._end_kept()


def test_a_child_that_may_still_answer_is_not_kept() -> None:
    with pytest.raises(KeyboardInterrupt), Isolated(60) as child:
        failed_task(child)
        interrupted = process_of(child)
        raise KeyboardInterrupt
    assert interrupted.poll() is not None
    with Isolated(60) as child:
        failed_task(child)
        child.start("warm")  # its reply is never read
        owing = process_of(child)
    assert owing.poll() is not None


def test_a_child_that_died_or_grew_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    died = served()
    died.kill()
    died.wait()
    assert served() is not died
    monkeypatch.setattr(child_process, "_MOST_KEPT_BYTES", 1 << 20)
    assert served().poll() is not None
