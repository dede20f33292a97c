"""setup.sh whole, in a board that is made of files and stand-ins (tests/support/machines/fake_board.py): what it builds with
which TensorRT, what it says when something is wrong, and that a killed run leaves nothing half done. It runs
attn-runtime's wheel."""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attn_export.deploy.jetson.folder_maker import JetsonOptions, deploy_jetson
from attn_runtime.bundle.reader import Bundle
from attn_runtime.jetson.bootstrap import UNPACKED
from support.command_lines.json_answers import result_of
from support.graphs.make_hostile_bundles import make_valid_bundle, read_manifest, rehash, write_manifest
from support.machines.fake_board import FakeBoard, make_board
from support.models import tiny_generators as tiny
from support.tensorrt.quantised_graphs import of_weights

SHORT = ("--bench-seconds", "0")


@pytest.fixture(scope="module")
def gemm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y[batch, 10] = x[batch, 16] @ w in fp32 and fp16."""
    bundle = make_valid_bundle(tmp_path_factory.mktemp("gemm") / "gemm.attn")
    manifest = read_manifest(bundle)
    precisions = manifest["graphs"]["model"]["precisions"]
    half = {key: value for key, value in precisions.pop("half").items() if key not in ("target", "kept", "attention")}
    precisions["fp16"] = {**half, "file": "model.half.onnx", "kept": []}
    write_manifest(bundle, manifest)
    Bundle.open(bundle)
    return bundle


@pytest.fixture(scope="module")
def made(gemm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for an Orin NX with JetPack 6.2, never set up."""
    folder = tmp_path_factory.mktemp("made") / "gemm-nx"
    deploy_jetson(gemm, folder, JetsonOptions("orin-nx", "6.2", ("fp16", "fp32"), cpp="no"))
    return folder


@pytest.fixture(scope="module")
def unpacked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """python/ as a first run leaves it, and compiled: setup.sh writes no bytecode, so each of its processes would compile all
    of attn-runtime again, for longer than it works."""
    base = tmp_path_factory.mktemp("unpacked")
    folder = shutil.copytree(made, base / "gemm-nx")
    assert make_board(base).run(folder, "--help").returncode == 0
    assert compileall.compile_dir(folder / UNPACKED, quiet=1)
    return folder / UNPACKED


@pytest.fixture
def fresh(made: Path, tmp_path: Path) -> Path:
    """The folder as it comes to a board."""
    return shutil.copytree(made, tmp_path / "gemm-nx")


@pytest.fixture
def folder(fresh: Path, unpacked: Path) -> Path:
    """The folder whose wheel was unpacked by a run before."""
    shutil.copytree(unpacked, fresh / UNPACKED)
    return fresh


@pytest.fixture
def board(tmp_path: Path) -> FakeBoard:
    return make_board(tmp_path)


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


class Page(HTMLParser):
    """What a page loads or runs, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attributes if name in ("src", "href", "action") or name.startswith("on")
        ]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data + " "


# --- a board on which everything is right -----------------------------------------------------------------------------


def test_a_board_sets_itself_up_and_proves_it(fresh: Path, board: FakeBoard) -> None:
    folder = fresh
    done = board.run(folder, *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "passed: 6 of 6 golden cases are PyTorch's; report.json, report.html"

    report = report_of(folder)
    assert report["passed"] and report["jetpack"] == "6.2" and "Orin NX" in report["board"]
    assert [(check["name"], check["state"]) for check in report["checks"]] == [
        ("files", "ok"), ("board", "ok"), ("JetPack", "ok"), ("python", "ok"), ("GPU", "ok"), ("TensorRT", "ok"),
        ("memory", "ok"), ("disk", "ok"), ("power mode", "note"),
    ]  # fmt: skip
    assert [(b["precision"], b["state"], b["typing"], b["counts"]) for b in report["builds"]] == [
        ("fp16", "built", "strong", {"float16": 1}),
        ("fp32", "built", "strong", {"float32": 1}),
    ]
    assert [one["report"]["backend"] for one in report["verified"]] == ["trt", "trt"]
    assert [size["batch"] for size in report["benches"][0]["report"]["results"]] == [1, 2, 4]
    assert sorted(path.name for path in (folder / "gemm.attn/engines").iterdir()) == [
        "model.fp16.tensorrt-sm87.engine", "model.fp16.tensorrt-sm87.engine.json",
        "model.fp32.tensorrt-sm87.engine", "model.fp32.tensorrt-sm87.engine.json",
    ]  # fmt: skip

    # What TensorRT was asked for: typed networks, no TF32, a share of the free memory, one after the other.
    builds = board.builds()
    assert [build["flags"] for build in builds] == [["STRONGLY_TYPED"]] * 2
    assert [build["on"] for build in builds] == [[], []]
    assert all(build["workspace"] == 1536 * 2**20 for build in builds)
    assert len({build["pid"] for build in builds}) == 2

    # A second run builds nothing, and says so.
    again = board.run(folder, *SHORT)
    assert again.returncode == 0 and len(board.builds()) == 2
    assert [b["state"] for b in report_of(folder)["builds"]] == ["kept", "kept"]
    rebuilt = board.run(folder, "--rebuild", "--precision", "fp16", "--workspace", "80MiB", *SHORT)
    assert rebuilt.returncode == 0 and board.builds()[2]["workspace"] == 80 * 2**20 and len(board.builds()) == 3


def test_the_page_is_whole_and_loads_nothing(folder: Path, board: FakeBoard) -> None:
    manifest = read_manifest(folder / "gemm.attn")
    manifest["name"] = "<script>alert(1)</script>"
    write_manifest(folder / "gemm.attn", manifest)
    assert board.run(folder, "--precision", "fp16", *SHORT).returncode == 0
    page = Page((folder / "report.html").read_text())
    assert not page.open[1:] and page.links == [] and not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "<script>alert(1)</script> on Jetson Orin NX" in page.text
    assert "MAXN_SUPER" in page.text and "strongly typed; 1 in float16" in page.text


def test_without_torch_onnx_or_network(fresh: Path, board: FakeBoard) -> None:
    """The board's Python can't import them, and no socket is opened that leads out."""
    site = board.root / "site"
    (site / "sitecustomize.py").write_text(
        "import sys, socket\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'onnx', 'pip', 'setuptools'): raise ImportError('refused ' + name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "def refused(*a, **k): raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = socket.create_connection = refused\n"
    )
    done = board.run(fresh, "--precision", "fp16", *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_several_graphs_are_built_one_after_the_other(tmp_path: Path, board: FakeBoard) -> None:
    """And a bundle that holds nothing of PyTorch's can't be proven, which is no pass."""
    bundle = tiny.write_bundle(tmp_path / "translator.attn", tiny.Tiny(layers=1, max_length=6, batch=2, seed=2))
    deploy_jetson(bundle, tmp_path / "t", JetsonOptions("orin-nx", precisions=("fp32",), cpp="no"))
    done = board.run(tmp_path / "t", *SHORT)
    assert done.returncode == 8 and "no golden cases to verify against" in done.stderr
    report = report_of(tmp_path / "t")
    assert [(b["graph"], b["state"]) for b in report["builds"]] == [
        (name, "built") for name in Bundle.open(bundle).graphs
    ]
    assert [build["file"] for build in board.builds()] == [f"{b['graph']}.onnx" for b in report["builds"]]
    assert len(report["benches"]) == 3 and not report["passed"]


# --- other versions of TensorRT ---------------------------------------------------------------------------------------


def test_tensorrt_11_on_the_same_board(folder: Path, board: FakeBoard) -> None:
    """The bit is another one there, and an engine of 10.3 is none of 11."""
    fp16 = ("--precision", "fp16", *SHORT)
    assert board.run(folder, *fp16).returncode == 0
    done = board.run(folder, *fp16, FAKE_TRT_VERSION="11.4.1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(b["version"], b["flags"], b["on"]) for b in board.builds()] == [
        ("10.3.0", ["STRONGLY_TYPED"], []), ("11.4.1", ["STRONGLY_TYPED"], []),
    ]  # fmt: skip
    assert report_of(folder)["builds"][0]["tensorrt"] == "11.4.1"


def test_tensorrt_8_builds_fp32_and_fp16_only_when_asked(folder: Path, board: FakeBoard) -> None:
    old = {"FAKE_TRT_VERSION": "8.6.2"}
    plain = board.run(folder, *SHORT, **old)
    assert plain.returncode == 14
    report = report_of(folder)
    assert [(b["precision"], b["state"]) for b in report["builds"]] == [("fp16", "failed"), ("fp32", "built")]
    assert "no strongly typed networks" in report["error"] and "--weak-fp16" in report["error"]
    assert [one["state"] for one in report["verified"]] == ["skipped", "passed"]  # fp32 is proven all the same
    assert [(b["flags"], b["on"]) for b in board.builds()] == [(["EXPLICIT_BATCH"], [])]

    asked = board.run(folder, "--weak-fp16", *SHORT, **old)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "WEAKLY TYPED" in asked.stdout
    assert [(b["flags"], b["on"]) for b in board.builds()[1:]] == [
        (["EXPLICIT_BATCH"], ["FP16", "OBEY_PRECISION_CONSTRAINTS"])
    ]
    report = report_of(folder)
    assert [(b["typing"], b["counts"]) for b in report["builds"]] == [
        ("weak", {"float16": 1}),
        ("strong", {"float32": 1}),
    ]
    assert "weakly typed: TensorRT chose" in (folder / "report.html").read_text()


def test_tensorrt_8_refuses_int64(tmp_path: Path, board: FakeBoard) -> None:
    bundle = tmp_path / "writer.attn"
    tiny.write_bundle(bundle, tiny.Tiny(layers=1, max_length=6, batch=2, encoder=False, seed=2))
    deploy_jetson(bundle, tmp_path / "w", JetsonOptions("orin-nx", "6.0", ("fp32",), cpp="no"))
    done = board.run(tmp_path / "w", *SHORT, FAKE_TRT_VERSION="8.6.2")
    assert (
        done.returncode == 14 and "is int64, which TensorRT 8.6.2 does not take" in report_of(tmp_path / "w")["error"]
    )
    assert board.builds() == []


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("refuse-typed", marks=pytest.mark.full),
        pytest.param("crash-typed", marks=pytest.mark.full),
        "fp32-layers",
    ],
)
def test_a_typed_graph_that_can_not_be_built(folder: Path, board: FakeBoard, how: str) -> None:
    """Without --weak-fp16 it is an error that names the option; with it, what was done is told. Layers that stay in fp32 are
    no fp16 in either way."""
    fp16 = ("--precision", "fp16", *SHORT)
    done = board.run(folder, *fp16, FAKE_TRT=how)
    code, told = {
        "refuse-typed": (14, "no implementation obeys the types"), "crash-typed": (12, "SIGABRT"), "fp32-layers": (5, "float32"),
    }[how]  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and "./setup.sh --weak-fp16" in done.stderr
    report = report_of(folder)
    assert not report["passed"] and told in report["builds"][0]["error"] and report["exit_code"] == code
    assert not list((folder / "gemm.attn").glob("engines/*"))

    done = board.run(folder, *fp16, "--weak-fp16", FAKE_TRT=how)
    (built,) = report_of(folder)["builds"]
    assert [attempt["typing"] for attempt in built["tries"]] == ["strong", "weak"]
    if how == "fp32-layers":
        assert done.returncode == 5 and built["state"] == "failed"
    else:
        assert done.returncode == 0 and built["typing"] == "weak"
        assert "trying weakly typed fp16, as asked" in done.stdout and told in built["tries"][0]["error"]
        key = json.loads((folder / "gemm.attn/engines/model.fp16.tensorrt-sm87.engine.json").read_text())
        assert key["weak"] is True
    if how == "refuse-typed":
        # An engine that was weakly typed is not what a typed setup asks for.
        assert board.run(folder, *fp16).returncode == 0
        assert report_of(folder)["builds"][0]["state"] == "built" and board.builds()[-1]["flags"] == ["STRONGLY_TYPED"]


def test_what_is_quantised_is_never_weakly_typed(gemm: Path, board: FakeBoard, tmp_path: Path) -> None:
    """Nor is that advised: TensorRT refuses it for such a graph."""
    bundle = shutil.copytree(gemm, tmp_path / "gemm.attn")
    of_weights(bundle / "model.half.onnx", sizes=(16, 10))
    rehash(bundle)
    deploy_jetson(bundle, tmp_path / "q", JetsonOptions("orin-nx", "6.2", ("fp16",), cpp="no"))
    done = board.run(tmp_path / "q", "--weak-fp16", *SHORT, FAKE_TRT="fp32-layers")
    assert done.returncode == 5 and "--weak-fp16" not in done.stderr
    (built,) = report_of(tmp_path / "q")["builds"]
    assert [attempt["typing"] for attempt in built["tries"]] == ["strong"]


# --- what is wrong, and told ------------------------------------------------------------------------------------------


def _nano(board: FakeBoard, folder: Path) -> None:
    (board.root / "proc/device-tree/model").write_text("NVIDIA Jetson Orin Nano Developer Kit Super\0")


def _no_jetson(board: FakeBoard, folder: Path) -> None:
    (board.root / "proc/device-tree/model").write_text("Raspberry Pi 5\0")
    (board.root / "etc/nv_tegra_release").unlink()
    (board.root / "var/lib/dpkg/status").write_text("")


def _jetpack_5(board: FakeBoard, folder: Path) -> None:
    (board.root / "var/lib/dpkg/status").write_text(
        "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 5.1.2-b1\n"
    )


def _no_driver(board: FakeBoard, folder: Path) -> None:
    (board.root / "driver/libcuda.so.1").unlink()


def _no_tensorrt(board: FakeBoard, folder: Path) -> None:
    board.environment["PYTHONPATH"] = str(board.root / "site")


def _another_file(board: FakeBoard, folder: Path) -> None:
    (folder / "README.txt").write_text("something else")


@pytest.mark.parametrize(
    ("spoil", "check", "told"),
    [
        (_nano, "board", "deploy again with --board orin-nano"),
        (_no_jetson, "board", "this is no Jetson"),
        (_jetpack_5, "JetPack", "5.1.2 has a TensorRT and a Python that are too old"),
        (_no_driver, "GPU", "libcuda.so.1 is not found"),
        (_no_tensorrt, "TensorRT", "tensorrt is not installed"),
        (_another_file, "files", "README.txt was changed"),
    ],
)
def test_a_check_that_fails(
    folder: Path, board: FakeBoard, spoil: Callable[[FakeBoard, Path], None], check: str, told: str
) -> None:
    spoil(board, folder)
    done = board.run(folder, *SHORT)
    assert done.returncode == 10 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    report = report_of(folder)
    failed = {c["name"]: c["told"] for c in report["checks"] if c["state"] == "fail"}
    assert told in failed[check] and not report["passed"] and not report["builds"] and not report["verified"]
    assert "Failed." in Page((folder / "report.html").read_text()).text and board.builds() == []


def test_another_board_all_the_same(folder: Path, board: FakeBoard) -> None:
    _nano(board, folder)
    assert board.run(folder, "--any-board", "--precision", "fp32", *SHORT).returncode == 0
    assert "gone on with because of --any-board" in str(report_of(folder)["checks"])


def test_memory_is_looked_at_before_each_build(folder: Path, board: FakeBoard) -> None:
    board.set_memory(940)
    done = board.run(folder, *SHORT)
    assert done.returncode == 14 and board.builds() == []
    assert re.search(
        r"940.0 MiB of memory are free, and the build takes about 96\d.\d MiB; close", report_of(folder)["error"]
    )
    board.set_memory(1100)  # room for 200 MiB, and half of it is left alone
    assert board.run(folder, "--precision", "fp32", *SHORT).returncode == 0
    (build,) = board.builds()
    assert 95 * 2**20 < build["workspace"] < 100 * 2**20


def test_the_bundle_is_checked_too(folder: Path, board: FakeBoard) -> None:
    with (folder / "gemm.attn/model.onnx").open("ab") as file:
        file.write(b"\0")
    done = board.run(folder)
    assert done.returncode == 8 and "model.onnx" in done.stderr and not (folder / "report.json").exists()


def test_answers_that_are_not_pytorchs(folder: Path, board: FakeBoard) -> None:
    """The reference is spoilt instead of the engine: which of the two is off makes no difference to the verdict."""
    manifest = read_manifest(folder / "gemm.attn")
    for entry in manifest["graphs"]["model"]["precisions"].values():
        entry["tolerance"] = {"atol": 1e-12, "rtol": 0}
    write_manifest(folder / "gemm.attn", manifest)
    done = board.run(folder, "--precision", "fp16", *SHORT)
    assert done.returncode == 4 and "do not match" in done.stderr
    report = report_of(folder)
    assert [one["state"] for one in report["verified"]] == ["failed"] and report["exit_code"] == 4
    assert "over" in (folder / "report.html").read_text()


def test_what_the_python_of_the_board_lacks(folder: Path, board: FakeBoard) -> None:
    (board.root / "site/safetensors").unlink()
    done = board.run(folder)
    assert done.returncode == 11 and "has no safetensors" in done.stderr and "--wheels" in done.stderr
    missing = board.run(folder, PYTHON="python3.99")
    assert missing.returncode == 10 and "python3.99 is not on this board" in missing.stderr


def test_a_wheel_that_was_changed(fresh: Path, board: FakeBoard) -> None:
    """The first program of the folder that runs is in it, so it is told before anything of it was unpacked."""
    folder = fresh
    (wheel,) = (folder / "wheels").iterdir()
    data = wheel.read_bytes()
    wheel.write_bytes(data + b"\0")
    done = board.run(folder)
    assert done.returncode == 11 and "was changed or cut short" in done.stderr and not (folder / "python").exists()
    for left in (b"", data[:1000]):
        wheel.write_bytes(left)
        assert board.run(folder).returncode != 0


@pytest.mark.parametrize(
    "wrong", ["{}", "[]", "not JSON", "[" * 200_000, '{"schema_version": 2, "files": {}}', '{"files": {"wheels/": 1}}']
)
def test_an_order_that_is_damaged(folder: Path, board: FakeBoard, wrong: str) -> None:
    (folder / "deploy.json").write_text(wrong)
    (folder / "report.json").write_text("of a setup before")
    done = board.run(folder)
    assert done.returncode in (8, 11) and done.stderr.startswith("error: ") and "deploy.json" in done.stderr
    assert (folder / "report.json").read_text() == "of a setup before"


def test_options_that_make_no_sense(folder: Path, board: FakeBoard) -> None:
    for options, told in [
        (["--precision", "fp61"], 'unknown precision "fp61"; did you mean fp16?'),
        (["--device", "gpu"], 'unknown device "gpu"'),
        (["--workspace", "much"], "expected bytes or a size"),
        (["--weak"], "No such option"),
    ]:
        done = board.run(folder, *options)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    assert not (folder / "report.json").exists()
    assert "report.json" in board.run(folder, "--help").stdout


# --- runs that are killed, and two at once ----------------------------------------------------------------------------


def _wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def _files(folder: Path) -> set[str]:
    """All but what a next run takes up: the unpacked wheels, the lock, the timings."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith(("python/", ".setup.lock", ".timings"))}


@pytest.mark.parametrize("kill", [pytest.param(signal.SIGTERM, marks=pytest.mark.full), signal.SIGKILL])
def test_a_killed_run_leaves_no_half_report(folder: Path, board: FakeBoard, kill: signal.Signals) -> None:
    before = _files(folder)
    run = board.start(folder, *SHORT, FAKE_TRT="slow")
    _wait_for(lambda: bool(board.builds()))
    builder = board.builds()[0]["pid"]
    # A second one does not start beside it.
    second = board.run(folder, *SHORT)
    assert second.returncode == 11 and "another setup" in second.stderr
    run.send_signal(kill)
    run.communicate(timeout=30)
    assert run.returncode != 0
    if kill is not signal.SIGKILL:
        _wait_for(lambda: not Path(f"/proc/{builder}").exists(), 10)
        assert _files(folder) == before
    else:
        # Nobody could tell its build to stop: as long as that goes on, nothing else is begun.
        assert not (folder / "report.json").exists() and not (folder / "report.html").exists()
        assert "is under way" in board.run(folder, *SHORT).stderr
        os.kill(builder, signal.SIGKILL)
        _wait_for(lambda: board.run(folder, "--precision", "fp32", *SHORT).returncode != 11, 20)
    done = board.run(folder, *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _files(folder) - before == {
        "report.json", "report.html",
        *(f"gemm.attn/engines/model.{p}.tensorrt-sm87.engine{end}" for p in ("fp16", "fp32") for end in ("", ".json")),
    }  # fmt: skip


def test_a_report_is_replaced_whole_or_not_at_all(folder: Path, board: FakeBoard) -> None:
    assert board.run(folder, "--precision", "fp32", *SHORT).returncode == 0
    before = {name: (folder / name).read_bytes() for name in ("report.json", "report.html")}
    run = board.start(folder, "--rebuild", *SHORT, FAKE_TRT="slow")
    _wait_for(lambda: len(board.builds()) == 2)
    run.terminate()
    run.communicate(timeout=30)
    assert {name: (folder / name).read_bytes() for name in before} == before


# --- its real parts: ONNX Runtime on the CPU --------------------------------------------------------------------------


def test_on_the_cpu_with_nothing_stood_in_for(folder: Path, board: FakeBoard) -> None:
    """No driver, no TensorRT: attn-runtime, ONNX Runtime, and the files alone. Nothing is built."""
    _no_driver(board, folder)
    _no_tensorrt(board, folder)
    done = board.run(folder, "--device", "cpu", "--precision", "fp32", "--json", *SHORT)
    assert done.returncode == 0, done.stderr
    report = result_of(done.stdout)
    assert report == report_of(folder) and report["passed"] and report["builds"] == []
    assert report["verified"][0]["report"]["backend"] == "ort"


def test_modules_of_the_current_folder_are_left_alone(fresh: Path, board: FakeBoard) -> None:
    for name in ("zipfile", "json", "attn_runtime"):
        (board.root / f"{name}.py").write_text("raise SystemExit('of the current folder')\n")
    done = board.run(fresh, "--help")  # in board.root
    assert done.returncode == 0 and "report.json" in done.stdout, done.stderr


def test_a_path_that_python_would_cut_in_two(folder: Path, board: FakeBoard) -> None:
    (folder.parent / "a:b").mkdir()
    done = board.run(folder.rename(folder.parent / "a:b/nx"), "--help")
    assert done.returncode == 11 and "rename the folder" in done.stderr and done.stderr.startswith("error: ")


def test_the_script_is_plain_sh(made: Path) -> None:
    shell = next((s for s in ("dash", "busybox") if shutil.which(s)), "sh")
    command = [shell, *(["sh"] if shell == "busybox" else []), "-n", made / "setup.sh"]
    assert subprocess.run(command).returncode == 0
