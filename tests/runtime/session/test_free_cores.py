"""How many cores others leave, from what Linux says of processor time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attn_runtime.session import free_cores
from attn_runtime.session.free_cores import FreeCores

HERTZ = os.sysconf("SC_CLK_TCK")


class Machine:
    """Its /proc/stat, its clock, and the processor time of this process. All cores, by name, are idle at first."""

    def __init__(self, root: Path, cores: list[int]) -> None:
        self.root, self.time, self.own = root, 100.0, 5.0
        self._busy, self._cores = dict.fromkeys(cores, 10.0), cores
        (root / "proc").mkdir()
        self.passes(0.0, 0.0, {})

    def passes(self, seconds: float, own: float, others: dict[int, float]) -> None:
        """So much time, of which this process and others have had some; ours is on the first cores."""
        self.time += seconds
        self.own += own
        for core in self._cores:
            ours = min(own, seconds)
            own -= ours
            self._busy[core] += ours + others.get(core, 0.0)
        lines = [_line("cpu", sum(self._busy.values()), self.time * len(self._cores))]
        lines += [_line(f"cpu{core}", busy, self.time) for core, busy in self._busy.items()]
        (self.root / "proc/stat").write_text("\n".join([*lines, "intr 12 0", "ctxt 34"]) + "\n")

    def free(self) -> FreeCores:
        return FreeCores(self.root, lambda: self.time, lambda: self.own)


def _line(name: str, busy: float, time: float) -> str:
    """Half of it as user's, the rest as interrupts; idle and iowait fill up, and guests are counted twice."""
    ticks = round(busy * HERTZ)
    idle = round(time * HERTZ) - ticks
    return f"{name} {ticks // 2} 0 0 {idle - 5} 5 {ticks - ticks // 2} 0 0 {ticks // 3} 0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Two cores, both allowed."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    return Machine(tmp_path, [0, 1])


def test_what_this_process_takes_leaves_them_free(machine: Machine) -> None:
    free = machine.free()
    assert free.now() is None  # no time has passed
    machine.passes(1.0, 2.0, {})
    assert free.now() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("own", "theirs", "left"), [(1.4, 0.6, 1.4), (1.0, 1.0, 1.0), (0.3, 1.7, 0.3), (0.0, 0.0, 2.0)]
)
def test_what_others_take_does_not(own: float, theirs: float, left: float, machine: Machine) -> None:
    free = machine.free()
    machine.passes(1.0, own, {0: theirs / 2, 1: theirs / 2})
    assert free.now() == pytest.approx(left, abs=0.05)


def test_a_core_is_free_again_when_it_was_twice(machine: Machine) -> None:
    free = machine.free()
    machine.passes(1.0, 1.0, {1: 1.0})
    assert free.now() == pytest.approx(1.0, abs=0.05)
    for left in (1.0, 2.0):
        machine.passes(1.0, 1.0, {})
        assert free.now() == pytest.approx(left, abs=0.05)
    machine.passes(1.0, 1.0, {1: 1.0})
    assert free.now() == pytest.approx(1.0, abs=0.05)


def test_it_is_not_looked_at_more_often_than_time_is_counted(machine: Machine) -> None:
    free = machine.free()
    machine.passes(1.0, 1.0, {})
    assert free.now() == pytest.approx(2.0)
    machine.passes(free_cores.LOOK_S / 2, 0.0, {0: 0.1})
    assert free.now() == pytest.approx(2.0)


def test_others_on_cores_that_are_not_ours_take_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    machine = Machine(tmp_path, [0, 1, 2, 3])
    free = machine.free()
    machine.passes(1.0, 2.0, {2: 1.0, 3: 1.0})
    assert free.now() == pytest.approx(2.0, abs=0.05)


def test_cores_that_are_called_otherwise_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {6, 7, 8})
    machine = Machine(tmp_path, [0, 1])
    free = machine.free()
    machine.passes(1.0, 1.0, {1: 1.0})
    assert free.now() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("content", [None, "", "cpu  1 2 3\n", "cpu a b c d e f g h\n"])
def test_where_the_system_does_not_say_nothing_is_known(content: str | None, machine: Machine) -> None:
    file = machine.root / "proc/stat"
    file.unlink() if content is None else file.write_text(content)
    free = machine.free()
    machine.time += 1.0
    assert free.now() is None


def test_this_machine_says_it() -> None:
    free = FreeCores()
    deadline = free._now() + 30
    while (found := free.now()) is None and free._now() < deadline:
        pass
    assert found is not None
    assert 0 <= found <= len(os.sched_getaffinity(0))
