"""Every built-in model in every precision that quantises: it holds, or it is refused in one line and nothing is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx
import pytest
from attn_export import convert
from attn_export.precision import schemes
from attn_models import registry
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import ParityError, UsageError
from attn_runtime.tasks.verification import verify
from onnx import TensorProto

QUANTISED = [name for name in schemes.names() if isinstance(schemes.get(name), schemes.QuantisedScheme)]
#: Without ATTN_TEST_ALL each scheme meets every so manieth model, and each model one of them.
EVERY, FIRST = 5, 2
_NARROW = {
    getattr(TensorProto, name)
    for name in ("INT8", "UINT8", "INT4", "UINT4", "FLOAT8E4M3FN")
    if hasattr(TensorProto, name)
}


@pytest.fixture(params=QUANTISED)
def scheme(request: pytest.FixtureRequest, model: str) -> str:
    turn = registry.names().index(model) + QUANTISED.index(request.param) + FIRST
    if turn % EVERY and not os.environ.get("ATTN_TEST_ALL"):
        pytest.skip(f"crossed with every {EVERY}th model; ATTN_TEST_ALL=1 takes all")
    return str(request.param)


def test_every_model_and_every_scheme_meet() -> None:
    turns = [(m, s) for m in range(len(registry.names())) for s in range(len(QUANTISED)) if not (m + s + FIRST) % EVERY]
    assert {m for m, _ in turns} == set(range(len(registry.names())))
    assert {s for _, s in turns} == set(range(len(QUANTISED)))


@pytest.mark.usefixtures("quickly")
def test_it_holds_or_is_refused(model: str, scheme: str, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / f"{model}.attn", ignore=shutil.ignore_patterns("engines")))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    try:
        convert(copy, scheme)
    except (ParityError, UsageError) as error:
        assert isinstance(error, ParityError) or "finds nothing to quantise" in str(error)
        assert "\n" not in str(error) and scheme in str(error)
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
        return
    opened = Bundle.open(copy)
    report = verify(copy, backend="ort", precision=scheme)
    assert report.passed and (opened.asset("generation") is None or all(row.passed for row in report.generation))
    told = 0
    for name, graph in opened.graphs.items():
        entry = graph.precisions[scheme]
        golden = {g.name for g in graph.golden_for(entry.held_to)}
        assert golden and {c.case for c in report.cases if c.graph == name} == golden
        written = onnx.load(entry.file, load_external_data=False)
        narrow = sum(t.data_type in _NARROW for t in written.graph.initializer)
        quantised = opened.manifest["graphs"][name]["precisions"][scheme]["quantised"]
        assert bool(narrow) == bool(quantised["quantised"]), "what is told is what is in the file"
        told += quantised["quantised"]
    assert told, "nothing was quantised, and nothing said so"
