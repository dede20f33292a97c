"""The cores that this process may keep busy: those that it is bound to and that are online, and its CPU quota.

A container's CPU limit (`docker --cpus`, a limit in Kubernetes) is a quota of its control group: the process sees every core
of the host, and is stopped for the rest of each period once its threads together have used the quota up.
"""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ..lazy import dataclass

_ROOT = Path("/")


@dataclass(frozen=True)
class Cores:
    """How many cores can be kept busy.

    present  that the machine has, online or not
    usable   of them, by this process: what a session takes threads for
    limit    what leaves it fewer than there are: "CPU quota", "bound to them", "the others are offline"; None where nothing does
    """

    present: int
    usable: int
    limit: str | None = None


def usable_cores(root: Path = _ROOT) -> Cores:
    """The cores of this process, read anew each time: a quota can change while it runs. Raises nothing.

    `root` is where /proc and /sys lie.
    """
    cpus = root / "sys/devices/system/cpu"
    allowed = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    present = _listed(cpus / "present") | allowed
    online = _listed(cpus / "online") or allowed
    # A container may be shown a list of as many cores as its quota has, whatever those are called that it runs on.
    usable = len(allowed & online) or min(len(allowed), len(online))
    limit = None
    if usable < len(present):
        limit = "bound to them" if len(allowed) < len(online) else "the others are offline"
    quota = cpu_quota(root)
    if quota is not None and math.ceil(quota) < usable:
        usable, limit = max(math.ceil(quota), 1), "CPU quota"
    return Cores(len(present), usable, limit)


def default_threads(root: Path = _ROOT) -> int:
    """Threads for a session whose caller names no number; 0 is ONNX Runtime's own choice, where all cores can be used.

    That choice pins a thread to every core of the machine. It knows of no quota, and prints an error for each core that is
    offline or not allowed.
    """
    found = usable_cores(root)
    return 0 if found.usable == found.present else found.usable


def cpu_name(root: Path = _ROOT) -> str:
    """The processor, as Linux calls it; elsewhere as Python does."""
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def limit_openmp(root: Path = _ROOT, *, sleeping: bool = False) -> None:
    """Keep PyTorch to the CPU quota, where this process or a child of it imports it later: OpenMP counts cores alone.

    `sleeping`: its threads sleep while they wait for each other. Spinning, where something else had one of two cores, they
    took 7 times the processor time of small operators, and 8 times as long (torch 2.13, libgomp); where all cores are free,
    to wake one costs some microseconds. What the environment gives already stays.
    """
    if sleeping:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    found = usable_cores(root)
    if found.limit == "CPU quota":
        os.environ.setdefault("OMP_NUM_THREADS", str(found.usable))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores' worth of processor time that the control groups of this process leave it; None where none of them limits it.

    The smallest counts, of its own group and of those around it: cpu.max, and in the first version of control groups
    cpu.cfs_quota_us over cpu.cfs_period_us.
    """
    found = [quota for group in _groups(root) for quota in (_quota_v2(group), _quota_v1(group)) if quota is not None]
    return min(found, default=None)


def _quota_v2(group: Path) -> float | None:
    return _quotient((_text(group / "cpu.max") or "").split())


def _quota_v1(group: Path) -> float | None:
    return _quotient([_text(group / name) or "" for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")])


def _quotient(words: list[str]) -> float | None:
    """Of a quota and its period in microseconds; None for "max" and -1, which mean no limit."""
    with suppress(ValueError):
        quota, period = map(int, words)
        if quota > 0 and period > 0:
            return quota / period
    return None


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the control groups that a CPU quota of this process can lie in, as far up as they are mounted."""
    paths: dict[str, str] = {}  # by version of control groups
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    for line in (_text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        mount, kind = before.split(" "), after.split(" ")
        if len(mount) < 5 or len(kind) < 3 or kind[0] not in paths:
            continue
        if kind[0] == "cgroup" and "cpu" not in kind[2].split(","):
            continue
        top, at = _unescaped(mount[3]), root / _unescaped(mount[4]).lstrip("/")
        try:
            inside = PurePosixPath(paths[kind[0]]).relative_to(top)
        except ValueError:
            inside = PurePosixPath()
        # In a namespace of its own, a container is not told where its group lies among the host's: what is mounted is it.
        if ".." in inside.parts or not (at / inside).is_dir():
            inside = PurePosixPath()
        yield at
        for depth in range(len(inside.parts)):
            yield at.joinpath(*inside.parts[: depth + 1])


def _unescaped(field: str) -> str:
    """A field of mountinfo, where a space is written as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _listed(file: Path) -> set[int]:
    """Numbers of cores in a list as Linux writes them: "0-3,8"; none where it can't be read."""
    found: set[int] = set()
    with suppress(ValueError):
        for part in (_text(file) or "").split(","):
            first, _, last = part.strip().partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
