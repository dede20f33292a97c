"""The whole way, by the command line too: bundle in, engine and key out, and nothing lost on the way out of a failure."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle.attention_block import AttentionBlock
from attn_runtime.bundle.reader import Bundle
from attn_runtime.child_process import end_kept, python_command
from attn_runtime.cli import compile
from attn_runtime.device.gpus import find_gpus
from attn_runtime.errors import (  # fmt: skip
    AttnError,
    BackendError,
    BundleError,
    EngineError,
    FusionError,
    OutputError,
    PrecisionError,
    StageError,
    UsageError,
)
from attn_runtime.trt import library, library_choice
from attn_runtime.trt.builder.compile import compile_engine
from attn_runtime.trt.builder.network import BuildOptions
from attn_runtime.trt.builder.progress import BuildProgress
from attn_runtime.trt.engine_files import find_engine, find_engine_beside, key_path, read_plan
from attn_runtime.trt.library_choice import choose
from attn_runtime.trt.machine import this_machine
from attn_runtime.trt.profiles import ShapeTexts
from support.command_lines.json_answers import result_of
from support.graphs.make_hostile_bundles import edit, rehash
from support.tensorrt import trt_graphs as graphs

rtx = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))
BATCHES = ShapeTexts(("x:1x64",), ("x:2x64",), ("x:4x64",))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attn_runtime.cli.app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- what comes out -----------------------------------------------------------------------------------------------


@rtx
@pytest.mark.parametrize("precision", ["fp32", "ext"])
def test_a_bundle_gets_an_engine_that_this_machine_finds(precision: str, valid_bundle: Path) -> None:
    done = compile_engine(valid_bundle, precision=precision)
    assert done.path == valid_bundle / "engines" / f"model.{precision}.rtx.engine"
    key = done.key
    assert key.profiles == ({"x": ((1, 16), (2, 16), (4, 16))},)
    assert (key.flavour, key.version) == ("rtx", library.load("rtx").version) and not key.tf32
    assert key.compute_capabilities[0] == "8.0" and "9.0" not in key.compute_capabilities
    assert key.audit.counts == {"float32": 1} and key.type == "fp32"
    found = find_engine(Bundle.open(valid_bundle), "model", precision, this_machine())
    assert found.path == done.path and read_plan(found)[:4] == b"vtrt"


@rtx
def test_half_precision_with_half_borders(valid_bundle: Path) -> None:
    done = compile_engine(valid_bundle, precision="half")
    assert done.key.audit.counts == {"float16": 1} and done.key.type == "fp16"
    # The manifest tells of an attention block, which this graph has not: it is told as not fused.
    assert [block.fused for block in done.attention] == [False] and done.key.attention == done.attention


@rtx
def test_a_plain_file(tmp_path: Path) -> None:
    file = graphs.matmul(tmp_path / "m.onnx", np.float16)
    done = compile_engine(file, profiles=BATCHES)
    assert done.path == tmp_path / "m.fp16.rtx.engine" and done.key.type == "fp16"
    assert find_engine_beside(file, this_machine()).path == done.path


@rtx
def test_several_profiles(tmp_path: Path) -> None:
    file = graphs.matmul(tmp_path / "m.onnx")
    texts = ShapeTexts(("x:1x64", "x:8x64"), ("x:1x64", "x:16x64"), ("x:4x64", "x:32x64"))
    done = compile_engine(file, profiles=texts)
    assert done.key.profiles == ({"x": ((1, 64), (1, 64), (4, 64))}, {"x": ((8, 64), (16, 64), (32, 64))})
    one = compile_engine(file, profiles=BATCHES, save_engine=tmp_path / "one.engine")
    assert done.key.engine_size > one.key.engine_size  # so the library was given both


@rtx
def test_the_same_model_gives_the_same_engine_with_other_options_another(tmp_path: Path) -> None:
    file = graphs.matmul(tmp_path / "m.onnx")
    plain = compile_engine(file, profiles=BATCHES).key
    assert compile_engine(file, profiles=BATCHES).key.engine_sha256 == plain.engine_sha256
    for options in ({"capabilities": ["8.9"]}, {"tf32": True}):
        other = compile_engine(file, profiles=BATCHES, save_engine=tmp_path / "o.engine", **options).key  # type: ignore[arg-type]
        assert other.engine_sha256 != plain.engine_sha256
    assert other.tf32 and not plain.tf32


@rtx
def test_float32_products_are_not_rounded_unless_asked(tmp_path: Path) -> None:
    file = graphs.matmul(tmp_path / "m.onnx")
    for asked, written in ((False, b"tf32=0"), (True, b"tf32=1")):
        assert written in compile_engine(file, profiles=BATCHES, tf32=asked).path.read_bytes()


@rtx
def test_the_engine_is_for_the_gpus_that_were_named(tmp_path: Path) -> None:
    file = graphs.matmul(tmp_path / "m.onnx")
    done = compile_engine(file, profiles=BATCHES, capabilities=["8.6", "12.0"])
    assert done.path.name == "m.fp32.rtx-sm86-sm120.engine" and done.key.compute_capabilities == ("8.6", "12.0")
    assert b"accelerators={sm86 sm120 }" in done.path.read_bytes()
    portable = compile_engine(file, profiles=BATCHES)
    assert b"accelerators={sm80 }" in portable.path.read_bytes()  # 8.0 "and later"


@rtx
def test_fused_attention_can_be_required(tmp_path: Path) -> None:
    def blocks(dtype: str) -> list[AttentionBlock]:
        return [
            AttentionBlock("enc.attn", "scores", "softmax", "values", "MatMul", dtype, 4, 4, 64, 64, "64", "64", "none")
        ]

    shapes = ShapeTexts(*((",".join(f"{n}:{b}x4x64x64" for n in "qkv"),) for b in (1, 2, 4)))
    half, full = graphs.written_out(tmp_path / "h.onnx"), graphs.written_out(tmp_path / "f.onnx", graphs.FLOAT)
    done = compile_engine(half, profiles=shapes, blocks=blocks("float16"), require_fused=True)
    assert [block.fused for block in done.attention] == [True]
    before = files(tmp_path)
    with pytest.raises(
        FusionError, match=r"1 of 1 attention blocks are not fused: enc.attn \(it computes in float32\)"
    ) as caught:
        compile_engine(full, profiles=shapes, blocks=blocks("float32"), require_fused=True)
    assert caught.value.exit_code == 6 and "enc.attn" in caught.value.details.splitlines()[1]
    with pytest.raises(FusionError, match="nothing tells which nodes are attention"):
        compile_engine(half, profiles=shapes, require_fused=True)
    assert files(tmp_path) == before
    none = compile_engine(graphs.matmul(tmp_path / "m.onnx"), profiles=BATCHES, require_fused=True)
    assert any("--require-fused requires nothing" in note for note in none.notes)
    # Who looked and found no attention is believed: a Softmax alone may be a classifier's.
    compile_engine(half, profiles=shapes, require_fused=True, blocks=())


# --- refusals: nothing written, nothing lost ----------------------------------------------------------------------


@rtx
@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"precision": "fp16"}, UsageError, r'unknown precision "fp16".*attn-export to-trt \S+ --fp16 makes it'),
        ({"precision": "fp23"}, UsageError, r'did you mean fp32\?'),
        ({"graph": "decoder"}, BundleError, "has no graph"),
        ({"flavour": "rxt"}, UsageError, "did you mean rtx"),
        ({"workspace": 0}, UsageError, "expected 1 or more"),
        ({"workspace": 2**63}, UsageError, "fewer than 2"),
        ({"level": 6}, UsageError, "expected 0 to 5"),
        ({"capabilities": ["9.0"]}, UsageError, r"rtx \S+ builds for 7.5, 8.0, 8.6, 8.9, 12.0, 12.1 only"),
        ({"profiles": ShapeTexts((), ("x:1x16",))}, UsageError, 'does not cover golden case "opt"'),
        ({"save_engine": "/nowhere/x.engine"}, OutputError, "folder /nowhere does not exist"),
        ({"timing_cache": "/nowhere/cache"}, OutputError, "timing cache /nowhere/cache: can't be written"),
    ],
)  # fmt: skip
def test_refusals(options: dict[str, Any], error: type[AttnError], says: str, valid_bundle: Path) -> None:
    compile_engine(valid_bundle)
    before = files(valid_bundle)
    with pytest.raises(error, match=says) as caught:
        compile_engine(valid_bundle, **options)
    assert "\n" not in str(caught.value) and files(valid_bundle) == before


@rtx
def test_fp32_labelled_fp16_is_exit_code_5_and_keeps_the_old_engine(valid_bundle: Path) -> None:
    """The regression that the audit is for: the file that the manifest calls fp16 has fp32 in it."""
    compile_engine(valid_bundle, precision="half")
    shutil.copy(valid_bundle / "model.onnx", valid_bundle / "model.half.onnx")
    edit("graphs", "model", "precisions", "half", "half_io", to=False)(valid_bundle)
    rehash(valid_bundle)
    before = files(valid_bundle)
    with pytest.raises(PrecisionError, match="asked for fp16, .* runs 1 in float32"):
        compile_engine(valid_bundle, precision="half")
    assert files(valid_bundle) == before
    done = run("compile", valid_bundle, "--precision", "half")
    assert done.returncode == 5 and "head" in done.stderr and not done.stdout


@pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")
def test_no_library_that_can_build(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="tensorrt can't build here: "):
        choose("tensorrt")
    monkeypatch.setattr(library, "why_unavailable", lambda name: f"{name} is not installed; pip install it")
    with pytest.raises(BackendError, match="no TensorRT can build here: tensorrt: .*pip install.*; rtx: .*pip install"):
        choose("auto")


@pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")
def test_the_full_library_needs_a_gpu_to_build_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "why_unavailable", lambda name: None)
    with pytest.raises(BackendError, match="it builds on a GPU, and no NVIDIA driver"):
        choose("tensorrt")
    with pytest.raises(UsageError, match="only rtx builds for others"):
        choose("tensorrt", ["8.9"])


@rtx
@pytest.mark.parametrize(
    ("here", "asked", "named", "noted"),
    [
        ("8.9", [], (), False),
        ("7.5", [], ("7.5",), False),  # the portable set would leave it out
        ("7.5", ["8.9"], ("8.9",), False),
        ("9.0", [], (), True),
        (None, [], (), False),
    ],
)
def test_the_gpu_that_is_here_is_built_for(
    here: str | None, asked: list[str], named: tuple[str, ...], noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_choice, "compute_capability", lambda: here)
    notes: list[str] = []
    assert library_choice.gpus_to_build_for(library.load("rtx"), asked, notes) == named
    assert [("the GPU here has 9.0" in note) for note in notes] == [True] * noted


# --- the child process --------------------------------------------------------------------------------------------


@pytest.fixture
def slow(tmp_path: Path) -> tuple[Path, ShapeTexts]:
    """A build of some seconds."""
    file = graphs.slow(tmp_path / "slow.onnx")
    return file, ShapeTexts(("x:1x8x16x16",), ("x:2x8x32x32",), ("x:4x8x64x64",))


def children() -> Iterator[int]:
    """The workers of this test's processes that are still there."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"attn_runtime.child_process" in place.read_bytes():
                yield int(place.parent.name)
        except OSError:
            continue


def worker_of(parent: int, patience: float = 20.0) -> int:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        for child in children():
            status = Path(f"/proc/{child}/status").read_text()
            if re.search(rf"^PPid:\s+{parent}$", status, re.MULTILINE):
                return child
        time.sleep(0.02)
    raise AssertionError("no worker")


def gone(process: int, patience: float = 15.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        state = Path(f"/proc/{process}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


linux = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


@rtx
def test_progress_is_told_while_it_builds(slow: tuple[Path, ShapeTexts]) -> None:
    told: list[BuildProgress] = []
    compile_engine(graphs.slow(slow[0], 50), profiles=slow[1], on_progress=told.append)
    assert len(told) > 3 and [p.fraction for p in told] == sorted(p.fraction for p in told)
    assert 0.5 < told[-1].fraction <= 1 and told[-1].phase and told[-1].elapsed > 1


@rtx
@linux
def test_saying_no_to_progress_cancels(slow: tuple[Path, ShapeTexts]) -> None:
    end_kept()  # so that the only child here is the one that builds
    before = files(slow[0].parent)
    workers: list[int] = []
    said: list[float] = []

    def stop(progress: BuildProgress) -> bool:
        workers.append(worker_of(os.getpid()))
        said.append(time.monotonic())
        return False

    with pytest.raises(EngineError, match="the build was cancelled"):
        compile_engine(slow[0], profiles=slow[1], on_progress=stop)
    assert time.monotonic() - said[0] < 5 and gone(workers[0]) and files(slow[0].parent) == before


@rtx
@linux
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 129, marks=pytest.mark.full)],
)
def test_an_interrupt_ends_the_child_and_leaves_nothing(
    number: signal.Signals, code: int, slow: tuple[Path, ShapeTexts]
) -> None:
    file, shapes = slow
    before = files(file.parent)
    command = [sys.executable, "-m", "attn_runtime.cli.app", "compile", file, "--minShapes", shapes.min[0]]
    command += ["--optShapes", shapes.opt[0], "--maxShapes", shapes.max[0]]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    worker = worker_of(process.pid)
    time.sleep(1.0)  # into the build
    os.killpg(process.pid, number)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err and not out
    assert gone(worker) and files(file.parent) == before and len(list(file.parent.iterdir())) == 1


@rtx
@linux
def test_a_parent_that_is_killed_takes_the_child_with_it(slow: tuple[Path, ShapeTexts]) -> None:
    file, shapes = slow
    command = [sys.executable, "-m", "attn_runtime.cli.app", "compile", file, "--minShapes", shapes.min[0]]
    command += ["--optShapes", shapes.opt[0], "--maxShapes", shapes.max[0]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    worker = worker_of(process.pid)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert gone(worker, 4.0)
    left = [p.name for p in file.parent.iterdir() if p != file]
    assert len(left) == 1 and ".tmp-" in left[0]  # nobody was there to remove it: the next build does
    compile_engine(graphs.matmul(file), profiles=BATCHES)
    assert sorted(p.name for p in file.parent.iterdir()) == [
        "slow.fp32.rtx.engine",
        "slow.fp32.rtx.engine.json",
        "slow.onnx",
    ]


@rtx
@linux
def test_a_child_that_dies_is_an_error_with_its_last_words(slow: tuple[Path, ShapeTexts]) -> None:
    before = files(slow[0].parent)

    def kill(progress: BuildProgress) -> None:
        os.kill(worker_of(os.getpid()), signal.SIGSEGV)

    with pytest.raises(StageError, match=r"the build of slow.onnx died \(SIGSEGV\); nothing was written") as caught:
        compile_engine(slow[0], profiles=slow[1], on_progress=kill)
    assert caught.value.exit_code == 12 and files(slow[0].parent) == before


@rtx
@linux
def test_a_disk_without_place_keeps_the_old_engine(valid_bundle: Path) -> None:
    import resource

    compile_engine(valid_bundle)
    before = files(valid_bundle)
    done = subprocess.run(
        [sys.executable, "-m", "attn_runtime.cli.app", "compile", valid_bundle],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 11 and "can't be written: File too large" in done.stderr, done.stderr
    assert files(valid_bundle) == before


@rtx
def test_a_child_that_nobody_waits_for_cancels_its_build(tmp_path: Path) -> None:
    """It ends by itself, with no plan: the library's progress monitor has passed the word on."""
    file = graphs.matmul(tmp_path / "m.onnx")
    options = {**vars(BuildOptions()), "timing_cache": None}
    arguments = {"flavour": "rtx", "file": str(file), "profiles": [{"x": [[1, 64]] * 3}], "options": options,
                 "plan": str(tmp_path / "plan"), "new_timing_cache": str(tmp_path / "cache")}  # fmt: skip
    request = json.dumps(
        {"task": "attn_runtime.trt.builder.build_process:build_here", "arguments": arguments, "folder": None}
    )
    done = subprocess.run(
        python_command("attn_runtime.child_process:serve"), input=request + "\n", capture_output=True, text=True
    )
    assert json.loads(done.stdout.splitlines()[-1])["ok"]["plan"] is None and not (tmp_path / "plan").exists()


@rtx
def test_modules_in_the_current_folder_are_not_taken(valid_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("json", "attn_runtime", "tensorrt_rtx"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the current folder')")
    script = "import sys; sys.path.remove(''); from attn_runtime.trt.builder.compile import compile_engine; "
    script += f"compile_engine({str(valid_bundle)!r})"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- the command line ---------------------------------------------------------------------------------------------


@rtx
def test_what_a_person_is_told(valid_bundle: Path) -> None:
    done = run("compile", valid_bundle)
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert re.search(
        r"^engine +\S+/engines/model.fp32.rtx.engine: [\d.]+ KiB, scratch \S+ \S+, [\d.]+ s$", text, re.MULTILINE
    )
    assert re.search(r"^audit +\d+ layers: 1 matmul/conv in float32$", text, re.MULTILINE)
    assert re.search(r"^shapes +x \[1, 16\]..\[4, 16\]$", text, re.MULTILINE)


@rtx
def test_json_and_quiet(valid_bundle: Path) -> None:
    done = run("compile", valid_bundle, "--json")
    told = result_of(done.stdout)
    assert done.returncode == 0 and not done.stderr
    assert told["key"] == json.loads(key_path(Path(told["engine"])).read_text())
    quiet = run("compile", valid_bundle, "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@rtx
def test_a_timing_cache_is_not_pretended_to_be_used(valid_bundle: Path, tmp_path: Path) -> None:
    done = run("compile", valid_bundle, "--timing-cache", tmp_path / "cache")
    assert (
        done.returncode == 0 and "TensorRT-RTX has no timing cache" in done.stdout and not (tmp_path / "cache").exists()
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("512KiB", 2**19), ("2GiB", 2**31), ("1.5 gib", 3 * 2**29), ("64mib", 2**26)],
)
def test_sizes(text: str, size: int) -> None:
    assert compile.size_in_bytes(None, None, text) == size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["2GB", "0", "-1", "GiB", "1TiB", "0.0001KiB", "1e9", "9223372036854775808", "9" * 400]
)
def test_sizes_that_are_none(text: str) -> None:
    done = run("compile", "x", "--workspace", text)
    assert done.returncode == 2 and "expected bytes or a size as in 512MiB or 2GiB" in done.stderr


@rtx
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere.attn"], 8, "does not exist"),
        (["{bundle}", "--backend", "cuda"], 2, "available: auto, rtx, tensorrt"),
        (["{bundle}", "--workspace", "12XB"], 2, "expected bytes or a size"),
        (["{bundle}", "--builder-level", "9"], 2, "0<=x<=5"),
        (["{bundle}", "--saveEngine", "x.plan"], 11, "NAME.engine"),
        (["{bundle}", "--minShapes", "x:1x16"], 2, "give --optShapes alone"),
        (["{bundle}/manifest.json"], 8, "a bundle is compiled by its folder"),
    ],
)  # fmt: skip
def test_exit_codes(arguments: list[str], code: int, says: str, valid_bundle: Path) -> None:
    done = run("compile", *(a.format(bundle=valid_bundle) for a in arguments))
    assert done.returncode == code, done.stderr
    assert says in done.stderr and len(done.stderr.splitlines()) == 1 and not (valid_bundle / "engines").exists()
