"""Python and the C++ library believe what the other remembered, on the same conditions."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import numpy as np
import pytest
from attn_runtime import Bundle, BundleError, open_session
from attn_runtime.backends import native
from attn_runtime.bundle import known_hashes
from attn_runtime.bundle.opened_files import mark_of
from attn_runtime.errors import ParityError, UsageError
from attn_runtime.native import capi
from support.machines.spoilt_memory import GRAPHS_SPOILT, HASHES_SPOILT, flip_last, with_other_weights

pytestmark = pytest.mark.skipif(native.why_unavailable() is not None, reason=str(native.why_unavailable()))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(known_hashes, "_YOUNG_NS", -(10**12))
    return tmp_path / "cache"


def written(bundle: Path) -> known_hashes.Known:
    """What is to be remembered of a bundle: its files as they are, with the manifest's hashes, right or not."""
    files = Bundle.open(bundle, check_hashes=False).manifest["files"]
    return {name: (mark_of((bundle / name).stat()), entry["sha256"]) for name, entry in files.items()}


def lied(bundle: Path) -> Path:
    """A changed file that is remembered as the one it was, as no program could: who believes it opens the bundle."""
    file = bundle / "model.onnx"
    file.write_bytes(flip_last(file.read_bytes()))
    known_hashes.remember(bundle, written(bundle))
    return bundle


def test_cpp_does_not_read_what_python_knows(valid_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capi.open_bundle(lied(valid_bundle))
    with pytest.raises(BundleError, match=r"sha256 of model\.onnx"):
        capi.open_bundle(valid_bundle, paranoid=True)
    monkeypatch.setenv("ATTN_PARANOID", "1")
    with pytest.raises(BundleError, match=r"sha256 of model\.onnx"):
        capi.open_bundle(valid_bundle)


def test_cpp_finds_changed_bytes(valid_bundle: Path, cache: Path) -> None:
    known_hashes.remember(valid_bundle, written(valid_bundle))
    file = valid_bundle / "model.onnx"
    file.write_bytes(flip_last(file.read_bytes()))
    with pytest.raises(BundleError, match=r"sha256 of model\.onnx"):
        capi.open_bundle(valid_bundle)


@pytest.mark.parametrize("spoilt", HASHES_SPOILT)
def test_cpp_does_not_believe_what_somebody_else_could_have_written_or_damaged(
    spoilt: str, valid_bundle: Path, cache: Path
) -> None:
    lied(valid_bundle)
    (memory,) = (cache / "attn-runtime" / "known").iterdir()
    HASHES_SPOILT[spoilt](memory)
    with pytest.raises(BundleError, match=r"sha256 of model\.onnx"):
        capi.open_bundle(valid_bundle)


def test_cpp_remembers_what_python_would(valid_bundle: Path, cache: Path) -> None:
    capi.open_bundle(valid_bundle)
    assert not known_hashes.recall(valid_bundle)  # the files are too young
    time.sleep(2.1)
    capi.open_bundle(valid_bundle)
    known = known_hashes.recall(valid_bundle)
    manifest = mark_of((valid_bundle / "manifest.json").stat())
    (checked,) = {name: told for name, told in known.items() if name.startswith(known_hashes.CHECKED)}.items()
    assert checked[0].startswith("/checked by c++ ") and checked[1] == (manifest, "")
    assert known == {**written(valid_bundle), checked[0]: checked[1]}
    Bundle.open(valid_bundle)
    both = known_hashes.recall(valid_bundle)
    capi.open_bundle(valid_bundle)
    assert known_hashes.recall(valid_bundle) == both
    assert [name.split()[2] for name in both if name.startswith(known_hashes.CHECKED)] == ["c++", "python"]
    (memory,) = (cache / "attn-runtime" / "known").iterdir()
    assert memory.stat().st_mode & 0o777 == 0o600
    most = known_hashes._MOST_FILES
    for number in range(most + 3):
        file = memory.with_name(f"{number:x}-1.json")
        file.touch()
        os.utime(file, (number, number))
    memory.unlink()
    capi.open_bundle(valid_bundle)
    assert {file.name for file in memory.parent.iterdir()} == {
        memory.name,
        *(f"{number:x}-1.json" for number in range(4, most + 3)),
    }


def test_cpp_verifies_by_the_files_whatever_is_remembered(valid_bundle: Path, cache: Path) -> None:
    handle = capi.open_bundle(lied(valid_bundle))
    library = capi.library()
    assert library.attn_bundle_verify(handle.value, None, None, None) == BundleError.exit_code


def test_a_manifest_that_was_found_valid_is_not_checked_again_and_a_changed_one_is(
    valid_bundle: Path, cache: Path
) -> None:
    """Each reader believes its own check alone."""
    time.sleep(2.1)
    capi.open_bundle(valid_bundle)
    Bundle.open(valid_bundle)
    file, files = valid_bundle / "manifest.json", written(valid_bundle)
    text = file.read_text()
    broken = text.replace('"schema_version": 1', '"schema_version": 9')
    assert broken != text
    file.write_text(broken)
    known = known_hashes.recall(valid_bundle)
    for opened in (Bundle.open, capi.open_bundle):
        with pytest.raises(BundleError, match="schema_version"):
            opened(valid_bundle)
    mark = mark_of(file.stat())
    checked = [name for name in known if name.startswith(known_hashes.CHECKED)]
    for opened, other, name in ((Bundle.open, capi.open_bundle, "python"), (capi.open_bundle, Bundle.open, "c++")):
        (mine,) = [each for each in checked if f" {name} " in each]
        known_hashes.remember(valid_bundle, {**files, mine: (mark, "")})
        opened(valid_bundle)
        with pytest.raises(BundleError, match="schema_version"):
            other(valid_bundle)


def answers(bundle: Path, backend: str, cache: Path) -> np.ndarray:
    with open_session(bundle, "cpu", backend, threads=1, cache=cache) as session:
        return session.run({"x": np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)})["y"]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    return folder


def state(kept: Path) -> dict[str, int]:
    """When each file was made."""
    return {str(file.relative_to(kept)): file.stat().st_ino for file in kept.rglob("*") if file.is_file()}


@pytest.mark.parametrize("order", [("ort", "native"), ("native", "ort")])
def test_a_graph_that_one_kept_is_opened_by_the_other(order: tuple[str, str], valid_bundle: Path, kept: Path) -> None:
    first = answers(valid_bundle, order[0], kept)
    before = state(kept)
    assert len(before) >= 2
    assert (answers(valid_bundle, order[1], kept) == first).all() and state(kept) == before


def test_a_graph_is_kept_where_the_umask_lets_a_group_write(valid_bundle: Path, kept: Path) -> None:
    mask = os.umask(0o002)
    try:
        first = answers(valid_bundle, "native", kept)
        before = state(kept)
        assert (answers(valid_bundle, "native", kept) == first).all() and state(kept) == before
    finally:
        os.umask(mask)


@pytest.mark.parametrize("spoilt", GRAPHS_SPOILT)
def test_cpp_makes_anew_what_could_be_somebody_elses_or_is_damaged(spoilt: str, valid_bundle: Path, kept: Path) -> None:
    first = answers(valid_bundle, "native", kept)
    (entry,) = (kept / "ort").iterdir()
    GRAPHS_SPOILT[spoilt](entry)
    before = state(kept)
    assert (answers(valid_bundle, "native", kept) == first).all()
    after = state(kept)
    assert after != before
    assert (answers(valid_bundle, "ort", kept) == first).all() and state(kept) == after


def verified(bundle: Path, kept: Path) -> int:
    """The status of attn_bundle_verify."""
    asked = capi.OpenOptions(
        device=b"cpu", backend=b"ort", cache=os.fsencode(kept), library=os.fsencode(str(capi.onnxruntime_library()))
    )
    asked.size = ctypes.sizeof(asked)
    handle = capi.open_bundle(bundle)
    return int(capi.library().attn_bundle_verify(handle.value, ctypes.byref(asked), None, None))


def test_cpp_holds_what_is_kept_and_believes_nothing_that_is_remembered_of_it(
    valid_bundle: Path, kept: Path, cache: Path
) -> None:
    assert verified(valid_bundle, kept) == 0
    (entry,) = (kept / "ort").iterdir()
    before = state(kept)
    assert verified(valid_bundle, kept) == 0 and state(kept) == before
    first = answers(valid_bundle, "native", kept)
    with_other_weights(entry, vouched=False)
    told = [line.split() for line in (entry / "key").read_text().splitlines() if line.startswith("file ")]
    known_hashes.remember(entry, {name: (mark_of((entry / name).stat()), sha256) for _, name, _, sha256 in told})
    assert (answers(valid_bundle, "native", kept) == -first).all(), "it is believed, as it must not be"
    assert verified(valid_bundle, kept) == 0
    assert (answers(valid_bundle, "native", kept) == first).all()  # it was made anew
    with_other_weights(entry, vouched=True)
    assert verified(valid_bundle, kept) == ParityError.exit_code


def test_cpp_refuses_a_cache_that_others_may_write_to(valid_bundle: Path, kept: Path) -> None:
    kept.chmod(0o777)
    with pytest.raises(UsageError, match=r"somebody else could write to it \(mode 777"):
        answers(valid_bundle, "native", kept)
