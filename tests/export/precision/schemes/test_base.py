"""A precision scheme is one file: those that are there keep the contract, and one more is found, converted with and verified."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from attn_export import export
from attn_export.parity import generation
from attn_export.precision import schemes
from attn_export.precision.bisect_bundle import bisect
from attn_export.precision.conversion import convert
from attn_export.source.resolve import load_source
from attn_runtime.bundle.reader import Bundle
from attn_runtime.compare import Tolerance
from attn_runtime.errors import UsageError
from attn_runtime.tasks.verification import verify

LOOSE = """
from dataclasses import replace

from attn_export.precision.schemes.fp16 import SCHEME as FP16

SCHEME = replace(FP16, name="fp16-loose", default_rtol=5e-2)
"""


@pytest.fixture
def loose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scheme fp16-loose: one file, in a folder that the schemes are looked for in."""
    folder = tmp_path / "more_schemes"
    folder.mkdir()
    (folder / "fp16_loose.py").write_text(LOOSE)
    monkeypatch.setattr(schemes, "__path__", [*schemes.__path__, str(folder)])
    yield
    sys.modules.pop(f"{schemes.__name__}.fp16_loose", None)
    vars(schemes).pop("fp16_loose", None)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    source = load_source("support.models.deep_nets:Small", inputs=["x:float32[batch,T,64]"], dims=["batch=2", "T=8"])
    export(source, tmp_path / "net.attn")
    return tmp_path / "net.attn"


HALVES = [scheme.name for scheme in schemes.halves()]
QUANTISED = [name for name in schemes.names() if name not in HALVES]


@pytest.mark.parametrize("name", HALVES)
def test_every_scheme_of_half_precision_is_what_its_type_is(name: str) -> None:
    scheme = schemes.get(name)
    assert isinstance(scheme, schemes.HalfScheme) and scheme.name == name
    dtype = onnx.helper.tensor_dtype_to_np_dtype(scheme.onnx_type)
    facts: Any = np.finfo(dtype) if dtype == np.float16 else ml_dtypes.finfo(dtype)
    assert (scheme.max_finite, scheme.unit_roundoff) == (float(facts.max), float(facts.eps) / 2)
    assert scheme.half_io is not bool(scheme.no_half_io), "a scheme without float16 inputs and outputs says why"
    assert scheme.tolerance(None, Tolerance(1e-3, 2e-5)) == Tolerance(1e-2, scheme.default_rtol)
    assert schemes.scheme_of({onnx.TensorProto.FLOAT, scheme.onnx_type}) is schemes.get(scheme.type)


@pytest.mark.parametrize("name", QUANTISED)
def test_every_scheme_that_quantises_says_how(name: str) -> None:
    scheme = schemes.get(name)
    assert isinstance(scheme, schemes.QuantisedScheme) and scheme.name == name
    assert scheme.type == "fp32" and schemes.of_type("fp32") is None, (
        "a runtime that never heard of it opens it as fp32"
    )
    assert scheme.weights in ("int8", "int4", "fp8") and scheme.activations in ("float", "dynamic", "static")
    assert scheme.bits == (4 if scheme.weights == "int4" else 8)
    assert scheme.calibrated is (scheme.activations == "static")
    assert scheme.tolerance(None, Tolerance(1e-3, 2e-5)) == Tolerance(1e-2, scheme.default_rtol)
    scheme.require()


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match='unknown precision "fp61"; did you mean fp16[?] available: bf16, fp16, fp8'):
        schemes.get("fp61")
    with pytest.raises(UsageError, match='unknown precision "_base"'):
        schemes.get("_base")
    assert schemes.scheme_of({onnx.TensorProto.FLOAT}) is None


def test_prompts_are_chosen_by_what_float16_may_be_off() -> None:
    assert schemes.get("fp16").default_rtol == generation._HALF_RTOL


@pytest.mark.usefixtures("loose")
def test_a_scheme_in_a_file_of_its_own_converts_and_is_verified(bundle: Path) -> None:
    assert [scheme.name for scheme in schemes.halves()] == ["bf16", "fp16", "fp16-loose"]
    assert schemes.scheme_of({onnx.TensorProto.FLOAT16}) is schemes.get("fp16"), "a file does not tell who made it"
    strict = convert(bundle, "fp16")
    made = convert(bundle, "fp16-loose")
    assert [t.name.removeprefix("fp16-loose") for t in made] == [t.name.removeprefix("fp16") for t in strict]
    assert made[0].path == bundle / "model.fp16-loose.onnx" and made[0].tolerance.rtol == 5e-2
    graph = Bundle.open(bundle).graph()
    entry = graph.precisions["fp16-loose"]
    assert (entry.type, entry.tolerance.rtol) == ("fp16", 5e-2)
    # Neither scheme's file for TensorRT is taken for the other's.
    assert graph.precision_for("fp16", "tensorrt")[0] == strict[-1].name
    assert graph.precision_for("fp16-loose", "tensorrt")[0] == made[-1].name
    stages = json.loads((bundle / "manifest.json").read_text())["graphs"]["model"]["stages"]
    assert [s["name"] for s in stages if s["precision"] == "fp16-loose"] == ["fp16-loose"]
    assert verify(bundle, precision="fp16-loose").tolerances["model"].rtol == 5e-2
    assert bisect(bundle, "fp16-loose").precision == "fp16-loose"
    assert convert(bundle / "model.onnx", "fp16-loose", output=bundle.with_name("half.onnx"))[0].name == "fp16-loose"


def test_a_runtime_that_never_heard_of_a_scheme_runs_its_graph(bundle: Path, loose: None) -> None:
    convert(bundle, "fp16-loose")
    del sys.modules[f"{schemes.__name__}.fp16_loose"]
    (bundle.parent / "more_schemes/fp16_loose.py").unlink()
    with pytest.raises(UsageError, match='unknown precision "fp16-loose"'):
        schemes.get("fp16-loose")
    assert verify(bundle, precision="fp16-loose").passed
