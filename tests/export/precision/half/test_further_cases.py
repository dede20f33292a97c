"""Half precision at sizes that no golden case has: the declared corners, and those between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from attn_export import ExportOptions, convert, export
from attn_export.parity import swept_cases
from attn_export.precision.conversion import bundle_conversion, workshop
from attn_export.precision.half import further_cases
from attn_export.precision.half.further_cases import FurtherCases, hold, of_bundle
from attn_export.precision.schemes import get
from attn_runtime.bundle import Bundle, GoldenRef
from attn_runtime.tasks import verify

X = "x:float32[B,T,64]"


@pytest.fixture(scope="module")
def mean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cases over 1 MB are stored smaller: the sum that overflows at the declared maximum doesn't at the stored one."""
    target = tmp_path_factory.mktemp("further") / "mean.attn"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attn_export.pipeline.graph_export.MOST_BYTES", 1 << 20)
        source = "support.models.rare_nets:Mean"
        export(source, target, inputs=[X], dims=["B=1", "T=16:64:16384"], options=ExportOptions(sweep=60))
    yield target


def test_a_sum_that_overflows_at_the_declared_maximum_alone_stays_in_fp32(mean: Path) -> None:
    (typed,) = convert(mean, "fp16")
    kept = {n["operator"] for n in typed.fp32_nodes}
    assert "ReduceSum" in kept and any("overflow" in n["reason"] for n in typed.fp32_nodes)
    assert {c.case.name for c in typed.further.declared} >= {"max-declared"}
    assert typed.further.asked and all(c.difference.passed for c in typed.further.checks)
    stage = Bundle.open(mean).manifest["graphs"]["model"]["stages"][-1]
    assert {"sizes": {"B": 1, "T": 16384}, "case": "max-declared"}.items() <= max(
        stage["checks"], key=lambda c: c["sizes"]["T"]
    ).items()
    assert verify(mean, "ort", "cpu", precision="fp16").passed


def test_without_them_it_would_overflow(mean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn_export.precision.conversion.of_bundle", lambda *_: FurtherCases())
    (typed,) = convert(mean, "fp16")
    assert "ReduceSum" not in {n["operator"] for n in typed.fp32_nodes}
    opened, scheme = Bundle.open(mean), get("fp16")
    with workshop(600, scheme) as (work, isolated):
        conversion = bundle_conversion(opened, "model", scheme, False, None, work, isolated)
        emulated = work / "emulated.onnx"
        onnx.save(scheme.emulate(onnx.load(typed.path), True), emulated)
        found = hold(conversion, emulated, of_bundle(opened, opened.graph(), "fp16"), work / "further")
        worst = found.failing[0]
        assert worst.name == "max-declared" and worst.inputs.exists() and worst.outputs.exists()


def test_what_an_example_does_not_store_can_not_be_drawn_again(mean: Path) -> None:
    bundle = Bundle.open(mean)
    graph = bundle.graph()
    large = next(ref for ref in graph.golden if ref.name == "max")
    example = GoldenRef(**{**vars(large), "name": "example"})
    cases = of_bundle(bundle, replace(graph, golden=(example,)), "fp16")
    assert cases.not_drawn == ("example",) and cases.declared == ()


def test_inputs_of_a_users_function_are_not_drawn_without_it(mean: Path) -> None:
    bundle = Bundle.open(mean)
    bundle.manifest["source"]["inputs_from"] = "rows:draw"
    cases = of_bundle(bundle, bundle.graph(), "fp16")
    assert cases.declared == cases.swept == () and "the sizes between" in cases.not_drawn


def test_a_sweep_is_read_as_it_was_written() -> None:
    told = {"seed": 1000, "dims": ["B", "T"], "sizes": [[1, 5], [2, 9]]}
    assert swept_cases(told) == (("size 1x5", {"B": 1, "T": 5}, 1000), ("size 2x9", {"B": 2, "T": 9}, 1001))
    assert swept_cases(None) == ()


def test_the_sizes_between_end_with_the_time_there_is(mean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(further_cases, "SECONDS", -1.0)
    (typed,) = convert(mean, "fp16")
    assert typed.further.asked == 0 and typed.further.declared
