"""What attn-export deploy jetson writes, and what it refuses with the reason; written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from attn_export.deploy import wheel_files
from attn_export.deploy.folder import DeployFolder
from attn_export.deploy.jetson import cpp_library
from attn_export.deploy.jetson.folder_maker import JetsonOptions, deploy_jetson
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError, EngineError, OutputError, StageError, UsageError
from attn_runtime.jetson.boards import BOARDS, REFUSALS, RELEASES, SOURCES, board_of, find_release, release_for
from attn_runtime.jetson.deploy_manifest import Order, read_order
from attn_runtime.jetson.memory import available_memory, plan_build
from onnx import TensorProto
from support.command_lines.json_answers import result_of
from support.graphs.make_hostile_bundles import make_valid_bundle, read_manifest, rehash, write_manifest
from support.tensorrt.quantised_graphs import of_weights

NX = JetsonOptions("orin-nx", cpp="no")


@pytest.fixture(scope="module")
def gemm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_valid_bundle(tmp_path_factory.mktemp("gemm") / "gemm.attn")


@pytest.fixture(scope="module")
def folder(gemm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("made") / "nx"
    deploy_jetson(gemm, target, NX)
    return target


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "attn_export.cli.app", "deploy", "jetson", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


# --- the folder -------------------------------------------------------------------------------------------------------


def test_everything_is_in_it_and_nothing_else(folder: Path, gemm: Path) -> None:
    order = read_order(folder)
    assert (order.board, order.jetpack, order.precisions, order.bundle) == ("orin-nx", "6.2", ("fp32",), "gemm.attn")
    assert any("only fp32 is built" in note for note in order.notes)
    assert Bundle.open(folder / order.bundle).manifest == Bundle.open(gemm).manifest
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    (wheel,) = (name for name in here if name.startswith("wheels/"))
    outside = {name for name in here if not name.startswith("gemm.attn/")}
    assert outside == {"setup.sh", "README.txt", "deploy.json", wheel} == set(order.files) | {"deploy.json"}
    assert os.access(folder / "setup.sh", os.X_OK)


def test_the_wheel_is_all_of_attn_runtime_and_no_more(folder: Path) -> None:
    (wheel,) = (folder / "wheels").iterdir()
    assert re.fullmatch(r"attn_runtime-[\d.]+-py3-none-any\.whl", wheel.name)
    root = Path(__file__).parents[4] / "runtime"
    with zipfile.ZipFile(wheel) as packed:
        inside = {
            name for name in packed.namelist() if not name.startswith(wheel.name.rsplit("-", 3)[0] + ".dist-info/")
        }
        sources = {
            p.relative_to(root).as_posix()
            for p in (root / "attn_runtime").rglob("*")
            if p.is_file() and p.suffix not in (".pyc", ".so")
        }
        assert inside == sources


def test_the_wheel_of_an_installed_attn_runtime_is_the_one_it_came_from(folder: Path, tmp_path: Path) -> None:
    """As where attn-export was installed by pip, and no sources lie about."""
    (wheel,) = (folder / "wheels").iterdir()
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", tmp_path / "site", wheel], check=True)
    (installed,) = metadata.distributions(name="attn-runtime", path=[str(tmp_path / "site")])
    (tmp_path / "made").mkdir()
    wheel_files.repack(installed, tmp_path / "made")
    (again,) = (tmp_path / "made").iterdir()
    assert again.name == wheel.name

    def contents(path: Path) -> dict[str, object]:
        with zipfile.ZipFile(path) as packed:
            found: dict[str, object] = {name: packed.read(name) for name in packed.namelist()}
        (record,) = (name for name in found if name.endswith("RECORD"))
        return found | {record: sorted(bytes(found[record]).splitlines())}  # type: ignore[arg-type]

    assert contents(again) == contents(wheel)


def test_an_archive_is_the_same_folder_and_the_same_bytes_each_time(gemm: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("one.tar.gz", "two/one.tar.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with DeployFolder(tmp_path / name, "deploy.json") as making:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                making.add_file(path.relative_to(folder).as_posix(), path)
            making.add_text("setup.sh", "#!/bin/sh\n", executable=True)
            making.commit()
    first, second = (tmp_path / name for name in ("one.tar.gz", "two/one.tar.gz"))
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        assert {entry.name.split("/")[0] for entry in tar} == {"one"}
        assert tar.getmember("one/setup.sh").mode == 0o755 and tar.getmember("one/README.txt").mode == 0o644
        assert tar.getmember("one/gemm.attn/manifest.json").size == (folder / "gemm.attn/manifest.json").stat().st_size


def test_two_deploys_of_a_bundle_are_the_same_bytes(gemm: Path, folder: Path, tmp_path: Path) -> None:
    """The wheel is a zip file, which holds the times of its building."""
    time.sleep(2)  # as fine as a zip file's times are
    deploy_jetson(gemm, tmp_path / "nx", NX)
    assert (tmp_path / "nx/deploy.json").read_bytes() == (folder / "deploy.json").read_bytes()


def test_a_bundles_engines_stay_at_home(gemm: Path, tmp_path: Path) -> None:
    (gemm / "engines").mkdir(exist_ok=True)
    (gemm / "engines/model.fp32.rtx.engine").write_bytes(b"of another machine")
    deploy_jetson(gemm, tmp_path / "nx", NX)
    assert not (tmp_path / "nx/gemm.attn/engines").exists()


def test_the_command(gemm: Path, tmp_path: Path) -> None:
    done = command(gemm, "--board", "agx-orin", "-o", tmp_path / "agx.tar.gz", "--cpp", "no", "--json")
    assert done.returncode == 0, done.stderr
    told = result_of(done.stdout)
    assert told["board"] == "agx-orin" and told["bytes"] == (tmp_path / "agx.tar.gz").stat().st_size
    refused = command(gemm, "--board", "agx-orin", "-o", tmp_path / "x", "--precision", "fp8")
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1 and "has no FP8" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["agx.tar.gz"]


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"board": "orin"}, 'unknown board "orin"; did you mean'),
        ({"board": "thor", "jetpack": "6.2"}, "Jetson Thor does not run JetPack 6.2; it takes 7.0, 7.1, 7.2"),
        ({"board": "orin-nx", "jetpack": "7.1"}, "does not run JetPack 7.1"),
        ({"board": "orin-nx", "jetpack": "5.1.2"}, "JetPack 5.1.2 has TensorRT 8.5 and Python 3.8"),
        ({"board": "orin-nx", "jetpack": "6"}, 'unknown JetPack "6"'),
        ({"board": "thor", "accelerator": "dla"}, "Thor has no DLA"),
        ({"board": "orin-nano", "accelerator": "dla"}, "Orin Nano has no DLA"),
        ({"board": "agx-orin", "accelerator": "dla"}, "attention does not run on a DLA"),
        ({"board": "agx-orin", "precisions": ("fp8",)}, "its GPU (8.7) has no FP8"),
        ({"board": "thor", "precisions": ("fp8",)}, "no bundle has it yet"),
        ({"board": "orin-nx", "engine": "rtx"}, "TensorRT-RTX does not run on a Jetson's GPU"),
        ({"board": "thor", "engine": "onnxruntime-cuda"}, "has no kernels for this GPU, and no PTX"),
        ({"board": "thor", "engine": "trt"}, '--engine: unknown "trt"'),
        ({"board": "thor", "precisions": ("fp61",)}, 'no precision "fp61"'),
    ],
)
def test_what_a_board_can_not_do(gemm: Path, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        deploy_jetson(gemm, tmp_path / "x", JetsonOptions(**options))
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bfloat16_on_tensorrt_8(gemm: Path, tmp_path: Path) -> None:
    """By its type, whatever the bundle calls it."""
    bundle = make_valid_bundle(tmp_path / "b.attn")
    manifest = read_manifest(bundle)
    manifest["graphs"]["model"]["precisions"]["half"]["type"] = "bf16"
    write_manifest(bundle, manifest)
    with pytest.raises(UsageError, match=r"TensorRT 8.6 has no bfloat16; take fp16, .+ \(source: NVIDIA, JetPack 6.0"):
        deploy_jetson(bundle, tmp_path / "x", JetsonOptions("orin-nx", "6.0", ("half",), cpp="no"))
    deploy_jetson(bundle, tmp_path / "x", JetsonOptions("orin-nx", "6.1", ("half",), cpp="no"))


@pytest.mark.parametrize(
    ("board", "jetpack", "dtype", "told"),
    [
        ("orin-nx", "6.2", TensorProto.INT8, ""),
        ("orin-nx", "6.2", TensorProto.INT4, ""),
        ("thor", "7.1", TensorProto.FLOAT8E4M3FN, ""),
        ("orin-nx", "6.2", TensorProto.FLOAT8E4M3FN, "fp8 needs compute capability 8.9 or later; 8.7 lacks it"),
        (
            "orin-nx",
            "6.0",
            TensorProto.INT8,
            "a quantised graph needs strong types, which TensorRT 8.6.2 of JetPack 6.0",
        ),
    ],
)
def test_what_is_quantised_by_its_graph(board: str, jetpack: str, dtype: int, told: str, tmp_path: Path) -> None:
    """By what lies in the file, whatever the bundle calls it."""
    bundle = make_valid_bundle(tmp_path / "b.attn")
    of_weights(bundle / "model.half.onnx", dtype, block=16 if dtype == TensorProto.INT4 else 0, sizes=(16, 10))
    rehash(bundle)
    options = JetsonOptions(board, jetpack, ("half",), cpp="no")
    if not told:
        deploy_jetson(bundle, tmp_path / "x", options)
        return
    with pytest.raises(UsageError, match=rf"precision half.*: {told}") as caught:
        deploy_jetson(bundle, tmp_path / "x", options)
    assert "\n" not in str(caught.value) and not (tmp_path / "x").exists()


def test_the_table_is_whole() -> None:
    """Every fact has a source that is there, every refusal is for boards and releases that are."""
    known = {release.version for release in RELEASES}
    assert [r.version for r in RELEASES] == sorted(known, key=lambda v: [*map(int, v.split("."))])
    assert {r.source for r in (*RELEASES, *REFUSALS, *BOARDS.values())} <= set(SOURCES)
    for board in BOARDS.values():
        assert set(board.releases) <= known and board.jetpack in board.releases
        assert board.workspace < board.memory // 8
        assert release_for(board, None).version == board.jetpack
    for refusal in REFUSALS:
        assert set(refusal.boards) <= set(BOARDS) and set(refusal.releases) <= known
    docs = (Path(__file__).parents[4] / "docs/use/jetson.md").read_text()
    for board in BOARDS.values():
        assert f"| `{board.name}` | {board.title} | {board.capability} |" in docs
    for release in RELEASES:
        assert f"| {release.version} | {release.l4t} | {release.tensorrt} | {release.cuda} | {release.python} |" in docs
    for refusal in REFUSALS:
        assert refusal.reason in docs
    for source in SOURCES.values():
        assert source in docs


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "orin-nano"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "orin-nx"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "agx-orin"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "thor"),
        ("NVIDIA Jetson AGX Xavier", None),
        ("Raspberry Pi 5", None),
        (None, None),
    ],
)
def test_a_board_by_its_model(model: str | None, name: str | None) -> None:
    found = board_of(model)
    assert (found.name if found else None) == name


def test_patch_releases_are_their_release() -> None:
    for version, release in [
        ("6.2.1", "6.2"),
        ("6.2", "6.2"),
        ("7.2.1", "7.2"),
        ("7.2.2", "7.2.2"),
        ("7.2.2.1", "7.2.2"),
        ("6.20", None),
    ]:
        found = find_release(version)
        assert (found.version if found else None) == release


# --- written whole or not at all --------------------------------------------------------------------------------------


def test_what_is_there_is_kept_unless_it_is_ours(gemm: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for target, told in [
        ("notes", "was not made by this command"),
        ("file", "is no folder"),
        ("no/x", "does not exist"),
    ]:
        with pytest.raises(OutputError, match=told):
            deploy_jetson(gemm, tmp_path / target, NX)
    assert (tmp_path / "notes/mine.txt").read_text() == "mine" and (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # an empty folder, then one of ours
        deploy_jetson(gemm, tmp_path / "empty", NX)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "notes"]


def test_somebody_elses_archive_is_kept(gemm: Path, tmp_path: Path) -> None:
    target = tmp_path / "nx.tar.gz"
    for foreign in (b"mine", b""):
        target.write_bytes(foreign)
        with pytest.raises(OutputError, match="was not made by this command; choose another name"):
            deploy_jetson(gemm, target, NX)
        assert target.read_bytes() == foreign
    with tarfile.open(target, "w:gz") as tar:
        tar.add(Path(__file__), "photos/deploy.txt")
    with pytest.raises(OutputError, match="was not made by this command"):
        deploy_jetson(gemm, target, NX)
    deploy_jetson(gemm, target, replace(NX, force=True))
    made = target.read_bytes()
    deploy_jetson(gemm, target, NX)  # one of ours
    assert target.read_bytes() == made


@pytest.mark.parametrize(
    "name", ["my model.attn", "modèl.attn", ".attn", "wheels", "python", "setup.sh", "report.json"]
)
def test_a_bundle_whose_name_can_not_lie_there(gemm: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(gemm, tmp_path / name)
    with pytest.raises(OutputError, match="its folder's name can't be one on the board"):
        deploy_jetson(tmp_path / name, tmp_path / "nx", NX)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_output_by_another_name(gemm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a link leads to is replaced, and the link stays; the folder that the caller is in does not go."""
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links/nx").symlink_to(tmp_path / "real")
    deploy_jetson(gemm, tmp_path / "links/nx", NX)
    assert (tmp_path / "links/nx").is_symlink() and (tmp_path / "real/deploy.json").is_file()
    (tmp_path / "here/below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here/below")
    for name in (".", ".."):
        with pytest.raises(OutputError, match="is or holds the current folder"):
            deploy_jetson(gemm, Path(name), JetsonOptions("orin-nx", cpp="no", force=True))
    with pytest.raises(OutputError, match="has no name before"):
        deploy_jetson(gemm, tmp_path / ".tar.gz", NX)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "links", "real"]


def test_a_failure_leaves_the_old_folder(gemm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy_jetson(gemm, tmp_path / "nx", NX)
    before = (tmp_path / "nx/deploy.json").read_bytes()

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    wheel_files.runtime_wheel.cache_clear()
    monkeypatch.setattr(wheel_files.shutil, "copytree", fails)
    with pytest.raises(OutputError, match=r"can't write .*nx: No space left on device; what was there is unchanged"):
        deploy_jetson(gemm, tmp_path / "nx", NX)
    monkeypatch.undo()
    monkeypatch.setattr(wheel_files, "_TIMEOUT_S", 0.001)
    with pytest.raises(StageError, match="the wheel can't be built: .*timed out"):
        deploy_jetson(gemm, tmp_path / "nx", NX)
    assert (tmp_path / "nx/deploy.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["nx"]


def test_a_damaged_bundle_is_not_deployed(tmp_path: Path) -> None:
    bundle = make_valid_bundle(tmp_path / "b.attn")
    (bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        deploy_jetson(bundle, tmp_path / "x", NX)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "wheels/../../x", "a b", ""])
def test_an_order_names_no_path_out_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"deploy\.json: files"):
        Order("gemm.attn", "orin-nx", "6.2", ("fp32",), {name: "0" * 64}, (), "me").to_bytes()


# --- the C++ library --------------------------------------------------------------------------------------------------


def test_without_a_compiler_it_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with DeployFolder(tmp_path / "x", "deploy.json") as making:
        (note,) = cpp_library.add_cpp(making, release_for(BOARDS["orin-nx"], None), "auto")
        assert re.fullmatch(r"no C\+\+ library: cmake is not installed; apt-get install cmake", note)
        with pytest.raises(StageError, match="can't be built for aarch64: cmake is not installed"):
            cpp_library.add_cpp(making, release_for(BOARDS["orin-nx"], None), "yes")
        assert not (making.path / "cpp").exists()


def test_a_library_for_a_newer_libc_is_refused(tmp_path: Path) -> None:
    """Links become files; the libc that is named in what was built is held against the board's."""
    installed = tmp_path / "installed/lib"
    installed.mkdir(parents=True)
    library = installed / "libattn_runtime.so.1"
    (installed / "libattn_runtime.so").symlink_to(library.name)
    library.write_bytes(b"\x7fELF...GLIBC_2.17\0GLIBC_2.34\0GLIBC_2.4\0GLIBCXX_3.4.30\0")
    assert cpp_library.needed_glibc(library.read_bytes()) == (2, 34)
    with DeployFolder(tmp_path / "x", "deploy.json") as making:
        release = release_for(BOARDS["orin-nx"], None)
        assert "need glibc 2.34" in cpp_library._add(making, tmp_path / "installed", release)[0]
        assert (making.path / "cpp/lib/libattn_runtime.so").read_bytes() == library.read_bytes()
        library.write_bytes(library.read_bytes() + b"GLIBC_2.38\0")
        with pytest.raises(StageError, match=r"needs glibc 2\.38, JetPack 6\.2 has 2\.35"):
            cpp_library._add(making, tmp_path / "installed", release)


# --- memory -----------------------------------------------------------------------------------------------------------

MIB, GIB = 2**20, 2**30


def test_scratch_memory_goes_by_the_board_and_by_what_is_free(tmp_path: Path) -> None:
    assert plan_build(100 * MIB, 2 * GIB, 16 * GIB).workspace == 2 * GIB
    half = plan_build(100 * MIB, 2 * GIB, 2 * GIB)
    assert half.workspace == (2 * GIB - half.taken) // 2 and half.taken == 1200 * MIB
    assert plan_build(100 * MIB, 2 * GIB, 2 * GIB, asked=512 * MIB).workspace == 512 * MIB
    assert plan_build(100 * MIB, 2 * GIB, None).workspace == 2 * GIB
    for available, asked in ((1200 * MIB, None), (2 * GIB, 900 * MIB), (0, None)):
        with pytest.raises(
            EngineError, match=r"of memory are free, and the build takes about .+; close other programs"
        ):
            plan_build(100 * MIB, 2 * GIB, available, asked)
    assert available_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8 kB\nMemAvailable:     5 kB\n")
    assert available_memory(tmp_path) == 5120
