"""The file that tells which backend was the fastest: who is taken by it, and all that it can't do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.backends import openvino, ort
from attn_runtime.bundle import Bundle
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.errors import OutputError
from attn_runtime.session import measured, open_session, remember
from attn_runtime.session.measured import machine

pytestmark = pytest.mark.usefixtures("without_native")

#: ONNX Runtime would be taken without a measurement; OpenVINO has to be named, or remembered.
FAST_OPENVINO = {"ort": 2.0, "openvino": 1.0}


def taken(bundle: Path, device: str = "auto", **options: Any) -> str:
    with open_session(bundle, device, **options) as session:
        return session.backend


def kept(bundle: Path, milliseconds: dict[str, float] | None = None, threads: int | None = None) -> Path:
    return remember(Bundle.open(bundle), None, None, threads, milliseconds or FAST_OPENVINO)


def test_the_fastest_is_taken_where_none_is_named(valid_bundle: Path) -> None:
    assert taken(valid_bundle) == "ort"
    file = kept(valid_bundle)
    assert file.parent == valid_bundle / "engines"
    assert taken(valid_bundle) == taken(valid_bundle, "cpu") == "openvino"
    with open_session(valid_bundle) as session:
        assert session.choice == "openvino on cpu, fp32, measured to be the fastest here"
        assert not any("openvino" in reason for reason in session.passed_over)
    assert taken(valid_bundle, backend="ort") == "ort"
    kept(valid_bundle, {"ort": 1.0, "openvino": 2.0})
    assert taken(valid_bundle) == "ort"
    kept(valid_bundle)
    file.unlink()
    assert taken(valid_bundle) == "ort"


def test_it_goes_before_a_backend_that_is_usually_first(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "RANK", -0.9, raising=False)
    kept(valid_bundle)
    assert taken(valid_bundle) == "openvino"
    monkeypatch.setattr(openvino, "RANK", -2, raising=False)
    kept(valid_bundle, {"ort": 1.0, "openvino": 2.0})
    assert taken(valid_bundle) == "ort"


def test_it_counts_for_its_graph_its_precision_and_its_threads(valid_bundle: Path) -> None:
    kept(valid_bundle, threads=1)
    assert taken(valid_bundle, threads=1) == "openvino"
    assert taken(valid_bundle, threads=2) == "ort"
    assert taken(valid_bundle, threads=1, precision="ext") == "ort"
    remember(Bundle.open(valid_bundle), "model", "ext", 1, {"ort": 1.0})  # beside the other, which stays
    assert taken(valid_bundle, threads=1) == "openvino"
    manifest = json.loads((valid_bundle / "manifest.json").read_text())
    spoilt = json.loads(next((valid_bundle / "engines").glob("measured-*.json")).read_text())
    assert (
        {entry["precision"] for entry in spoilt["graphs"]}
        == {"fp32", "ext"}
        <= set(manifest["graphs"]["model"]["precisions"])
    )
    for entry in spoilt["graphs"]:
        entry["sha256"] = "0" * 64  # of another export
    next((valid_bundle / "engines").glob("measured-*.json")).write_text(json.dumps(spoilt))
    assert taken(valid_bundle, threads=1) == "ort"


@pytest.mark.parametrize("what", ["cpu", "cores", "libraries"])
def test_another_machine_does_not_go_by_it(what: str, valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = kept(valid_bundle)
    other = machine() | {what: {"onnxruntime": "0.1"} if what == "libraries" else 99}
    with monkeypatch.context() as patch:
        patch.setattr(measured, "machine", lambda: other)
        assert taken(valid_bundle) == "ort"
        assert kept(valid_bundle) != file  # its own, beside that one
    # Under the name of this machine, it is told by what it says of itself.
    file.write_text(json.dumps(json.loads(file.read_text()) | {"machine": other}))
    assert taken(valid_bundle) == "ort"


def only(change: Callable[[dict[str, Any]], object]) -> Callable[[str], bytes]:
    def spoil(text: str) -> bytes:
        content = json.loads(text)
        change(content)
        return json.dumps(content).encode()

    return spoil


def times(**milliseconds: Any) -> Callable[[str], bytes]:
    return only(lambda content: content["graphs"][0].update(milliseconds=milliseconds))


SPOILT: dict[str, Callable[[str], bytes]] = {
    "no JSON": lambda text: text.encode()[:50],
    "not UTF-8": lambda text: b"\xff\xfe" + text.encode(),
    "deep": lambda text: b"[" * 200_000,
    "large": lambda text: b" " * (2 << 20) + text.encode(),
    "not a number": lambda text: text.replace("1.0", "NaN").encode(),
    "infinite": lambda text: text.replace("1.0", "1e999").encode(),
    "said twice": lambda text: text.replace('"ort": 2.0', '"openvino": 3.0').encode(),
    "negative": times(ort=2, openvino=-1),
    "text": times(ort=2, openvino="1"),
    "no times": times(),
    "an unknown backend": times(ort=2, **{"../../evil": 1}),
    "a path": times(ort=2, **{"os.system": 1}),
    "one that computes nothing": times(ort=2, replay=1),
    "one that is for GPUs": times(ort=2, trt=1),
    "graphs of another kind": only(lambda content: content.update(graphs={"model": 1})),
    "more than was asked": only(lambda content: content.update(run="rm")),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_hostile_file_changes_nothing(how: str, valid_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = kept(valid_bundle)
    file.write_bytes(SPOILT[how](file.read_text()))
    assert taken(valid_bundle) == "ort"
    assert capfd.readouterr() == ("", "")
    kept(valid_bundle)
    assert taken(valid_bundle) == "openvino"


def test_a_folder_and_a_link_in_its_place(valid_bundle: Path, tmp_path: Path) -> None:
    file = kept(valid_bundle)
    content = file.read_bytes()
    file.unlink()
    file.mkdir()
    assert taken(valid_bundle) == "ort"
    file.rmdir()
    file.symlink_to(tmp_path / "gone")
    assert taken(valid_bundle) == "ort"
    (tmp_path / "gone").write_bytes(content)
    assert taken(valid_bundle) in ("ort", "openvino")


def test_a_fastest_one_that_is_gone_or_fails_is_passed_over(
    valid_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(valid_bundle)
    monkeypatch.setattr(openvino, "why_unavailable", lambda: "openvino is not installed")
    with open_session(valid_bundle) as session:
        assert session.backend == "ort" and session.choice == "ort on cpu, fp32"
        assert any("openvino on cpu (openvino is not installed)" in reason for reason in session.passed_over)


def test_without_a_measurement_no_other_library_is_looked_at(
    valid_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking imports it, which takes time."""
    monkeypatch.setattr(openvino, "why_unavailable", lambda: pytest.fail("it was looked at"))
    assert taken(valid_bundle) == "ort"
    assert ort.why_unavailable() is None


def test_a_bundle_that_can_not_be_written_says_so(valid_bundle: Path) -> None:
    file = kept(valid_bundle)
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("in the way")
    with pytest.raises(OutputError, match="can't be written"):
        kept(valid_bundle)


def test_writing_a_bundle_anew_carries_it_over(valid_bundle: Path) -> None:
    kept(valid_bundle)
    opened = Bundle.open(valid_bundle)
    with BundleWriter(valid_bundle, amends=opened) as writer:
        writer.commit({**opened.manifest, "name": "amended"})
    assert taken(valid_bundle) == "openvino"
