"""How many threads a session takes by itself: on trees of /proc and /sys as containers, and machines with cores offline, show."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attn_runtime.ort import cores
from attn_runtime.ort.cores import Cores, cpu_quota, default_threads, limit_openmp, usable_cores
from attn_runtime.ort.session_options import cpu_options
from support.graphs.make_graphs import add

V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate"
V1 = "33 32 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct"


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on the cores 0 to 7."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def machine(
    root: Path, groups: str = "", mounts: str = "", present: str = "0-7", online: str = "0-7", **quotas: str
) -> Path:
    """`quotas`: what lies in cpu.max, or in cpu.cfs_quota_us of a period of 100 ms, by folder below /sys/fs/cgroup ("a__b")."""
    files = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
    files |= {"sys/devices/system/cpu/present": present, "sys/devices/system/cpu/online": online}
    for folder, text in quotas.items():
        place = f"sys/fs/cgroup/{folder.replace('__', '/').replace('_cpu', 'cpu,cpuacct')}"
        if " " in text:
            files[f"{place}/cpu.max"] = text
        else:
            files |= {f"{place}/cpu.cfs_quota_us": text, f"{place}/cpu.cfs_period_us": "100000\n"}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "mounts", "quotas", "wanted"),
    [
        # Docker and Kubernetes now: a namespace of its own, whose root is what is mounted.
        ("0::/", V2.format(root="/"), {"": "150000 100000\n"}, 1.5),
        ("0::/", V2.format(root="/"), {"": "max 100000\n"}, None),
        # On the host: the smallest of the group's own and of all around it, whatever their periods.
        ("0::/a/b/c", V2.format(root="/"), {"a": "400000 100000", "a__b": "50000 20000", "a__b__c": "max 100000"}, 2.5),
        ("0::/a/b/c", V2.format(root="/"), {"a": "50000 100000", "a__b__c": "300000 100000"}, 0.5),
        ("0::/a", V2.format(root="/"), {"": "max 100000", "b": "10000 100000"}, None),
        # Without a namespace: the host's path, under a mount of that very folder, or of one above it, or of another.
        ("0::/docker/1/a", V2.format(root="/docker/1"), {"": "300000 100000", "a": "200000 100000"}, 2.0),
        ("0::/kubepods/pod1", V2.format(root="/"), {"": "200000 100000"}, 2.0),
        ("0::/../other", V2.format(root="/"), {"": "200000 100000"}, 2.0),
        ("0::/x", V2.format(root="/../y"), {"": "200000 100000"}, 2.0),
        # The first version, where controllers have a tree each, and -1 is no limit.
        ("4:memory:/m\n3:cpu,cpuacct:/docker/1\n", V1.format(root="/docker/1"), {"_cpu": "250000"}, 2.5),
        ("3:cpuacct,cpu:/a/b\n", V1.format(root="/"), {"_cpu": "-1", "_cpu__a": "100000", "_cpu__a__b": "-1"}, 1.0),
        ("3:cpu,cpuacct:/a\n", V1.format(root="/"), {"_cpu": "-1", "_cpu__a": "-1"}, None),
        ("3:cpuset:/a\n", V1.format(root="/").replace("rw,cpu,", "rw,cpuset,"), {"_cpu__a": "100000"}, None),
        # Both at once: the second version beside the first, which has the controller.
        ("3:cpu,cpuacct:/a\n0::/a\n", f"{V2.format(root='/')}\n{V1.format(root='/')}", {"_cpu__a": "300000"}, 3.0),
        ("0::/", V2.format(root="/").replace("/cgroup rw", "/c\\040g rw"), {"..__c g": "100000 100000"}, 1.0),
        # Nothing to be read, and nothing that can be.
        ("", "", {}, None),
        ("0::/\nnonsense\n", f"nonsense - x\n- - -\n{V2.format(root='/')}", {"": "0 0"}, None),
        ("0::/", V2.format(root="/"), {"": "some thing"}, None),
    ],
)
def test_quota(tmp_path: Path, groups: str, mounts: str, quotas: dict[str, str], wanted: float | None) -> None:
    assert cpu_quota(machine(tmp_path, groups, mounts, **quotas)) == wanted
    assert cpu_quota(tmp_path / "nothing is here") is None


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("quota", "present", "online", "wanted", "threads"),
    [
        ("max 100000", "0-7", "0-7", Cores(8, 8), 0),
        ("800000 100000", "0-7", "0-7", Cores(8, 8), 0),
        ("150000 100000", "0-7", "0-7", Cores(8, 2, "CPU quota"), 2),
        ("1000 100000", "0-7", "0-7", Cores(8, 1, "CPU quota"), 1),
        ("max 100000", "0-63", "0-63", Cores(64, 8, "bound to them"), 8),
        ("100000 100000", "0-63", "0-63", Cores(64, 1, "CPU quota"), 1),
        # The kernel may still list cores as allowed that were taken offline; ONNX Runtime would pin threads to those.
        ("max 100000", "0-7", "0-2,4", Cores(8, 4, "the others are offline"), 4),
        ("max 100000", "0-15", "0-7", Cores(16, 8, "the others are offline"), 8),
        ("300000 100000", "0-15", "0,2-3,8-15", Cores(16, 3, "bound to them"), 3),
        # What a container is shown of the cores there are need not be those that it runs on.
        ("max 100000", "0-1", "20-21", Cores(8, 2, "the others are offline"), 2),
        ("max 100000", "", "", Cores(8, 8), 0),
    ],
)
def test_cores_are_those_that_are_online_and_allowed_and_within_the_quota(
    tmp_path: Path, quota: str, present: str, online: str, wanted: Cores, threads: int
) -> None:
    root = machine(tmp_path, "0::/", V2.format(root="/"), present, online, **{"": quota})
    assert usable_cores(root) == wanted and default_threads(root) == threads


def test_every_session_takes_them_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda root: Cores(64, 3, "CPU quota"))
    assert cpu_options().intra_op_num_threads == 3 and cpu_options(threads=5).intra_op_num_threads == 5


def test_a_quota_is_told_to_openmp_unless_the_environment_names_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Cores(64, 64)
    monkeypatch.setattr(cores, "usable_cores", lambda root: found)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_openmp()
    assert "OMP_NUM_THREADS" not in os.environ
    for number in (3, 4):
        found = Cores(64, number, "CPU quota")
        limit_openmp()
        assert os.environ["OMP_NUM_THREADS"] == "3"


def test_its_threads_sleep_where_that_is_asked_for_and_the_environment_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    limit_openmp(sleeping=True)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    limit_openmp()
    assert "OMP_WAIT_POLICY" not in os.environ
    limit_openmp(sleeping=True)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


# --- a control group of this machine ------------------------------------------------------------------------------


@pytest.fixture
def half_a_core(tmp_path: Path) -> Iterator[Path]:
    """The file that a process writes its number to, to have half a core's worth of processor time."""
    top = Path("/sys/fs/cgroup")
    group = (
        next((each for each in (top / "cpu", top / "cpu,cpuacct", top) if each.is_dir()), top) / f"attn{os.getpid()}"
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error})")
    try:
        files = {"cpu.max": "50000 100000"}
        if not (group / "cpu.max").exists():
            files = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
        for name, text in files.items():
            (group / name).write_text(text)
        yield group / "cgroup.procs"
    except OSError as error:
        pytest.skip(f"no CPU quota can be set here ({error})")
    finally:
        group.rmdir()


def test_a_process_in_a_group_with_a_quota(half_a_core: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys, numpy as np; from pathlib import Path; Path(sys.argv[2]).write_text(str(os.getpid()));"
        "from attn_runtime.session import open_session; from attn_runtime.ort import usable_cores;"
        "import onnxruntime; before = len(os.listdir('/proc/self/task')); s = open_session(sys.argv[1], 'cpu');"
        "print(usable_cores().usable, len(os.listdir('/proc/self/task')) - before)"
    )
    command = [sys.executable, "-c", program, str(add(tmp_path / "add.onnx")), str(half_a_core)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["1", "0"], "")
