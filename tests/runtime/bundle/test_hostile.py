"""Every attack is answered with one clear line, by the one who must notice it, and quickly."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import AttnError, BundleError
from support.graphs.make_hostile_bundles import ATTACKS, Attack


def use(path: Path) -> None:
    """Read all that a bundle offers."""
    bundle = Bundle.open(path)
    for graph in bundle.graphs.values():
        for _ in graph.cases():
            pass
    for name in bundle.manifest["assets"]:
        bundle.asset(name)


def test_the_bundle_they_were_made_from_is_valid(hostile_bundles: Path) -> None:
    use(hostile_bundles / "base.attn")


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.stage != "engine"], ids=lambda attack: attack.name)
def test_attack_is_told_in_one_line(attack: Attack, hostile_bundles: Path) -> None:
    path = hostile_bundles / f"{attack.name}.attn"
    if attack.stage != "open":
        Bundle.open(path)
    began = time.process_time()  # not the clock: other tests run beside this one
    with pytest.raises(BundleError) as caught:
        use(path)
    message = str(caught.value)
    assert attack.says in message
    assert path.name in message
    assert "\n" not in message and message.isprintable()
    assert len(message) < 1000
    assert time.process_time() - began < 2


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.stage == "engine"], ids=lambda attack: attack.name)
def test_graph_that_no_engine_can_run_is_told_in_one_line(attack: Attack, hostile_bundles: Path) -> None:
    session = pytest.importorskip("attn_runtime.session")
    path = hostile_bundles / f"{attack.name}.attn"
    Bundle.open(path)
    with pytest.raises(AttnError) as caught:
        session.open_session(path, device="cpu", backend="ort")
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_attacks_do_not_exhaust_memory(hostile_bundles: Path) -> None:
    """All of them in one process that may map 1 GiB more than it has after its imports."""
    script = f"""
import resource, sys
from pathlib import Path
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError

pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sorted(Path({str(hostile_bundles)!r}).glob("*.attn")):
    try:
        for graph in Bundle.open(path).graphs.values():
            list(graph.cases())
    except BundleError:
        pass
# not ru_maxrss: that one remembers the parent, whose copy this process was before it became Python
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 400 * 2**20, "peak resident memory in bytes"


def test_unreadable_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"does not exist; check the path"):
        Bundle.open(tmp_path / "nowhere" / "a.attn")
    with pytest.raises(BundleError, match=r"a.attn"):
        Bundle.open(tmp_path / ("a" * 300) / "a.attn")
    (tmp_path / "file.attn").write_text("")
    with pytest.raises(BundleError, match=r"is a file, expected a folder"):
        Bundle.open(tmp_path / "file.attn")
