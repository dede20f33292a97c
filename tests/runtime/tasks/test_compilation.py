"""Engines for several graphs: each is tried, and told of; what one of them raised is raised at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attn_runtime.errors import EngineError, StageError, UsageError
from attn_runtime.tasks import compilation
from attn_runtime.tasks.compilation import GraphBuild, compile_engines
from attn_runtime.trt.builder import CompilerFailure


class Engine:
    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self.path, self.options = path, options

    def to_json(self) -> dict[str, Any]:
        return {"engine": self.path.name}


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """What was built. The library is made up: a graph "bad" can't be built."""
    made: list[Engine] = []

    def build(path: Path, **options: Any) -> Engine:
        if str(options["graph"]).startswith("bad"):
            raise EngineError(f"{options['graph']} can't be built")
        made.append(Engine(Path(path), options))
        return made[-1]

    monkeypatch.setattr(compilation, "compile_engine", build)
    return made


@pytest.mark.parametrize("kind", [CompilerFailure, StageError, EngineError])
def test_another_form_is_asked_for_where_the_compiler_died(
    kind: type[EngineError], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def build(path: Path, **options: Any) -> Engine:
        if Path(path).name == "m.onnx":
            raise kind("it died")
        return Engine(Path(path), options)

    monkeypatch.setattr(compilation, "compile_engine", build)
    forms = iter([None, tmp_path / "other.onnx"])

    def other(name: str | None, compiled: Any) -> Any:
        assert name is None
        form = next(forms)
        return None if form is None else compiled(form, precision="fp32")

    for helps in (False, kind is not EngineError):
        if helps:
            (built,) = compile_engines(tmp_path / "m.onnx", other_form=other, tf32=True).builds
            assert built.done is not None and built.done.path.name == "other.onnx"
            assert built.done.options == {**built.done.options, "tf32": True, "precision": "fp32"}  # type: ignore[attr-defined]
        else:
            with pytest.raises(kind, match="it died"):
                compile_engines(tmp_path / "m.onnx", other_form=other)


def in_bundle(monkeypatch: pytest.MonkeyPatch, *graphs: str) -> None:
    class Opened:
        def __init__(self) -> None:
            self.graphs = dict.fromkeys(graphs)

    monkeypatch.setattr(compilation, "is_bundle", lambda path: True)
    monkeypatch.setattr(compilation.Bundle, "open", lambda path, check_hashes: Opened())


def test_every_graph_is_tried_and_the_first_error_raised(
    builds: list[Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_bundle(monkeypatch, "a", "bad1", "bad2", "b")
    told: list[GraphBuild] = []
    report = compile_engines(tmp_path / "m.attn", on_build=told.append, tf32=True)
    assert [engine.options["graph"] for engine in builds] == ["a", "b"] and builds[0].options["tf32"]
    assert tuple(told) == report.builds
    assert report.to_json() == [
        {"graph": "a", "engine": "m.attn"},
        {"graph": "bad1", "error": "bad1 can't be built", "exit_code": 14},
        {"graph": "bad2", "error": "bad2 can't be built", "exit_code": 14},
        {"graph": "b", "engine": "m.attn"},
    ]
    with pytest.raises(EngineError, match="bad1"):
        report.require()
    with pytest.raises(UsageError, match="--optShapes: the bundle has the graphs a, bad1, bad2, b"):
        compile_engines(tmp_path / "m.attn", opt_shapes=("x:1x2",))


def test_of_one_graph_the_error_is_raised_at_once(
    builds: list[Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_bundle(monkeypatch, "a", "bad1")
    with pytest.raises(EngineError):
        compile_engines(tmp_path / "m.attn", graph="bad1")
    report = compile_engines(tmp_path / "m.attn", graph="a", save_engine="e.engine")
    report.require()
    assert report.to_json() == {"engine": "m.attn"} and report.builds[0].graph is None
    assert builds[0].options["save_engine"] == "e.engine"


def test_what_prepares_a_graph_gives_the_file_and_arguments_that_go_before(
    builds: list[Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_bundle(monkeypatch, "a", "b")
    compile_engines(
        tmp_path / "m.attn", precision="fp32", prepare=lambda graph: (Path(f"{graph}.onnx"), {"precision": "fp16"})
    )
    assert [(e.path.name, e.options["precision"]) for e in builds] == [("a.onnx", "fp16"), ("b.onnx", "fp16")]
