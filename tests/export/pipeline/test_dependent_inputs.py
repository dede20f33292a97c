"""A whole export of a model that refuses inputs drawn each by itself, with a function of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from attn_export import ExportOptions, convert, export
from attn_export.verification import verify
from attn_runtime.bundle import Bundle
from attn_runtime.errors import CaptureError, UsageError
from attn_runtime.tasks import describe, info_lines
from support.huggingface.folders import tiny_folder
from support.models.packed_images import DIMS, INPUTS

SOURCE, DRAW = "support.models.packed_images:PackedImages", "support.models.packed_images:draw"


def test_inputs_that_depend_on_one_another(tmp_path: Path) -> None:
    target = tmp_path / "packed.attn"
    with pytest.raises(CaptureError, match=r"PyTorch itself fails at case .* rows, and grid says"):
        export(SOURCE, target, inputs=INPUTS, dims=DIMS)
    assert not target.exists()

    done = export(SOURCE, target, inputs=INPUTS, dims=DIMS, options=ExportOptions(inputs_from=DRAW))
    assert done.worst_error < 1e-5
    bundle = Bundle.open(target)
    assert bundle.manifest["source"]["inputs_from"] == DRAW
    assert f"  inputs depend on one another, drawn by {DRAW}" in list(info_lines(describe(target)))
    rows = set()
    for case in bundle.graph().cases():
        assert case.inputs["grid"].prod(-1).sum() == len(case.inputs["patches"]) == case.sizes["P"]
        rows.add(case.sizes["P"])
    assert len(rows) > 3

    with pytest.raises(UsageError, match=f'drawn by "{DRAW}"; add --inputs-from'):
        verify(target, SOURCE)
    checked = verify(target, SOURCE, inputs_from=DRAW, seed=3)
    assert checked.live and {c.case.sizes["P"] for c in checked.live} - rows
    with pytest.raises(UsageError, match="--download belong to a SOURCE"):
        verify(target, inputs_from=DRAW)


def test_a_plain_file_says_who_drew_its_inputs(tmp_path: Path) -> None:
    target = tmp_path / "packed.onnx"
    export(SOURCE, target, inputs=INPUTS, dims=DIMS, options=ExportOptions(inputs_from=DRAW, skip=["simplify"]))
    properties = {p.key: p.value for p in onnx.load(target).metadata_props}
    assert json.loads(properties["attn_export.source"])["inputs_from"] == DRAW
    with pytest.raises(UsageError, match="add --inputs-from"):
        verify(target, SOURCE)
    assert verify(target, SOURCE, inputs_from=DRAW).live


def test_a_source_that_fits_its_own_inputs_needs_nobody_to_draw_them(tmp_path: Path) -> None:
    """BART's classifier reads the end of a text: of one without an end, which is drawn blindly, neither it nor its graph
    answers."""
    source, target = str(tiny_folder("bart_classifier", tmp_path / "m")), tmp_path / "bart.attn"
    export(source, target)
    bundle = Bundle.open(target)
    assert bundle.manifest["source"]["inputs_from"] == "the fit of the source itself"
    assert bundle.manifest["graphs"]["model"]["sweep"]["sizes"], "which a conversion would draw"
    convert(target, "fp16")
    assert verify(target, source, seed=3).live
