"""Half precision by what it gives: real exports, each with one thing that float16 can't hold."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_export import ExportOptions, export
from attn_export.console import Console
from attn_export.parity.recorded import check, golden_record
from attn_export.precision.bundle_files import write_precision
from attn_export.precision.conversion import add_precision, bundle_conversion, convert_file, workshop
from attn_export.precision.half import fp32_search as keep
from attn_export.precision.half.typed_graph import TypedGraph, convert_graph
from attn_export.precision.schemes import get
from attn_export.precision.typed.autocast import computes
from attn_export.precision.typed.emulation import emulate
from attn_export.source.resolve import load_source
from attn_runtime.bundle.reader import Bundle
from attn_runtime.compare import Tolerance
from attn_runtime.errors import BundleError, ParityError, UsageError
from attn_runtime.ort.session_options import BROKEN_ON_FP16
from attn_runtime.tasks.verification import verify
from onnx import TensorProto
from safetensors.numpy import load_file, save_file

X = ["x:float32[batch,T,64]"]
DIMS = ["batch=1:2:3", "T=4:12:20"]
Made = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Bundles of the nets in tests/support/models/deep_nets.py, each exported once; never change one, copy it."""
    folder = tmp_path_factory.mktemp("half")

    def make(name: str, inputs: Sequence[str] = X, example: Path | None = None, **options: Any) -> Path:
        target = folder / f"{name}.attn"
        if not target.exists():
            dims = ["batch=2", "T=8"] if name == "Small" else DIMS
            source = load_source(f"support.models.deep_nets:{name}", inputs=inputs, dims=dims, example=example)
            export(source, target, options=ExportOptions(**options))
        return target

    yield make


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows of which one is padding alone, as it comes where batches are filled up."""
    rng = np.random.default_rng(0)
    wanted = np.ones((2, 12), np.int64)
    wanted[0, 7:], wanted[1] = 0, 0
    file = tmp_path_factory.mktemp("example") / "padded.npz"
    np.savez(file, x=rng.standard_normal((2, 12, 64)).astype(np.float32), keep=wanted)
    return file


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal mask, and one that masks everything, as the caller gives them."""
    least = np.finfo(np.float32).min
    mask = np.stack([np.triu(np.full((12, 12), least), 1), np.full((12, 12), least)])
    file = tmp_path_factory.mktemp("example") / "masked.npz"
    np.savez(file, x=np.random.default_rng(0).standard_normal((2, 12, 64)).astype(np.float32), mask=mask)
    return file


def copy(bundle: Path, folder: Path) -> Path:
    return Path(shutil.copytree(bundle, folder / bundle.name))


def twin_error(bundle: Path, typed: Path) -> float:
    """The worst error of a typed graph over all golden cases, of max|reference|; nothing of ours but the twin."""
    session = onnxruntime.InferenceSession(emulate(onnx.load(typed)).SerializeToString())
    worst = 0.0
    for case in Bundle.open(bundle).graph().cases():
        for spec, got in zip(session.get_outputs(), session.run(None, case.inputs), strict=True):
            expected = case.outputs[spec.name]
            assert np.isfinite(got).all()
            worst = max(worst, float(np.abs(got - expected).max() / np.abs(expected).max()))
    return worst


def arithmetic(path: Path) -> int:
    return sum(computes(n) for n in onnx.load(path, load_external_data=False).graph.node)


MASK = [*X, "mask:float32[batch,T,T]"]
KEEP = [*X, "keep:int64[batch,T]<2"]


@pytest.mark.parametrize(
    ("name", "inputs", "example", "place", "reason"),
    [
        ("LargeLogits", X, None, "layers.3.attention", "overflow"),
        # Between its example the mask is drawn: numbers that differ, all beyond the type.
        pytest.param(
            "MaskInput", MASK, "masked", "layers.5.attention", "overflow 3.4e38 > 65504", marks=pytest.mark.full
        ),
        pytest.param("Offset", X, None, "inner", "drift: rounding tensor linear alone", marks=pytest.mark.full),
    ],
)
def test_what_the_plain_conversion_breaks_holds_with_few_nodes_in_fp32(
    made: Made,
    request: pytest.FixtureRequest,
    name: str,
    inputs: list[str],
    example: str | None,
    place: str,
    reason: str,
) -> None:
    bundle = made(name, inputs, request.getfixturevalue(example) if example else None)
    with workshop(120, get("fp16")) as (work, isolated):
        conversion = bundle_conversion(Bundle.open(bundle), "model", get("fp16"), False, None, work, isolated)
        assert keep.plain(conversion).ratio > 1
        typed = convert_graph(conversion, "model", Console(True))
        assert twin_error(bundle, typed.path) < 1e-2
    assert next(k["reason"] for k in typed.fp32_nodes if k["module"] == place).startswith(reason)
    assert typed.share == len(typed.fp32_nodes) / arithmetic(bundle / "model.onnx")
    assert 0 < typed.share <= 0.1
    assert any(line.startswith(f"kept in fp32: {place} ({reason}") for line in typed.fp32_lines)


@pytest.mark.full
@pytest.mark.parametrize(("name", "nodes"), [("LargeActivations", 6), ("LargeLayerNorm", 7)])
def test_norms_that_are_written_out_hold_without_a_search(made: Made, name: str, nodes: int) -> None:
    bundle = made(name)
    with workshop(120, get("fp16")) as (work, isolated):
        conversion = bundle_conversion(Bundle.open(bundle), "model", get("fp16"), False, None, work, isolated)
        all_in_half = replace(conversion, largest={})
        vars(all_in_half)["always_fp32"] = {}
        assert keep.candidate(all_in_half, frozenset(), "all").ratio > 1
        typed = convert_graph(conversion, "model", Console(True))
        assert twin_error(bundle, typed.path) < 3e-3
    assert len(typed.fp32_nodes) == 14 * nodes
    assert typed.fp32_lines == ["kept in fp32: the statistics of norms (first_norm to norm, 14 places)"]


@pytest.mark.full
def test_a_mask_that_never_masks_all_needs_nothing_in_fp32(made: Made) -> None:
    bundle = made("Causal")
    with workshop(120, get("fp16")) as (work, isolated):
        conversion = bundle_conversion(Bundle.open(bundle), "model", get("fp16"), False, None, work, isolated)
        first = keep.start(conversion)
        assert first.cast.in_fp32 == () and first.passed
        typed = convert_graph(conversion, "model", Console(True), first)
        # The graph is as it was converted at once: no search, and no node more for the mask.
        assert typed.fp32_nodes == () and typed.path == first.cast.path
        assert twin_error(bundle, typed.path) < 1e-2


def test_rows_that_are_masked_everywhere_need_nothing_in_fp32(made: Made, padded: Path) -> None:
    bundle = made("Padded", KEEP, padded)
    with workshop(120, get("fp16")) as (work, isolated):
        conversion = bundle_conversion(Bundle.open(bundle), "model", get("fp16"), False, None, work, isolated)
        assert keep.plain(conversion).ratio > 1
        typed = convert_graph(conversion, "model", Console(True))
        assert twin_error(bundle, typed.path) < 1e-2
        # Every layer's sum is the mask where it masks; what masks is told once for all of them.
        graph = onnx.load(typed.path).graph
        assert [n.op_type for n in graph.node].count("LessOrEqual") == 1
        assert sum(n.output[0].endswith("_before_mask") for n in graph.node) == 3
    assert typed.fp32_nodes == ()


def test_the_bundle_tells_what_was_kept_and_why(made: Made, tmp_path: Path) -> None:
    bundle = copy(made("LargeLogits"), tmp_path)
    (typed,) = add_precision(bundle, "fp16", console=Console(True))
    entry = Bundle.open(bundle).graph().precisions["fp16"]
    assert (entry.type, entry.target, entry.half_io) == ("fp16", None, False)
    assert [dict(k) for k in entry.kept] == [dict(k) for k in typed.fp32_nodes]
    assert [(k["operator"], k["module"]) for k in entry.kept] == [
        ("MatMul", "layers.3.attention"),
        ("Mul", "layers.3.attention"),
    ]
    assert [b.dtype for b in entry.attention] == ["float16"] * 3 + ["float32"]
    assert verify(bundle, precision="fp16").tolerances["model"].rtol == 1e-2


def test_a_net_that_half_precision_holds_keeps_nothing(made: Made, tmp_path: Path) -> None:
    bundle = copy(made("Small"), tmp_path)
    before = json.loads((bundle / "manifest.json").read_text())
    fp16 = add_precision(bundle, "fp16", skip=["attention"], console=Console(True))
    bf16 = add_precision(bundle, "bf16", skip=["attention"], console=Console(True))
    assert [t.name for t in (*fp16, *bf16)] == ["fp16", "bf16"]
    assert fp16[0].fp32_nodes == bf16[0].fp32_nodes == ()
    # Three bits fewer: eight times the error, more or less.
    assert 2 < bf16[0].worst / fp16[0].worst < 40
    after = json.loads((bundle / "manifest.json").read_text())
    graph, old = after["graphs"]["model"], before["graphs"]["model"]
    assert list(graph["precisions"]) == ["fp32", "fp16", "bf16"]
    assert graph["precisions"]["fp32"] == old["precisions"]["fp32"]
    assert graph["stages"][: len(old["stages"])] == old["stages"]
    assert [(s["name"], s["precision"]) for s in graph["stages"][-2:]] == [("fp16", "fp16"), ("bf16", "bf16")]
    checks = graph["stages"][-2]["checks"]
    assert len(checks) == sum("types" not in golden for golden in old["golden"])
    assert all(c["passed"] and 0 < c["max_error"] <= c["limit"] for c in checks)
    assert "argmax_agreement" not in checks[0]
    assert after["versions"]["nvidia-modelopt"]
    assert {k: after["files"][k] for k in before["files"]} == before["files"]


def test_the_graph_to_convert_has_standard_operators_alone(made: Made) -> None:
    # onnxsim fuses attention of fixed sizes into com.microsoft, which neither AutoCast nor TensorRT takes.
    graph = onnx.load(made("Small") / "model.onnx").graph
    assert {n.domain for n in graph.node} == {""}
    assert "Softmax" in {n.op_type for n in graph.node}


def test_inputs_and_outputs_stay_fp32_unless_asked(made: Made, tmp_path: Path) -> None:
    for half_io, element in ((False, TensorProto.FLOAT), (True, TensorProto.FLOAT16)):
        bundle = copy(made("Small"), tmp_path / str(half_io))
        add_precision(bundle, "fp16", half_io=half_io, console=Console(True))
        graph = onnx.load(bundle / "model.fp16.onnx").graph
        assert [v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)] == [element] * 2
        assert Bundle.open(bundle).graph().precisions["fp16"].half_io is half_io
        assert verify(bundle, precision="fp16").passed


def test_typed_strongly_and_with_module_paths(made: Made, tmp_path: Path) -> None:
    bundle = copy(made("LargeLogits"), tmp_path)
    add_precision(bundle, "fp16", console=Console(True))
    typed = onnx.load(bundle / "model.fp16.onnx")
    onnx.checker.check_model(typed, full_check=True)
    source = onnx.load(bundle / "model.onnx")
    assert [o.version for o in typed.opset_import] == [o.version for o in source.opset_import]
    scopes = {n.output[0]: {p.key: p.value for p in n.metadata_props} for n in source.graph.node}
    told = {n.output[0]: {p.key: p.value for p in n.metadata_props} for n in typed.graph.node}
    assert all(told[name] == known for name, known in scopes.items() if name in told)
    assert sum(name in told for name in scopes) > 0.9 * len(scopes)
    casts = [n for n in typed.graph.node if n.op_type == "Cast" and n.name not in {s.name for s in source.graph.node}]
    assert casts and all("pkg.torch.onnx.name_scopes" in told[c.output[0]] for c in casts)
    weights = [t for t in typed.graph.initializer if t.data_type == TensorProto.FLOAT]
    assert sum(np.prod(t.dims) for t in weights) < 100


def test_when_nothing_helps_the_bundle_stays_as_it_was(made: Made, tmp_path: Path) -> None:
    bundle = copy(made("Chaotic", rtol=5e-3), tmp_path)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in bundle.rglob("*") if p.is_file()}
    with pytest.raises(ParityError) as refused:
        add_precision(bundle, "fp16", console=Console(True))
    message = str(refused.value)
    assert 'fp16 does not match PyTorch: output "output"' in message
    assert "Sin" in message and "deep_nets.py:" in message and "--rtol" in message
    assert "expected" in refused.value.details
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in bundle.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == [bundle.name]


def test_engines_come_along_and_an_old_precision_is_replaced(made: Made, tmp_path: Path) -> None:
    bundle = copy(made("Small"), tmp_path)
    (bundle / "engines").mkdir()
    (bundle / "engines/here.engine").write_bytes(b"plan")
    golden = (bundle / "golden/min.inputs.safetensors").stat().st_ino
    add_precision(bundle, "fp16", half_io=True, console=Console(True))
    assert (bundle / "engines/here.engine").read_bytes() == b"plan"
    assert (bundle / "golden/min.inputs.safetensors").stat().st_ino == golden  # linked, not copied
    assert (bundle / "model.onnx").stat().st_nlink == 1  # onnx opens no data with two names
    add_precision(bundle, "fp16", console=Console(True))
    stages = Bundle.open(bundle).manifest["graphs"]["model"]["stages"]
    assert [s["name"] for s in stages if s["precision"].startswith("fp16")] in (["fp16"], ["fp16", "attention"])
    assert not Bundle.open(bundle).graph().precisions["fp16"].half_io


def test_attention_for_tensorrt_comes_as_a_file_of_its_own(tmp_path: Path) -> None:
    source = load_source("attentionnet", inputs=(), dims=["batch=2"])
    export(source, tmp_path / "net.attn")
    found = add_precision(tmp_path / "net.attn", "fp16", console=Console(True))
    assert [(t.name, t.target) for t in found] == [("fp16", None), ("fp16-trt", "tensorrt")]
    graph = Bundle.open(tmp_path / "net.attn").graph()
    assert graph.precision_for("fp16", "tensorrt")[0] == "fp16-trt"
    plain, rewritten = graph.precisions["fp16"], graph.precisions["fp16-trt"]
    assert [b.heads for b in plain.attention] != [b.heads for b in rewritten.attention]
    assert twin_error(tmp_path / "net.attn", rewritten.file) < 1e-2
    checks = [c for s in graph_stages(tmp_path / "net.attn") for c in s["checks"]]
    assert checks and all(c["argmax_agreement"] == 1.0 for c in checks)
    add_precision(tmp_path / "net.attn", "fp16", skip=["attention"], console=Console(True))
    assert not (tmp_path / "net.attn/model.fp16-trt.onnx").exists()
    assert list(Bundle.open(tmp_path / "net.attn").graph().precisions) == ["fp32", "fp16"]


def graph_stages(bundle: Path) -> list[dict[str, Any]]:
    stages = json.loads((bundle / "manifest.json").read_text())["graphs"]["model"]["stages"]
    return [s for s in stages if s["precision"] != "fp32"]


def test_large_weights_lie_beside_the_graph_once_for_all_its_forms(made: Made, tmp_path: Path) -> None:
    from support.graphs.make_hostile_bundles import make_valid_bundle  # in the folder that `made` has put on the path

    bundle = make_valid_bundle(tmp_path / "b.attn")
    forms = []
    for name in ("fp16", "fp16-trt"):
        path = tmp_path / f"{name}.onnx"
        model = onnx.load(bundle / "model.onnx")
        onnx.save(model, path, save_as_external_data=True, location="typed.data", size_threshold=0)
        typed = TypedGraph(name, path, "fp16", "model", (), 0.0, (), Tolerance(1e-5, 1e-2), (), False, 1, 1, 1.0)
        forms.append(typed)
    write_precision(bundle, Bundle.open(bundle), "fp16", {"model": forms})
    graph = Bundle.open(bundle).graph()
    assert [p.name for p in graph.precisions["fp16"].data] == ["model.fp16.onnx.data"]
    assert graph.precisions["fp16-trt"].data == graph.precisions["fp16"].data
    assert graph.precisions["fp16"].data[0].stat().st_mode == graph.precisions["fp16"].file.stat().st_mode
    for name in ("fp16", "fp16-trt"):
        onnxruntime.InferenceSession(graph.precisions[name].file)
    write_precision(bundle, Bundle.open(bundle), "fp16", {"model": []})
    assert not {"fp16", "fp16-trt"} & set(Bundle.open(bundle).graph().precisions)
    assert not list(bundle.glob("model.fp16*"))


def test_a_wrong_class_shows_in_the_agreement(made: Made) -> None:
    bundle = Bundle.open(made("Small"))
    with workshop(60) as (work, isolated):
        record = replace(golden_record(bundle, bundle.graph(), "fp16"), classifier=True)
        (case, *_) = record.cases
        expected = load_file(case.outputs)["output"]
        negated = work / "negated.safetensors"
        save_file({"output": expected * np.float32([[-1], [1]])}, negated)
        wrong = replace(record, cases=(replace(case, outputs=negated),))
        for checked, agreement in ((record, 1.0), (wrong, 0.5)):
            checks = check(made("Small") / "model.onnx", checked, Tolerance(1e-5, 1e-2), work, isolated)
            assert [c.argmax_agreement for c in checks] == [agreement] * len(checks)


def test_a_plain_file_is_held_against_its_own_fp32_answers(made: Made, tmp_path: Path) -> None:
    source = shutil.copy(made("LargeLogits") / "model.onnx", tmp_path / "model.onnx")
    typed = convert_file(Path(source), tmp_path / "half.onnx", "fp16", console=Console(True))
    assert isinstance(typed, TypedGraph) and typed.path == tmp_path / "half.onnx"
    assert {k["module"] for k in typed.fp32_nodes} == {"layers.3.attention"}
    session = onnxruntime.InferenceSession(tmp_path / "half.onnx", disabled_optimizers=list(BROKEN_ON_FP16))
    x = np.random.default_rng(5).standard_normal((2, 9, 64)).astype(np.float32)
    got, want = session.run(None, {"x": x})[0], onnxruntime.InferenceSession(source).run(None, {"x": x})[0]
    assert np.abs(got - want).max() < 1e-2 * np.abs(want).max()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half.onnx", "model.onnx"]
    stored = {p.key: p.value for p in onnx.load(tmp_path / "half.onnx").metadata_props}
    assert json.loads(stored["attn_export.checked"])["tolerance"]["rtol"] == 1e-2
    with pytest.raises(UsageError, match=r"half\.onnx is in fp16 already"):
        convert_file(tmp_path / "half.onnx", tmp_path / "again.onnx", "fp16", console=Console(True))
    assert not (tmp_path / "again.onnx").exists()


def test_nodes_without_names_are_given_some(made: Made, tmp_path: Path) -> None:
    model = onnx.load(made("LargeLogits") / "model.onnx")
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "bare.onnx")
    typed = convert_file(tmp_path / "bare.onnx", tmp_path / "half.onnx", "fp16", console=Console(True))
    assert {k["operator"] for k in typed.fp32_nodes} == {"MatMul", "Mul"}


@pytest.mark.parametrize("named", [True, False])
def test_weights_with_a_second_hard_link(made: Made, tmp_path: Path, named: bool) -> None:
    """As in every snapshot of a disk that is made of links; onnx refuses to read them."""
    model = onnx.load(made("Small") / "model.onnx")
    for node in model.graph.node if not named else ():
        node.name = ""
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.data")
    os.link(tmp_path / "a.data", tmp_path / "snapshot")
    with pytest.raises(onnx.checker.ValidationError, match="hard link"):
        onnx.load(tmp_path / "a.onnx")
    typed = convert_file(tmp_path / "a.onnx", tmp_path / "half.onnx", "fp16", console=Console(True))
    assert typed.path.is_file() and not list(tmp_path.glob("*.tmp*"))


def test_mistakes_cost_nothing(made: Made, tmp_path: Path) -> None:
    quiet = Console(True)
    with pytest.raises(
        UsageError, match='unknown precision "fp12"; did you mean .*available: bf16, fp16, fp8, int4-weights'
    ):
        add_precision(made("Small"), "fp12", console=quiet)
    with pytest.raises(UsageError, match="numpy has no bfloat16"):
        add_precision(made("Small"), "bf16", half_io=True, console=quiet)
    with pytest.raises(UsageError, match="--rtol 1: expected a limit over 0 and under 1"):
        add_precision(made("Small"), "fp16", rtol=1.0, console=quiet)
    with pytest.raises(UsageError, match="--skip-pass simplify: it would not run anyway"):
        add_precision(made("Small"), "fp16", skip=["simplify"], console=quiet)
    with pytest.raises(BundleError, match=r"none\.attn does not exist"):
        add_precision(tmp_path / "none.attn", "fp16", console=quiet)
    bare = copy(made("Small"), tmp_path)
    manifest = json.loads((bare / "manifest.json").read_text())
    manifest["graphs"]["model"]["golden"] = []
    (bare / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="graph model has no golden cases to hold another precision against"):
        add_precision(bare, "fp16", console=quiet)
    damaged = copy(made("Small"), tmp_path / "damaged")
    with (damaged / "model.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\0\0\0")
    with pytest.raises(BundleError, match=r"sha256 of model\.onnx"):
        add_precision(damaged, "fp16", console=quiet)
