"""Real children: killed, hung and noisy ones. Their tasks are those of a package that is written for these tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attn_runtime import child_process
from attn_runtime.child_process import ChildDied, ChildProcess, TaskFailed, python_command
from attn_runtime.errors import StageError

TASKS = """
import os, signal, subprocess, sys, time
from json import dumps as borrowed
from attn_runtime.child_process import cancelled, send

def echo(**given):
    return given

def fails(why):
    raise ValueError(f"not\\n  {why}")

def writes(file):
    open(file, "w").close()
    return {}

def exhausted():
    raise MemoryError

def prints(words):
    os.write(1, f"{words} on stdout\\n".encode())
    print(words, "from Python", flush=True)
    os.write(2, f"{words} on stderr\\n\\n".encode())
    return {}

def dies(words, code):
    prints(words)
    os._exit(code)

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def naps(seconds):
    time.sleep(seconds)
    return {}

def counts(to):
    for number in range(to):
        send({"number": number})
    return {"last": to - 1}

def until_cancelled(file):
    send("here")
    while not cancelled():
        time.sleep(0.01)
    open(file, "w").close()
    return {}

def starts_another():
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    send(other.pid)
    time.sleep(60)

kept = []

def frees(mebibytes):
    bytearray(b"x") * (16 << 20)  # from now on glibc takes smaller ones from its heap
    held = [bytearray(b"x") * (1 << 20) for _ in range(mebibytes)]
    kept.append(held.pop())  # above all others, so that the heap can't shrink
    return {}

not_a_function = int
"""


@pytest.fixture(autouse=True)
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package attn_toys, for children alone."""
    (tmp_path / "path" / "attn_toys").mkdir(parents=True)
    (tmp_path / "path" / "attn_toys" / "tasks.py").write_text(TASKS)
    before = os.environ.get("PYTHONPATH", "")
    runtime = str(Path(child_process.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path / "path"), runtime, before])))


def process_of(child: ChildProcess) -> subprocess.Popen[str]:
    assert child._child is not None
    return child._child.process


def task(name: str) -> str:
    return f"attn_toys.tasks:{name}"


def wait_for(done: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    return done()


def alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_a_task_answers_and_the_reply_of_one_started_before_is_dropped() -> None:
    with ChildProcess(60) as child:
        child.start(task("echo"), one=1)
        assert child.run(task("echo"), "x", two=[2, "zwei"]) == {"two": [2, "zwei"]}


def test_modules_in_the_current_folder_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('json of the current folder')")
    monkeypatch.chdir(tmp_path)
    with ChildProcess(60) as child:
        assert child.run(task("echo"), "x") == {}


def test_a_failed_task_says_why_in_one_line_and_the_child_lives() -> None:
    with ChildProcess(60) as child:
        with pytest.raises(TaskFailed, match=r"^stage-x: ValueError: not so$") as caught:
            child.run(task("fails"), "stage-x", why="so")
        assert caught.value.exit_code == 12 and caught.value.reason == "ValueError: not so"
        pid = process_of(child).pid
        with pytest.raises(TaskFailed, match="^x: out of memory$"):
            child.run(task("exhausted"), "x")
        assert child.run(task("echo"), "again") == {} and process_of(child).pid == pid


@pytest.mark.parametrize(
    "name", ["json:dumps", "os:system", "attn_toys:echo", "attn_toys.tasks:echo:x", "attn_toys.tasks", "", "../x:y"]
)
def test_what_is_no_task_of_ours_is_not_even_sent(name: str) -> None:
    with ChildProcess(60) as child, pytest.raises(ValueError, match="expected a function of ours"):
        child.run(name, "x")


@pytest.mark.parametrize("name", ["borrowed", "not_a_function", "absent", "os"])
def test_what_a_module_of_ours_only_has_from_elsewhere_is_refused(name: str) -> None:
    with ChildProcess(60) as child, pytest.raises(TaskFailed, match="expected a function of ours"):
        child.run(task(name), "x")


def test_what_a_task_prints_is_no_reply() -> None:
    with ChildProcess(60) as child:
        child.run(task("prints"), "x", words='{"ok": {}}')
        assert child.run(task("echo"), "x", a=1) == {"a": 1}


def test_a_child_that_ends_is_told_with_its_last_words() -> None:
    with ChildProcess(60) as child:
        with pytest.raises(ChildDied) as caught:
            child.run(task("dies"), "stage-x", words="bye   bye", code=3)
        assert str(caught.value) == "stage-x: the child process died (exit code 3). Its last words: bye bye on stderr"
        assert (caught.value.how, caught.value.last_words) == ("exit code 3", "bye bye on stderr")
        with pytest.raises(ChildDied, match=r"\(SIGKILL\). Its last words: none$"):
            child.run(task("killed"), "x")


@linux
def test_a_crash_names_the_stage_and_the_signal_and_the_next_task_has_a_new_child() -> None:
    with ChildProcess(60) as child:
        child.run(task("echo"), "first")
        process = process_of(child)
        os.kill(process.pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (process.pid, signal.SIGSEGV)).start()
        threading.Timer(0.4, os.kill, (process.pid, signal.SIGCONT)).start()
        with pytest.raises(StageError, match=r"simplify: the child process died \(SIGSEGV\)"):
            child.run(task("echo"), "simplify")
        assert child.run(task("echo"), "after", a=1) == {"a": 1}


def test_a_hang_is_ended_at_the_limit_and_what_to_do_is_told() -> None:
    with ChildProcess(0.3, advice="do this") as child:
        child.seconds = 60
        child.run(task("echo"), "first")
        child.seconds = 0.3
        process = process_of(child)
        with pytest.raises(StageError, match="^simplify: no answer within [0-9.]+ s, so it was stopped; do this$"):
            child.run(task("naps"), "simplify", seconds=60)
        assert process.poll() is not None
    with ChildProcess(0.2) as child, pytest.raises(StageError, match="so it was stopped$"):
        child.run(task("naps"), "x", seconds=60)


def test_closing_leaves_no_process() -> None:
    before = threading.active_count()
    child = ChildProcess(60)
    child.run(task("echo"), "x")
    process = process_of(child)
    child.close()
    assert process.poll() is not None and threading.active_count() == before


# --- messages, and giving up --------------------------------------------------------------------------------------------


def test_messages_come_in_order_while_the_task_works() -> None:
    seen: list[object] = []
    with ChildProcess(60, on_message=seen.append) as child:
        assert child.run(task("counts"), "x", to=5) == {"last": 4}
    assert seen == [{"number": number} for number in range(5)]
    with ChildProcess(60) as child:
        assert child.run(task("counts"), "x", to=2) == {"last": 1}  # nobody listens


@pytest.mark.parametrize("problem", [StageError, KeyboardInterrupt])
def test_what_on_message_raises_ends_the_run_and_the_task_may_end_in_order(
    problem: type[BaseException], tmp_path: Path
) -> None:
    def refuse(message: object) -> None:
        raise problem("no more")

    with pytest.raises(problem), ChildProcess(60, on_message=refuse, patience=5) as child:
        child.run(task("until_cancelled"), "x", file=str(tmp_path / "ended"))
    assert (tmp_path / "ended").exists() and child._child is None


@linux
def test_a_task_that_does_not_hear_is_killed_with_what_it_started() -> None:
    started: list[int] = []

    def refuse(message: int) -> None:
        started.append(message)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ChildProcess(60, on_message=refuse, patience=0.2) as child:
        child.run(task("starts_another"), "x")
    assert wait_for(lambda: not alive(started[0]))


@linux
@pytest.mark.parametrize("name", ["naps", "echo"])
def test_a_parent_that_is_killed_takes_the_child_with_it(name: str) -> None:
    code = (
        "import os, sys; from attn_runtime.child_process import ChildProcess; child = ChildProcess(60);"
        f"child.start('attn_toys.tasks:{name}', seconds=60); print(child._child.process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert wait_for(lambda: not alive(int(done.stdout)), 4.0)


# --- kept children ------------------------------------------------------------------------------------------------------


def served() -> subprocess.Popen[str]:
    with ChildProcess(60) as child:
        child.run(task("echo"), "x")
        return process_of(child)


def test_a_child_that_served_well_serves_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = served()
    assert first.poll() is None and served() is first
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    other = served()
    assert other is not first and first.poll() is not None
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    last = served()
    assert last is not other
    child_process.end_kept()
    assert last.poll() is not None


def test_paths_of_a_task_start_from_the_folder_that_is_current(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = served()
    monkeypatch.chdir(tmp_path)
    with ChildProcess(60) as child:
        child.start(task("writes"), file="started")
        child.run(task("writes"), "x", file="ran")
        assert process_of(child) is first
    assert (tmp_path / "started").exists() and (tmp_path / "ran").exists()


def test_a_child_of_its_own_neither_comes_from_others_nor_goes_to_them() -> None:
    kept = served()
    with ChildProcess(60, reuse=False) as child:
        child.run(task("echo"), "x")
        own = process_of(child)
    assert own is not kept and own.poll() is not None and served() is kept


def test_a_child_that_may_still_answer_is_not_kept() -> None:
    with pytest.raises(KeyboardInterrupt), ChildProcess(60) as child:
        child.run(task("echo"), "x")
        interrupted = process_of(child)
        raise KeyboardInterrupt
    assert interrupted.poll() is not None
    with pytest.raises(ZeroDivisionError), ChildProcess(60, on_message=lambda _: 1 // 0) as child:
        child.start(task("echo"))
        child.run(task("counts"), "x", to=1)
    assert child._child is None and not child_process._kept


def test_what_was_started_for_nothing_costs_the_next_no_child() -> None:
    with pytest.raises(ZeroDivisionError), ChildProcess(60) as child:
        child.start(task("echo"), of="the first")
        child.start(task("fails"), why="nobody reads it")
        first = process_of(child)
        raise ZeroDivisionError
    for number in range(2):
        with ChildProcess(60) as child:
            assert child.run(task("echo"), "x", number=number) == {"number": number}
            assert process_of(child) is first
    with pytest.raises(TaskFailed), ChildProcess(60) as child:
        child.run(task("fails"), "x", why="it says so")
    assert served() is first


def test_a_child_that_died_or_grew_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    died = served()
    died.kill()
    died.wait()
    assert served() is not died
    monkeypatch.setattr(child_process, "MAX_KEPT_BYTES", 1 << 20)
    assert served().poll() is not None


def test_what_torch_sets_in_the_environment_ends_no_kept_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its first export, with the child that was made for it already at work."""
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    first = served()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "somewhere")
    assert served() is first
    monkeypatch.setenv("ATTN_SOMETHING", "else")
    assert served() is not first


@linux
def test_what_a_task_has_freed_is_given_back() -> None:
    with ChildProcess() as child:
        child.run(task("echo"), "first")
        before = resident(process_of(child).pid)
        child.run(task("frees"), "second", mebibytes=200)
        assert resident(process_of(child).pid) - before < 50 << 20


# --- the parts that others use ------------------------------------------------------------------------------------------


def test_last_words_are_the_last_line_that_says_something(tmp_path: Path) -> None:
    with (tmp_path / "printed").open("w+") as printed:
        assert child_process.last_words(printed) == "none"
        printed.write("one\nInternal Error:   two\n\n")
        assert child_process.last_words(printed) == "Internal Error: two"


def test_a_python_command_passes_its_arguments_on() -> None:
    (Path(os.environ["PYTHONPATH"].split(os.pathsep)[0]) / "attn_toys" / "main.py").write_text(
        "import sys\ndef main():\n    print(sys.argv[1:], '' in sys.path)\n"
    )
    command = python_command("attn_toys.main:main", "a b", "-c")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "['a b', '-c'] False", done.stderr
