"""A graph that was optimised is opened again where nobody but this user can have written it and nothing about it has changed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from attn_runtime import Bundle, OutputError, open_session
from attn_runtime.bundle import known_hashes
from attn_runtime.compare import compare
from attn_runtime.interface import GraphFile
from attn_runtime.ort import saved_graphs
from support.machines.spoilt_memory import GRAPHS_SPOILT


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that ONNX Runtime makes sessions of, as it happens."""
    files: list[Path] = []
    make = onnxruntime.InferenceSession

    def made(file: Path, *rest: object, **named: object) -> onnxruntime.InferenceSession:
        files.append(Path(file))
        return make(file, *rest, **named)

    monkeypatch.setattr(onnxruntime, "InferenceSession", made)
    return files


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    return folder


def answers(bundle: Path, cache: Path | None, precision: str = "fp32", **how: bool) -> list[np.ndarray]:
    """Those of all golden cases, which are held against PyTorch's on the way."""
    graph = Bundle.open(bundle).graph()
    found = []
    with open_session(bundle, "cpu", "ort", threads=1, cache=cache, precision=precision, **how) as session:
        half_io = graph.precisions[precision].half_io
        for case in (case.to_fp16() if half_io else case for case in graph.cases()):
            for name, value in session.run(case.inputs).items():
                assert compare(name, case.outputs[name], value, graph.precisions[precision].tolerance).passed
                found.append(value)
    return found


def entry(cache: Path) -> Path:
    (folder,) = (cache / "ort").iterdir()
    return folder


def test_the_second_session_opens_what_the_first_one_kept(valid_bundle: Path, cache: Path, opened: list[Path]) -> None:
    """Of a file with its weights in it, one with them beside it, and one of float16."""
    for precision in (names := list(Bundle.open(valid_bundle).graph().precisions)):
        fresh = answers(valid_bundle, None, precision)
        before = set((cache / "ort").glob("*"))
        first, second = answers(valid_bundle, cache, precision), answers(valid_bundle, cache, precision)
        (made,) = set((cache / "ort").glob("*")) - before
        assert [file.parent for file in opened[-3:]] == [valid_bundle.resolve()] * 2 + [made]
        assert all((a == b).all() and (a == c).all() for a, b, c in zip(fresh, first, second, strict=True))
    assert len(names) == 3


def test_without_a_cache_nothing_is_written(valid_bundle: Path, cache: Path) -> None:
    before = sorted(valid_bundle.rglob("*"))
    answers(valid_bundle, None)
    assert sorted(valid_bundle.rglob("*")) == before and not any(cache.iterdir())


@pytest.mark.parametrize("spoilt", GRAPHS_SPOILT)
def test_what_could_be_somebody_elses_or_is_damaged_is_made_anew(
    spoilt: str, valid_bundle: Path, cache: Path, opened: list[Path]
) -> None:
    fresh = answers(valid_bundle, cache)
    GRAPHS_SPOILT[spoilt](entry(cache))
    opened.clear()
    again = answers(valid_bundle, cache)
    assert opened[-1].parent == valid_bundle.resolve()
    opened.clear()
    third = answers(valid_bundle, cache)
    assert [file.parent for file in opened] == [entry(cache)]
    assert all((a == b).all() and (a == c).all() for a, b, c in zip(fresh, again, third, strict=True))


def test_known_bytes_are_not_hashed_again_and_changed_ones_are(
    valid_bundle: Path, cache: Path, opened: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(known_hashes, "_YOUNG_NS", -(10**12))
    for _ in range(3):
        answers(valid_bundle, cache)
    file = entry(cache) / "model.onnx"
    before = file.stat()
    GRAPHS_SPOILT["tampered"](entry(cache))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    answers(valid_bundle, cache)
    assert opened[-1].parent == valid_bundle.resolve()


def test_a_key_is_of_all_that_decides_what_the_optimiser_does(
    valid_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(valid_bundle)
    graph = GraphFile(
        bundle.graph().precisions["fp32"].file, "x", bundle=bundle, graph=bundle.graph().name, precision="fp32"
    )
    library = SimpleNamespace(__version__="1.31.1", get_build_info=lambda: "one")

    def folder(
        version: str = "1.31.1", build: str = "one", providers: tuple[str, ...] = ("CPU",), **options: str
    ) -> Path:
        library.__version__, library.get_build_info = version, lambda: build
        return saved_graphs.SavedGraph(graph, cache, library, options, providers).folder

    told = [
        folder(),
        folder(version="1.31.2"),
        folder(build="two"),
        folder(providers=("CUDA",)),
        folder(a="1"),
        folder(a="2"),
    ]
    monkeypatch.setattr(saved_graphs, "processor_sha256", lambda: "another")
    told.append(folder())
    monkeypatch.undo()
    bundle.manifest["files"]["model.onnx"]["sha256"] = "0" * 64
    told.append(folder())
    assert len(set(told)) == len(told)


def test_less_memory_has_a_graph_of_its_own(valid_bundle: Path, cache: Path) -> None:
    plain, small = answers(valid_bundle, cache), answers(valid_bundle, cache, low_memory=True)
    assert len(list((cache / "ort").iterdir())) == 2
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(plain, small, strict=True))


def test_a_cache_that_others_may_write_to_is_refused(valid_bundle: Path, cache: Path) -> None:
    cache.chmod(0o777)
    with pytest.raises(OutputError, match=r"somebody else could write to it \(mode 777"):
        answers(valid_bundle, cache)
    assert not any(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_told(valid_bundle: Path, cache: Path) -> None:
    (cache / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        answers(valid_bundle, cache / "file" / "below")
