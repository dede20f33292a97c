"""A session in a child of a fork: calls are refused, letting go of it ends, and one that is opened there works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime import forks
from attn_runtime.backends import native
from attn_runtime.bundle import Bundle
from attn_runtime.device.buffers import pinned_array
from attn_runtime.errors import AttnError, UsageError
from attn_runtime.session import Session
from attn_runtime.spec import Dim, TensorSpec
from support.machines.host_device import HostDevice
from support.models.tiny_generators import Tiny, write_bundle

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
needs_library = pytest.mark.skipif(native.why_unavailable() is not None, reason=str(native.why_unavailable()))

#: Threads of the engine, of the interpreter and of other sessions are there when it forks. What hangs is ended by a signal.
PROGRAM = """
import gc, json, multiprocessing, os, signal, sys, threading
import numpy as np
from attn_runtime import AttnError, open_generator, open_session

bundle, generator_bundle, backend = sys.argv[1:]
x = {"x": np.ones((2, 16), np.float32)}
prompt = {"tokens": np.array([[5, 6]])}
def opened(): return open_session(bundle, "cpu", backend, threads=2)
session, generator = opened(), open_generator(generator_bundle, "cpu", backend, threads=2)
answer, tokens = session.run(x)["y"], generator.generate(prompt).tokens
bound, alone = session.bind({"batch": 2}), opened().bind({"batch": 2})
bound(), alone()

def what_is_told(call):
    try:
        call()
    except AttnError as error:
        return f"{error.exit_code} {error}"
    return "nothing"

def use(_=0):
    calls = [lambda: session.run(x), session.bind, bound, alone, lambda: session.buffer((1,), "float32")]
    return list(map(what_is_told, [*calls, lambda: generator.generate(prompt)]))

def let_go(close):
    global session, generator, bound, alone
    if close:
        session.close(), session.close(), generator.close()
    session = generator = bound = alone = None
    gc.collect()

def open_anew():
    assert (opened().run(x)["y"] == answer).all() and (opened().bind({"batch": 2})()["y"].shape == (2, 10))
    with open_generator(generator_bundle, "cpu", backend, threads=2) as again:
        assert (again.generate(prompt).tokens == tokens).all()

def child(do):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            os.write(write, json.dumps(do()).encode())
        except BaseException as error:
            os.write(write, json.dumps(repr(error)).encode())
        return True
    os.close(write)
    told = os.fdopen(read).read()
    found[do.__name__] = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), json.loads(told or '"no word"')]
    return False

def ends_with_all_of_it(): pass
def ends_after_use(): return use()
def ends_after_close(): return let_go(True)
def ends_after_del(): return let_go(False)
def works_after_opening(): return open_anew()

found, stop = {}, threading.Event()
def busy():  # another session at work while this process forks
    with opened() as other:
        while not stop.is_set():
            other.run(x)
worker = threading.Thread(target=busy)
worker.start()
for do in (ends_with_all_of_it, ends_after_use, ends_after_close, ends_after_del, works_after_opening):
    if child(do):
        sys.exit(0)
with multiprocessing.get_context("fork").Pool(1) as pool:
    found["pool"] = pool.map_async(use, [0]).get(60)[0]
stop.set()
worker.join()
found["parent"] = use(), (session.run(x)["y"] == answer).all().item(), (bound()["y"].shape, alone()["y"].shape)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def generator_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("forks") / "tiny.attn", Tiny(encoder=False, key_heads=1))


@pytest.mark.parametrize("backend", ["ort", pytest.param("native", marks=[needs_library, pytest.mark.full])])
def test_in_a_child_calls_are_refused_and_letting_go_ends(
    valid_bundle: Path, generator_bundle: Path, backend: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(valid_bundle), str(generator_bundle), backend],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    after = "was opened before a fork; open it after the fork, in the process that uses it"
    refused = [f"2 the session on bundle gemm.attn {after}"] * 5 + [f"2 the generator on bundle tiny.attn {after}"]
    assert found == {
        "ends_with_all_of_it": [0, None],
        "ends_after_use": [0, refused],
        "ends_after_close": [0, None],
        "ends_after_del": [0, None],
        "works_after_opening": [0, None],
        "pool": refused,
        "parent": [["nothing"] * 6, True, [[2, 10], [2, 10]]],
    }


# --- in this process ----------------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], object]) -> object:
    """What `work` returns in a child of a fork, or the error that it raises, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            told = json.dumps(work())
        except BaseException as error:
            told = json.dumps(f"{type(error).__name__}: {error}")
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as opened:
        told = opened.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(told)


class Engine:
    """One whose end can't be missed, as a GPU's would be in a child: the driver works in the parent alone."""

    device, note = "cpu", None
    inputs = outputs = (TensorSpec("x", "float32", (Dim("batch", 1, 2, 4),)),)

    def __init__(self, ended: list[str]) -> None:
        self.ended, self.assets = ended, dict[str, Any]()

    def run(self, feed: Any) -> dict[str, Any]:
        return dict(feed)

    def bind(self, inputs: Any, outputs: Any) -> Callable[[], object]:
        return Call(self.ended)

    def explain(self, error: Exception) -> AttnError:
        return UsageError(str(error))

    def close(self) -> None:
        self.ended.append("closed")

    def __del__(self) -> None:
        self.ended.append("gone")


class Call:
    def __init__(self, ended: list[str]) -> None:
        self.ended = ended

    def __call__(self) -> None: ...

    def __del__(self) -> None:
        self.ended.append("call gone")


def test_an_engine_is_neither_closed_nor_destroyed_in_a_child() -> None:
    ended, unbound = list[str](), list[str]()
    held = {"session": Session("fake", Engine(ended), "", "it"), "unbound": Session("fake", Engine(unbound), "", "it")}
    held["bound"] = held["session"].bind()  # type: ignore[assignment]
    held["closed"] = Session("fake", Engine([]), "", "it")
    held["closed"].close()

    def let_go() -> list[str]:
        with pytest.raises(UsageError, match="before a fork"):
            held["bound"]()  # type: ignore[operator]
        with pytest.raises(UsageError, match="is closed"):
            held["closed"].run({"x": np.zeros(2, np.float32)})
        held["session"].close()
        held.clear()
        return ended + unbound

    assert in_a_child(let_go) == []
    held["session"].close()
    held.clear()
    assert ended == ["call gone", "closed", "gone"]


def test_page_locked_memory_is_the_parents_to_free() -> None:
    freed: list[int] = []
    device = HostDevice()
    device.free_pinned = freed.append  # type: ignore[method-assign]
    held = [pinned_array(device, (4,), np.dtype("float32"))]

    def let_go() -> int:
        held.clear()
        return len(freed)

    assert in_a_child(let_go) == 0
    assert let_go() == 1


def test_a_lock_that_a_thread_of_the_parent_holds_is_free_in_a_child(valid_bundle: Path) -> None:
    made, bundle = forks.lock(), Bundle.open(valid_bundle)
    bundles = native._Bundles()
    bundles._opening[bundle] = threading.Lock()
    with made, bundles._lock, bundles._opening[bundle]:
        free = in_a_child(
            lambda: [made.acquire(False), bundles._lock.acquire(False), bundle in bundles._opening, made.locked()]
        )
        assert free == [True, True, False, True] and made.locked()
    assert not made.locked()


class Watched:
    def __init__(self, called: list[str]) -> None:
        self.called = called

    def after_fork(self) -> None:
        self.called.append("here")


def test_what_is_gone_is_not_watched() -> None:
    called: list[str] = []
    watched = [Watched(called)]
    forks.watch(watched[0])
    assert in_a_child(lambda: called) == ["here"]
    watched.clear()
    assert in_a_child(lambda: called) == [] and called == []


def test_a_fork_waits_for_work_that_holds_what_a_child_could_not_give_back() -> None:
    gate, inside, leave, order = forks.Gate(), threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        with gate:
            inside.set()
            leave.wait(60)
            order.append("work is done")

    class Waiting(threading.Condition):  # tells when the fork has begun to wait
        def wait(self, timeout: float | None = None) -> bool:
            leave.set()
            return super().wait(timeout)

    gate._changed = Waiting(threading.Lock())
    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(60)
    assert in_a_child(lambda: [*order, gate._inside]) == ["work is done", []]
    thread.join()


def test_a_fork_waits_neither_for_itself_nor_for_ever() -> None:
    gate, inside, leave = forks.Gate(patience=0.01), threading.Event(), threading.Event()

    def work() -> None:
        with gate:
            inside.set()
            leave.wait(60)

    def enter() -> int:
        with gate:
            return len(gate._inside)

    with gate:
        assert in_a_child(enter) == 2
    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(60)
    assert in_a_child(enter) == 1 and enter() == 2
    leave.set()
    thread.join()
