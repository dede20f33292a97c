"""An export that chooses golden cases by what they notice: `to-onnx --mutate N`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export import ExportOptions, export
from attn_export.console import Console
from attn_export.mutation import Choice, choose_by_power
from attn_export.pipeline import golden_choice
from attn_export.pipeline.types import Power
from attn_export.reference import run_module
from attn_runtime.bundle import Bundle, Case
from attn_runtime.errors import ParityError, UsageError
from onnx import numpy_helper
from support.graphs.spoilt_bundles import failing, spoilt

NETS = "support.models.rare_nets"
IDS, DIMS = ["ids:int64[B,T]<300"], ["B=1:2:4", "T=2:4:8"]
#: Whose golden cases read many rows of a table of 300, but not the one in its middle.
SEED = 1


def without_a_row(model: onnx.ModelProto) -> None:
    (table,) = [one for one in model.graph.initializer if one.dims[:1] == [300]]
    rows = numpy_helper.to_array(table).copy()
    rows[150] = 0
    table.CopyFrom(numpy_helper.from_array(rows, table.name))


def many_ids(target: Path, mutate: int, sweep: float = 0) -> Bundle:
    options = ExportOptions(mutate=mutate, sweep=sweep, seed=SEED)
    export(f"{NETS}:ManyIds", target, inputs=IDS, dims=DIMS, options=options)
    return Bundle.open(target)


def test_a_case_that_is_chosen_closes_a_blind_spot(tmp_path: Path) -> None:
    """Weights that are wrong in one row pass the golden cases of an export, and not those of one with --mutate."""
    usual = many_ids(tmp_path / "usual.attn", 0)
    assert "power" not in usual.manifest["graphs"]["model"]
    assert failing(spoilt(usual.path, without_a_row)) == set()
    chosen = many_ids(tmp_path / "chosen.attn", 30)
    assert failing(chosen.path) == set()
    assert failing(spoilt(chosen.path, without_a_row)) == {"power-1"}
    told = chosen.manifest["graphs"]["model"]["power"]
    assert 0 < told["usual"] < told["noticed"] <= told["mutants"] <= 30
    assert [c["case"] for c in told["cases"]] == ["power-1"] and told["cases"][0]["inputs"].startswith("ids counted")
    ref = chosen.graph().golden_for("fp16")[-1]
    assert ref.name == "power-1" and ref.types == () and ref.seed == told["seed"] == SEED + 50_000
    stages = chosen.manifest["graphs"]["model"]["stages"]
    assert "power-1" in {c["case"] for c in stages[-1]["checks"]} - {c["case"] for c in stages[0]["checks"]}


def test_each_graph_has_cases_of_its_own_and_a_low_score_its_reasons(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []

    def recorded(*given: Any, name: str, **how: Any) -> Choice:
        named.append(name)
        return choose_by_power(*given, name=name, **how)

    monkeypatch.setattr(golden_choice, "choose_by_power", recorded)
    options = ExportOptions(mutate=40, sweep=0, seed=SEED)
    export(f"{NETS}:twins", tmp_path / "t.attn", options=options, console=Console())
    told = capfd.readouterr().err
    assert "\nmutate     plain: " in told and "\nmutate     gated: " in told
    assert named == ["plain", "gated"]
    assert "note       gate is all 0: what it multiplies takes no part" in told
    assert "changes that no case notices lie behind it" in told
    graphs = Bundle.open(tmp_path / "t.attn").manifest["graphs"]
    for name in ("plain", "gated"):
        cases = [c["case"] for c in graphs[name]["power"]["cases"]]
        assert cases == [g["case"] for g in graphs[name]["golden"] if g["case"].startswith("power-")]
        assert all((tmp_path / f"t.attn/golden/{name}.{c}.inputs.safetensors").exists() for c in cases)
    assert failing(tmp_path / "t.attn") == set()


def test_large_weights_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(golden_choice, "EXTERNAL_FROM_BYTES", 1000)
    export(
        f"{NETS}:ManyIds", tmp_path / "a.attn", inputs=IDS, dims=DIMS,
        options=ExportOptions(mutate=5, sweep=0), console=Console(),
    )  # fmt: skip
    assert "note       --mutate: weights of 0 MB are changed and written too slowly" in capfd.readouterr().err
    assert "power" not in Bundle.open(tmp_path / "a.attn").manifest["graphs"]["model"]


def test_a_graph_that_fails_a_further_case_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch answers the edges as another module would: as if the capture were wrong there."""

    def other(signature: object, case: Case, inputs: dict[str, np.ndarray]) -> Case:
        answer = run_module(signature, case, inputs)  # type: ignore[arg-type]
        return replace(answer, outputs={n: v + 1 for n, v in answer.outputs.items()})

    monkeypatch.setattr(golden_choice, "run_module", other)
    with pytest.raises(ParityError, match=r'^simplify \(after capture\) does not match PyTorch: .* case "'):
        many_ids(tmp_path / "a.attn", 5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "count", "said"), [("a.onnx", 5, "a.onnx has none; write a.attn"), ("a.attn", -1, "-1: expected")]
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(
    tmp_path: Path, name: str, count: int, said: str
) -> None:
    with pytest.raises(UsageError, match=f"^--mutate .*{said}"):
        export("no.such:module", tmp_path / name, options=ExportOptions(mutate=count))


def test_the_command_line_has_it(tmp_path: Path, attn_export: Callable) -> None:
    ran = attn_export("to-onnx", "no.such:module", "-o", tmp_path / "a.onnx", "--mutate", "5")
    assert ran.code == 2 and "--mutate chooses golden cases" in ran.err and len(ran.err.splitlines()) == 1
    assert attn_export("to-onnx", "no.such:module", "-o", tmp_path / "a.attn", "--mutate", "-1").code == 2


@pytest.mark.parametrize(
    ("cases", "usual", "text"),
    [
        ({}, 9, "9 of 9 changes noticed"),
        ({}, 7, "7 of 9 changes noticed; no case that was drawn notices more"),
        ({"power-1": "drawn 2"}, 7, "7 of 9 changes noticed, 8 with power-1 (drawn 2)"),
        (
            {"power-1": "a", "power-2": "b", "power-3": "c"},
            7,
            "7 of 9 changes noticed, 8 with power-1 (a), power-2 (b) and power-3 (c)",
        ),
    ],
)
def test_the_line_of_a_graph(cases: dict[str, str], usual: int, text: str) -> None:
    assert str(Power(0, 9, usual, 8, cases)) == text
