"""kill -9 and full disks, for real: a child process writes and is killed, or runs into the kernel's limits."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import onnx
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.writer import BundleWriter, OnnxWriter
from attn_runtime.errors import BundleError, OutputError
from support.graphs.make_hostile_bundles import gemm_model

#: What every child starts with: `write(name)` replaces the bundle by one of that model name.
PRELUDE = """
import os, resource, signal, sys, time
from pathlib import Path
import numpy as np
from attn_runtime.files import atomic_write
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError, OutputError
from attn_runtime.bundle.writer import BundleWriter, OnnxWriter

target = Path(sys.argv[1])

def fill(writer):
    for relative in old.manifest["files"]:
        writer.path(relative).write_bytes(source[relative])

def write(name):
    with BundleWriter(target) as writer:
        fill(writer)
        writer.commit({k: v for k, v in old.manifest.items() if k != "files"} | {"name": name})

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if target.suffix == ".attn":
    old = Bundle.open(target)
    source = {relative: (target / relative).read_bytes() for relative in old.manifest["files"]}
"""


def child(script: str, target: Path) -> subprocess.Popen[str]:
    code = PRELUDE + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(script: str, target: Path) -> tuple[int, str]:
    process = child(script, target)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode, out.strip()


def rewrite(target: Path) -> None:
    """What the next export does."""
    code, _ = run("write('next')", target)
    assert code == 0 and Bundle.open(target).name == "next"
    assert [path.name for path in target.parent.iterdir()] == [target.name], "swept"


@pytest.mark.parametrize(
    ("moment", "survivor"),
    {
        "while writing": ("BundleWriter.commit = kill", "gemm"),
        "before publishing": ("atomic_write.Staging.publish = kill", "gemm"),
        "before the exchange": ("atomic_write._exchange = kill", "gemm"),
        "after the exchange": ("atomic_write.Staging.discard = kill", "killed"),
        "in two steps, old set aside": (
            """
            atomic_write._exchange = lambda one, other: False
            rename = Path.rename
            Path.rename = lambda self, to: kill() if to == target else rename(self, to)
            """,
            "gemm",
        ),
        "in two steps, new in place": (
            """
            atomic_write._exchange = lambda one, other: False
            atomic_write._flush_one = lambda path: kill() if path == target.parent else None
            """,
            "killed",
        ),
    }.values(),
    ids=lambda value: None,
)
def test_killed(moment: str, survivor: str, valid_bundle: Path) -> None:
    code, _ = run(textwrap.dedent(moment) + "\nwrite('killed')", valid_bundle)
    assert code == -signal.SIGKILL
    assert list(valid_bundle.parent.glob(".*")), "it was killed before it could clean up"
    bundle = Bundle.open(valid_bundle)
    assert bundle.name == survivor
    assert len(list(bundle.graph().cases())) == 3
    if survivor == "killed":
        # It was done but for the clearing up: a bundle that someone removes now must not come back.
        shutil.move(valid_bundle, valid_bundle.parent.with_name("away"))
        with pytest.raises(BundleError, match="does not exist"):
            Bundle.open(valid_bundle)
        shutil.move(valid_bundle.parent.with_name("away"), valid_bundle)
    rewrite(valid_bundle)


def test_killed_at_any_moment(valid_bundle: Path) -> None:
    """A child that does nothing but replace the bundle, killed six times when it so happens."""
    moments = random.Random(0)
    for _ in range(6):
        process = child("print('go', flush=True)\nfor i in range(10**9): write(f'{i}')", valid_bundle)
        assert process.stdout and process.stdout.readline() == "go\n"
        time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        process.communicate(timeout=60)
        assert len(list(Bundle.open(valid_bundle).graph().cases())) == 3
    rewrite(valid_bundle)


def test_reader_never_sees_a_gap(valid_bundle: Path) -> None:
    """While a child replaces the bundle over and over, every open finds a whole one, old or new."""
    process = child("for i in range(10**9): print(i, flush=True); write(f'{i}'); time.sleep(0.01)", valid_bundle)
    try:
        assert process.stdout and process.stdout.readline() == "0\n"
        names: set[str] = set()
        opened, end = 0, time.monotonic() + 60
        while opened < 100 or len(names) <= 5:  # a slow disk takes its time for each replacement
            assert time.monotonic() < end, f"the bundle was replaced meanwhile: {sorted(names)}"
            names.add(Bundle.open(valid_bundle).name)
            opened += 1
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_live_run_is_waited_for(valid_bundle: Path) -> None:
    """Without exchange there is a gap; a reader that falls into it waits for the writer, and takes nothing from it."""
    process = child(
        """
        atomic_write._exchange = lambda one, other: False
        rename = Path.rename
        def slow(self, to):
            if to == target:
                print("gap", flush=True)
                time.sleep(0.3)
            return rename(self, to)
        Path.rename = slow
        write("new")
        """,
        valid_bundle,
    )
    assert process.stdout and process.stdout.readline() == "gap\n"
    assert not valid_bundle.exists()
    assert Bundle.open(valid_bundle).name == "new"
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_onnx_and_data_killed_in_between(tmp_path: Path) -> None:
    target = tmp_path / "gemm.onnx"
    model = gemm_model()
    with OnnxWriter(target) as writer:
        onnx.save(model, writer.path(), save_as_external_data=True, location="gemm.onnx.data", size_threshold=0)
        writer.commit()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _ = run(
        """
        rename = Path.rename
        Path.rename = lambda self, to: kill() if to == target else rename(self, to)
        with OnnxWriter(target) as writer:
            writer.path().write_bytes(b"new graph")
            writer.path("gemm.onnx.data").write_bytes(b"new weights")
            writer.commit()
        """,
        target,
    )
    assert code == -signal.SIGKILL
    assert not target.exists() and (tmp_path / "gemm.onnx.data").read_bytes() == b"new weights"
    with OnnxWriter(target):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "write",
    [
        "writer.add_tensors('big.safetensors', {'x': np.zeros(2**20, np.float32)})",
        "writer.add_json('big.json', ['x' * 100] * 1000)",
        "writer.path('big.bin').write_bytes(bytes(2**20))",
        "np.zeros(2**20, np.float32).tofile(writer.path('big.bin'))",
        "fill(writer); writer.commit({k: v for k, v in old.manifest.items() if k != 'files'} | {'source': "
        "old.manifest['source'] | {'config': {'x': 'x' * 2**16}}})",
    ],
    ids=["tensors", "json", "bytes", "tofile", "manifest"],
)
def test_disk_that_takes_no_more(write: str, valid_bundle: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse to write past 64 KiB, as a full disk or a quota does."""
    before = {str(path): path.read_bytes() for path in valid_bundle.rglob("*") if path.is_file()}
    code, said = run(
        f"""
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        try:
            with BundleWriter(target) as writer:
                {write}
                print("written")
        except OutputError as error:
            print(error.exit_code, error)
        """,
        valid_bundle,
    )
    assert code == 0 and said.startswith("11 can't write"), said
    assert "\n" not in said
    assert {str(path): path.read_bytes() for path in valid_bundle.rglob("*") if path.is_file()} == before
    assert [path.name for path in valid_bundle.parent.iterdir()] == [valid_bundle.name]


def test_no_space_left(tmp_path: Path) -> None:
    """/dev/full answers ENOSPC to every write."""
    with (
        pytest.raises(OutputError, match=r"can't write .*a.attn: No space left on device.*free some space") as caught,
        BundleWriter(tmp_path / "a.attn") as writer,
    ):
        writer.path("full.bin").symlink_to("/dev/full")
        writer.path("full.bin").write_bytes(bytes(2**16))
    assert caught.value.exit_code == 11
    assert not list(tmp_path.iterdir())


def test_errors_of_other_files_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), BundleWriter(tmp_path / "a.attn"):
        Path(tmp_path / "checkpoint").read_bytes()
    with pytest.raises(OutputError, match="Is a directory"), BundleWriter(tmp_path / "a.attn") as writer:
        writer.folder.write_bytes(b"")
    assert not list(tmp_path.iterdir())


def test_crashed_child_of_a_live_run(valid_bundle: Path) -> None:
    """A forked child that dies does not free the parent's lock."""
    with BundleWriter(valid_bundle) as writer:
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        with BundleWriter(valid_bundle):
            assert writer.folder.exists()


@pytest.mark.parametrize("moment", ["atomic_write._lock", "atomic_write.Staging._make", "BundleWriter.folder"])
def test_a_stop_while_the_staging_folder_is_made_leaves_nothing(valid_bundle: Path, moment: str) -> None:
    """SIGTERM ends an export by SystemExit, which may come before anybody else knows of the folder."""
    owner, _, name = moment.rpartition(".")
    script = f"""
    from attn_runtime.bundle.writer import BundleWriter
    made = {owner}.{name}
    def stop(*arguments):
        (made.fget if isinstance(made, property) else made)(*arguments)
        raise SystemExit(143)
    {owner}.{name} = property(stop) if isinstance(made, property) else stop
    write("again")
    """
    process = child(script, valid_bundle)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert [p.name for p in valid_bundle.parent.iterdir()] == [valid_bundle.name]
