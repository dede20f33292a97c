"""Which engine fits, what is said when none does, and that engine and key come and go together."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BackendError, EngineError, OutputError
from attn_runtime.trt import engine_files
from attn_runtime.trt.engine_files import (  # fmt: skip
    EngineStaging,
    bundle_digest,
    check_engine_target,
    engine_place,
    file_digest,
    find_engine,
    find_engine_beside,
    key_path,
    read_plan,
)
from attn_runtime.trt.engine_key import EngineKey
from attn_runtime.trt.machine import Machine
from attn_runtime.trt.precision_audit import Audit
from support.tensorrt import trt_graphs as graphs

MACHINE = Machine({"rtx": "1.7.1.116", "tensorrt": "11.4.0"}, "8.9", "linux-x86_64")
PLAN = b"a plan that no library reads here"


def key_for(bundle: Path, of: str = "fp32", **changes: Any) -> EngineKey:
    opened = Bundle.open(bundle)
    entry = opened.graph().precisions[of]
    return dataclasses.replace(
        EngineKey(
            "gemm", entry.file.name, bundle_digest(opened, entry), "model", of, entry.type,
            ({"x": ((1, 16), (2, 16), (4, 16))},), "rtx", "1.7.1.116", ("8.0", "8.9"), "linux-x86_64",
            hashlib.sha256(PLAN).hexdigest(), len(PLAN), None, None, None, False, Audit(entry.type, 1), (), 0.5,
            "2026-01-31T12:00:00+00:00", "attn-runtime 0.1.0",
        ),
        **changes,
    )  # fmt: skip


def put(target: Path, key: EngineKey, plan: bytes = PLAN) -> Path:
    with EngineStaging(target) as staging:
        staging.publish(plan, key)
    return target


def find(bundle: Path, precision: str = "fp32", **machine: Any) -> Path:
    return find_engine(Bundle.open(bundle), "model", precision, dataclasses.replace(MACHINE, **machine)).path


def test_an_engine_that_fits_is_found_and_read(valid_bundle: Path) -> None:
    put(valid_bundle / "engines" / "any-name.engine", key_for(valid_bundle))
    found = find_engine(Bundle.open(valid_bundle), "model", "fp32", MACHINE)
    assert found.path.name == "any-name.engine" and read_plan(found) == PLAN
    Bundle.open(valid_bundle)  # and the bundle is as valid as before


def test_without_an_engine_the_command_is_told(valid_bundle: Path) -> None:
    with pytest.raises(BackendError, match=r"no engine has been built. Build one: attn-run compile \S*gemm.attn$"):
        find(valid_bundle)
    with pytest.raises(BackendError, match=r"attn-run compile \S*gemm.attn --precision half$"):
        find(valid_bundle, "half")


@pytest.mark.parametrize(
    ("key", "machine", "says"),
    [
        ({"model_sha256": "0" * 64}, {}, r"model_sha256 \(wanted \w{12}, found 000000000000\)"),
        ({"precision": "fp16"}, {}, r"precision \(wanted fp32, found fp16\)"),
        ({"type": "fp16"}, {}, r"type \(wanted fp32, found fp16\)"),
        ({"graph": "decoder"}, {}, r"graph \(wanted model, found decoder\)"),
        ({}, {"flavours": {"tensorrt": "11.4.0"}}, r"flavour \(wanted tensorrt, found rtx\)"),
        ({"version": "1.6.0"}, {}, r"version \(wanted rtx 1.7.1.116, found rtx 1.6.0\)"),
        ({"os": "win32-amd64"}, {}, r"os \(wanted linux-x86_64, found win32-amd64\)"),
        ({}, {"compute_capability": "9.0"}, r"compute capability \(wanted 9.0, found 8.0, 8.9\)"),
        ({"version": "1.6", "os": "w"}, {}, r"version \(.*\); os \(wanted linux-x86_64, found w\)"),
    ],
)
def test_an_engine_that_does_not_fit(
    key: dict[str, Any], machine: dict[str, Any], says: str, valid_bundle: Path
) -> None:
    put(valid_bundle / "engines" / "e.engine", key_for(valid_bundle, **key))
    with pytest.raises(
        BackendError, match=rf"no engine fits; e.engine differs in {says}. Build one: attn-run compile"
    ) as caught:
        find(valid_bundle, **machine)
    assert "\n" not in str(caught.value)


def test_the_nearest_engine_is_the_one_that_is_told_of(valid_bundle: Path) -> None:
    put(valid_bundle / "engines" / "far.engine", key_for(valid_bundle, os="w", version="1", model_sha256="0" * 64))
    put(valid_bundle / "engines" / "near.engine", key_for(valid_bundle, version="1"))
    with pytest.raises(BackendError, match=r"near.engine differs in version \("):
        find(valid_bundle)


def test_the_most_special_engine_is_taken(valid_bundle: Path) -> None:
    folder = valid_bundle / "engines"
    put(folder / "a-portable.engine", key_for(valid_bundle))
    put(folder / "b-this-gpu.engine", key_for(valid_bundle, compute_capabilities=("8.9",)))
    put(folder / "c-other-gpu.engine", key_for(valid_bundle, compute_capabilities=("12.0",)))
    assert find(valid_bundle).name == "b-this-gpu.engine"
    put(
        folder / "z-full.engine",
        key_for(valid_bundle, compute_capabilities=("8.9",), flavour="tensorrt", version="11.4.0"),
    )
    assert find(valid_bundle).name == "z-full.engine"
    assert find(valid_bundle, compute_capability="12.0").name == "c-other-gpu.engine"


def test_an_engine_of_the_file_made_for_tensorrt_comes_first(valid_bundle: Path) -> None:
    from support.graphs.make_hostile_bundles import edit

    # "half" is the file for TensorRT of the precision "plain".
    half = Bundle.open(valid_bundle).manifest["graphs"]["model"]["precisions"]["half"]
    plain = {key: value for key, value in half.items() if key != "target"}
    edit("graphs", "model", "precisions", "plain", to=plain)(valid_bundle)
    with pytest.raises(BackendError):
        find(valid_bundle, "plain")
    put(valid_bundle / "engines" / "plain.engine", key_for(valid_bundle, "plain"))
    assert find(valid_bundle, "plain").name == "plain.engine"
    put(valid_bundle / "engines" / "z-half.engine", key_for(valid_bundle, "half"))
    assert find(valid_bundle, "plain").name == "z-half.engine"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 128]),
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
    ],
    ids=["first bit", "last bit", "cut", "longer", "empty"],
)
def test_a_changed_engine_is_refused_before_any_library_reads_it(spoil: Any, valid_bundle: Path) -> None:
    path = put(valid_bundle / "engines" / "e.engine", key_for(valid_bundle))
    path.write_bytes(spoil(PLAN))
    with pytest.raises(EngineError, match=r"e.engine: .*its key says .*build it again") as caught:
        read_plan(find_engine(Bundle.open(valid_bundle), "model", "fp32", MACHINE))
    assert caught.value.exit_code == 14
    path.unlink()
    with pytest.raises(EngineError, match="can't be read"):
        read_plan(find_engine(Bundle.open(valid_bundle), "model", "fp32", MACHINE))


def test_a_damaged_key_is_an_error_only_where_nothing_else_fits(valid_bundle: Path) -> None:
    put(valid_bundle / "engines" / "bad.engine", key_for(valid_bundle))
    key_path(valid_bundle / "engines" / "bad.engine").write_text("{")
    with pytest.raises(EngineError, match=r"bad.engine.json is not JSON.*build the engine again: attn-run compile"):
        find(valid_bundle)
    put(valid_bundle / "engines" / "good.engine", key_for(valid_bundle))
    assert find(valid_bundle).name == "good.engine"


def test_engines_that_are_a_link_out_of_the_bundle(valid_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (valid_bundle / "engines").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match="link out of the bundle"):
        find(valid_bundle)
    with pytest.raises(OutputError, match="a link out of the bundle"):
        check_engine_target(valid_bundle / "engines" / "e.engine", valid_bundle)


def test_external_weights_are_part_of_the_model(valid_bundle: Path) -> None:
    put(valid_bundle / "engines" / "e.engine", key_for(valid_bundle, "ext"))
    assert find(valid_bundle, "ext").name == "e.engine"
    opened = Bundle.open(valid_bundle)
    entry = opened.graph().precisions["ext"]
    before = bundle_digest(opened, entry)
    opened.manifest["files"]["model.ext.onnx.data"]["sha256"] = "0" * 64
    assert bundle_digest(opened, entry) != before != entry.sha256


def test_a_plain_file_has_its_engines_beside_it(valid_bundle: Path, tmp_path: Path) -> None:
    file = shutil.copy(valid_bundle / "model.onnx", tmp_path / "m.onnx")
    with pytest.raises(BackendError, match="file m.onnx: no engine has been built"):
        find_engine_beside(file, MACHINE)
    key = key_for(valid_bundle, graph=None, model_sha256=file_digest(file))
    place = engine_place(file, None, "fp32", "rtx", ())
    assert place == tmp_path / "m.fp32.rtx.engine"
    put(place, key)
    put(tmp_path / "other.fp32.rtx.engine", dataclasses.replace(key, model_sha256="1" * 64))
    assert find_engine_beside(file, MACHINE).path == place
    onnx.save(onnx.load(graphs.matmul(tmp_path / "n.onnx")), file)
    with pytest.raises(BackendError, match="m.fp32.rtx.engine differs in model_sha256"):
        find_engine_beside(file, MACHINE)
    assert file_digest(graphs.matmul(tmp_path / "n.onnx")) == file_digest(file)


@pytest.mark.parametrize(
    ("path", "arguments", "place"),
    [
        ("b.attn", ("model", "fp16", "rtx", ()), "b.attn/engines/model.fp16.rtx.engine"),
        ("b.attn", ("enc", "fp32", "rtx", ("8.9", "12.0")), "b.attn/engines/enc.fp32.rtx-sm89-sm120.engine"),
        ("m.onnx", (None, "fp16", "tensorrt", ("9.0",)), "m.fp16.tensorrt-sm90.engine"),
        ("m.fp16.onnx", (None, "fp16", "rtx", ()), "m.fp16.rtx.engine"),
    ],
)
def test_places(path: str, arguments: Any, place: str, tmp_path: Path) -> None:
    (tmp_path / "b.attn").mkdir()
    assert engine_place(tmp_path / path, *arguments) == tmp_path / place


# --- writing ------------------------------------------------------------------------------------------------------


def test_leaving_without_publishing_leaves_no_trace(valid_bundle: Path) -> None:
    before = sorted(valid_bundle.rglob("*"))
    with pytest.raises(KeyboardInterrupt), EngineStaging(valid_bundle / "engines" / "e.engine") as staging:
        (staging.scratch / "plan").write_bytes(PLAN)
        raise KeyboardInterrupt
    assert sorted(valid_bundle.rglob("*")) == before


def test_a_failed_write_keeps_the_old_engine(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = put(valid_bundle / "engines" / "e.engine", key_for(valid_bundle))
    old = key_path(target).read_bytes()
    with EngineStaging(target) as staging:
        (staging._staging.new).rmdir()  # as a full disk would, writing fails
        with pytest.raises(OutputError, match="what was there is still there"):
            staging.publish(b"new", key_for(valid_bundle))
    assert target.read_bytes() == PLAN and key_path(target).read_bytes() == old
    assert sorted(p.name for p in target.parent.iterdir()) == ["e.engine", "e.engine.json"]


def test_a_key_is_never_seen_beside_another_engine(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every rename of a replacement: the key is missing, or fits the engine."""
    target = put(valid_bundle / "engines" / "e.engine", key_for(valid_bundle))
    seen = []
    rename = Path.rename

    def watched(self: Path, to: Path) -> Path:
        done = rename(self, to)
        if key_path(target).exists():
            told = engine_files.read_key(key_path(target)).engine_sha256
            seen.append(target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == told)
        return done

    monkeypatch.setattr(Path, "rename", watched)
    new = b"another plan"
    put(target, key_for(valid_bundle, engine_sha256=hashlib.sha256(new).hexdigest(), engine_size=len(new)), new)
    assert seen and all(seen) and target.read_bytes() == new


def test_a_replacement_that_was_killed_is_undone_by_the_next_reader(valid_bundle: Path) -> None:
    target = put(valid_bundle / "engines" / "e.engine", key_for(valid_bundle))
    dead = target.parent / ".e.engine.json.tmp-1-00"
    for folder in ("new", "old"):
        (dead / folder).mkdir(parents=True)
    key_path(target).rename(dead / "old" / "e.engine.json")
    target.rename(dead / "old" / "e.engine")
    assert read_plan(find_engine(Bundle.open(valid_bundle), "model", "fp32", MACHINE)) == PLAN


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("e.plan", r"got 'e.plan', expected a name NAME.engine"),
        ("nowhere/e.engine", "folder .*nowhere does not exist"),
        ("file/e.engine", "folder .*file is a file"),
        ("folder.engine", "folder.engine is a folder"),
        ("keyed.engine", "keyed.engine.json is a folder"),
        ("mine.engine", "a file without a key is there, not ours to replace"),
    ],
)
def test_where_no_engine_can_be_written(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.engine").mkdir()
    (tmp_path / "keyed.engine.json").mkdir()
    (tmp_path / "mine.engine").write_bytes(b"somebody's")
    with pytest.raises(OutputError, match=says) as caught:
        check_engine_target(tmp_path / name)
    assert (
        re.search(r"--saveEngine|NAME.engine", str(caught.value))
        and (tmp_path / "mine.engine").read_bytes() == b"somebody's"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="is not writable"):
        check_engine_target(tmp_path / "locked" / "e.engine")
