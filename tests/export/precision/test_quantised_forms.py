"""Quantised precisions of bundles and plain files: what is written answers as PyTorch did, or nothing is written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_export import convert
from attn_export.cli.app import cli
from attn_export.precision import QuantiseOptions, schemes
from attn_export.precision import quantised_forms as forms
from attn_export.precision.calibration import METHODS, Calibration
from attn_runtime import backends
from attn_runtime.bundle.reader import Bundle
from attn_runtime.cli.options import run_cli
from attn_runtime.errors import AttnError, BundleError, OutputError, ParityError, StageError, UsageError
from attn_runtime.ort import cpu_options, make_session
from attn_runtime.tasks.verification import verify
from onnx import TensorProto, numpy_helper
from support.checks.once import once
from support.graphs.next_export import exchanged
from support.quantised.small_net import export_small, spoil

QUANTISED = [name for name in schemes.names() if isinstance(schemes.get(name), schemes.QuantisedScheme)]
_WEIGHTS = {"int8": TensorProto.INT8, "int4": TensorProto.UINT4, "fp8": TensorProto.FLOAT8E4M3FN}

pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fp32 alone; not to be changed."""
    return once(tmp_path_factory, "small-for-quantisation", export_small) / "small.attn"


@pytest.fixture
def small(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "small.attn"))


def state(folder: Path) -> dict[str, bytes]:
    """Every file below, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_there_are_five() -> None:
    assert QUANTISED == ["fp8", "int4-weights", "int8", "int8-dynamic", "int8-weights"]


@pytest.mark.parametrize("name", QUANTISED)
def test_a_bundle_gets_it_and_every_reader_holds_it(name: str, small: Path, tmp_path: Path) -> None:
    scheme = schemes.get(name)
    assert isinstance(scheme, schemes.QuantisedScheme)
    made = convert(small, name)
    graph = Bundle.open(small).graph()
    names = [name, f"{name}-trt"] if scheme.tensorrt else [name]
    assert [m.path for m in made] == [small / f"model.{n}.onnx" for n in names]
    assert set(graph.precisions) == {"fp32", *names}
    entry = graph.precisions[name]
    assert (entry.type, entry.target, entry.half_io) == ("fp32", None, False)
    assert graph.precision_for(name, "tensorrt")[0] == names[-1] and graph.precision_for(name, None)[0] == name

    manifest = json.loads((small / "manifest.json").read_text())["graphs"]["model"]
    told = manifest["precisions"][name]["quantised"]
    assert told["weights"] == scheme.weights and told["activations"] == scheme.activations
    assert told["rounding"] == scheme.rounding and told.get("block") == scheme.block
    assert told["quantised"] + len(told["left"]) == 5 and told["quantised"] >= 2
    assert all(row.keys() == {"node", "operator", "module", "reason"} for row in told["left"])
    assert ("calibration" in told) == scheme.calibrated
    if scheme.calibrated:
        assert told["calibration"]["samples"] == len(graph.golden_for(None)) and told["calibration"]["ranges"]
    for n in names:
        checks = [c for stage in manifest["stages"] if stage["precision"] == n for c in stage["checks"]]
        held_to = "fp16" if n != name and not scheme.calibrated else scheme.held_to
        assert {c["case"] for c in checks} == {g.name for g in graph.golden_for(held_to)}
        assert all(c["passed"] for c in checks) and max(c["max_error"] for c in checks) > 0
    assert 0 < entry.tolerance.rtol <= scheme.default_rtol
    for backend in ("ort", "native"):
        if backends.get(backend).why_unavailable() is None:
            report = verify(small, backend=backend, precision=name)
            assert report.passed and report.backend == backend and report.cases
    session = make_session(entry.file, cpu_options())
    for case in graph.cases(scheme.held_to):
        (got,), (expected,) = session.run(None, case.inputs), case.outputs.values()
        error = np.abs(got - expected).max() / np.abs(expected).max()
        assert 1e-5 < error < scheme.default_rtol, "nothing was rounded, or too much"


@pytest.mark.parametrize("name", ["int4-weights", "int8"])
def test_a_spoilt_weight_shows(name: str, small: Path) -> None:
    convert(small, name, skip=["attention"])
    spoil(small, name)
    for backend in ("ort", "native"):
        if backends.get(backend).why_unavailable() is None:
            with pytest.raises(ParityError, match="do not match"):
                verify(small, backend=backend, precision=name)


def _without_golden(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["graphs"]["model"]["golden"] = []
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def _without_fp32(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    precisions = manifest["graphs"]["model"]["precisions"]
    precisions["fp16"] = {**precisions.pop("fp32"), "type": "fp16"}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


REFUSED: list[tuple[str, dict[str, Any], type[AttnError], str]] = [
    ("int8", {"rtol": 1e-6}, ParityError, r"int8 does not match PyTorch within 1e-06|int8 leaves \d+% of the weights"),
    ("int4-weights", {"rtol": 1e-4}, ParityError, "stay in fp32[.] No int4-weights graph was written"),
    ("int8-weights", {"quantise": QuantiseOptions(max_size=1000)}, ParityError, "--max-size: what holds .* takes .* MB"),
    ("int8", {"quantise": QuantiseOptions(leave=("",))}, UsageError, "--leave : no weight"),
    ("int8", {"quantise": QuantiseOptions(leave=("haed",))}, UsageError, "--leave haed: .*did you mean head[?] available"),
    ("int8", {"quantise": QuantiseOptions(leave=("attention", "head"))}, UsageError, "finds nothing to quantise"),
    ("int8", {"quantise": QuantiseOptions(block=32)}, UsageError, "--block-size 32: int8 has one scale per channel"),
    ("int4-weights", {"quantise": QuantiseOptions(block=48)}, UsageError, "--block-size 48: .* takes other blocks"),
    ("int4-weights", {"quantise": QuantiseOptions(block=128)}, UsageError, "its 64 rows are no whole number of blocks"),
    ("int8-dynamic", {"quantise": QuantiseOptions(calibrate="f")}, UsageError, "--calibrate: .* nothing is calibrated"),
    ("int8", {"quantise": QuantiseOptions(calibrate="none.npz")}, AttnError, "--calibrate none.npz"),
    ("int8", {"quantise": QuantiseOptions(calibration="mean")}, UsageError, "unknown calibration method mean; available"),
    ("fp16", {"quantise": QuantiseOptions(max_size=9)}, UsageError, "--max-size is for a precision that quantises"),
    ("fp16", {"quantise": QuantiseOptions(leave=("head",))}, UsageError, "--leave is for a precision that quantises"),
    ("int8", {"quantise": QuantiseOptions(min_agreement=1.5)}, UsageError, "--min-agreement 1.5: expected a share"),
    ("fp8", {"quantise": QuantiseOptions(rounding="gptq")}, UsageError, "--rounding gptq is for integers"),
    ("int8", {"half_io": True}, UsageError, "--half-io with --precision int8: .* inputs and outputs stay float32"),
    ("int8", {"tensorrt": True}, UsageError, "--tensorrt is for a plain MODEL.onnx"),
    ("int8", {"rtol": 2.0}, UsageError, "--rtol 2: expected a limit over 0 and under 1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "error", "says"), REFUSED)
def test_what_is_refused_changes_nothing(
    name: str, options: dict[str, Any], error: type[AttnError], says: str, small: Path
) -> None:
    before = state(small.parent)
    with pytest.raises(error, match=says) as raised:
        convert(small, name, **options)
    assert "\n" not in str(raised.value) and state(small.parent) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [(_without_golden, "has no golden cases to hold"), (_without_fp32, "has no precision fp32 to convert, only fp16")],
)
def test_a_bundle_that_lacks_what_it_takes(change: Callable[[Path], None], says: str, small: Path) -> None:
    change(small)
    before = state(small.parent)
    with pytest.raises(BundleError, match=says):
        convert(small, "int8")
    assert state(small.parent) == before


def test_the_command_line_ends_with_code_4_and_one_line(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(small.parent)
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: cli, "attn-export", ["convert", str(small), "--precision", "int8", "--max-error", "1e-6", "-q"])
    out, err = capsys.readouterr()
    assert ended.value.code == 4 and not out and err.startswith("error: int8 ") and err.count("\n") == 1
    assert state(small.parent) == before


def test_nodes_and_modules_are_left_as_asked(small: Path) -> None:
    (node, *_) = (n.name for n in onnx.load(small / "model.onnx").graph.node if n.op_type in ("MatMul", "Gemm"))
    convert(small, "int8-weights", skip=["attention"], quantise=QuantiseOptions(leave=("attention.q", node)))
    told = Bundle.open(small).manifest["graphs"]["model"]["precisions"]["int8-weights"]["quantised"]["left"]
    asked = {row["module"]: row["node"] for row in told if row["reason"] == "asked for with --leave"}
    assert "attention.q" in asked or node in asked.values()
    names = {t.name for t in onnx.load(small / "model.int8-weights.onnx").graph.initializer if t.data_type == 1}
    original = {n.name: n for n in onnx.load(small / "model.onnx").graph.node}
    assert asked and all(names & {*original[name].input} for name in asked.values()), "as float weights"


def test_a_share_of_classes_that_must_agree(small: Path) -> None:
    """All of them agree here; that it was asked for is told with the chosen point."""
    (made, *_) = convert(small, "int4-weights", quantise=QuantiseOptions(min_agreement=1.0), skip=["attention"])
    assert [p["agreement"] for p in made.front if p["chosen"]] == [1.0]


def test_another_block_is_in_the_file(small: Path) -> None:
    convert(small, "int4-weights", quantise=QuantiseOptions(block=16), skip=["attention"])
    assert Bundle.open(small).manifest["graphs"]["model"]["precisions"]["int4-weights"]["quantised"]["block"] == 16
    nodes = onnx.load(small / "model.int4-weights.onnx").graph.node
    sizes = {a.i for n in nodes for a in n.attribute if a.name == "block_size"}
    assert sizes == {16}


@pytest.mark.parametrize("tensorrt", [False, True])
def test_a_plain_file(tensorrt: bool, exported: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(exported / "model.onnx", tmp_path / "model.onnx"))
    (made,) = convert(source, "int8-weights", output=tmp_path / "small.onnx", tensorrt=tensorrt)
    assert made.path == tmp_path / "small.onnx" and sorted(p.name for p in tmp_path.iterdir()) == [
        "model.onnx", "small.onnx"
    ]  # fmt: skip
    kinds = {t.data_type for t in onnx.load(made.path).graph.initializer}
    assert (TensorProto.FLOAT16 in kinds) == tensorrt
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(5).standard_normal((2, 8, 64)).astype(np.float32)
    (got,), (want,) = session.run(None, {"x": x}), onnxruntime.InferenceSession(source).run(None, {"x": x})
    assert 0 < np.abs(got - want).max() < 5e-2 * np.abs(want).max()
    with pytest.raises(UsageError, match="is quantised already|already"):
        convert(made.path, "int8", output=tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_a_bundle_that_is_replaced_meanwhile(
    small: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another export, when all but the writing is done: it stays as that export left it."""
    other = Path(shutil.copytree(exported, tmp_path / "other.attn"))
    (other / "manifest.json").write_text(
        (other / "manifest.json").read_text().replace('"name": "small"', '"name": "new"')
    )
    measure = forms.measure_front

    def measure_and_replace(*arguments: Any) -> Any:
        exchanged(small, other)
        return measure(*arguments)

    monkeypatch.setattr(forms, "measure_front", measure_and_replace)
    expected = state(other)
    with pytest.raises(OutputError, match="was replaced by another run meanwhile; it is as that run left it"):
        convert(small, "int8-weights", skip=["attention"])
    assert state(small) == expected


def test_who_ends_it_finds_the_bundle_as_it_was(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(small.parent)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forms, "measure_front", interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert(small, "int8")
    assert state(small.parent) == before
    with pytest.raises(StageError, match="--stage-timeout"):
        convert(small, "int8", stage_seconds=1e-3)
    assert state(small.parent) == before


@pytest.mark.parametrize("method", METHODS)
def test_a_table_of_ranges_of_every_method_lies_in_the_manifest(method: str, small: Path) -> None:
    (made,) = convert(small, "int8", quantise=QuantiseOptions(calibration=method), skip=("attention",), rtol=0.5)
    (entry,) = [g.precisions["int8"].quantised for g in Bundle.open(small).graphs.values()]
    assert entry is not None and made.quantised == entry
    assert Calibration.from_json(entry["calibration"]).method == method


# --- several graphs over one set of weights ------------------------------------------------------------------------


@pytest.fixture
def translator(small_translator: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_translator, tmp_path / "t.attn"))


def weights_of(file: Path, kind: int) -> dict[bytes, str]:
    """The quantised weights of a graph by their bytes."""
    return {
        numpy_helper.to_array(t).tobytes(): t.name for t in onnx.load(file).graph.initializer if t.data_type == kind
    }


def test_a_generator_writes_pytorchs_tokens_from_one_set_of_weights(translator: Path) -> None:
    convert(translator, "int8-dynamic")
    bundle = Bundle.open(translator)
    data = {file.name for graph in bundle.graphs.values() for file in graph.precisions["int8-dynamic"].data}
    assert data == {"weights.data", "weights.int8-dynamic.data"}, "what fp32 has already lies there once"
    for backend in ("ort", "native"):
        if backends.get(backend).why_unavailable() is None:
            report = verify(translator, backend=backend, precision="int8-dynamic")
            assert report.passed and report.generation and all(r.passed for r in report.generation)
    entries = {name: g["precisions"]["int8-dynamic"]["quantised"] for name, g in bundle.manifest["graphs"].items()}
    assert set(entries) == {"encoder", "first", "step"} and all(e["quantised"] for e in entries.values())
    # What first and step have in common is stored once: no byte of it twice.
    first, step = (
        weights_of(bundle.graph(n).precisions["int8-dynamic"].file, TensorProto.INT8) for n in ("first", "step")
    )
    shared = first.keys() & step.keys()
    assert len(shared) >= 8
    stored = (translator / "weights.int8-dynamic.data").read_bytes()
    assert all(stored.count(blob) == 1 for blob in shared)


def test_what_one_graph_leaves_all_of_them_leave(translator: Path) -> None:
    convert(translator, "int8-dynamic", quantise=QuantiseOptions(leave=("model.layers.0.out",)))
    graphs = Bundle.open(translator).manifest["graphs"]
    left = {
        name: [row["reason"] for row in graphs[name]["precisions"]["int8-dynamic"]["quantised"]["left"]]
        for name in ("first", "step")
    }
    assert "asked for with --leave" in left["first"] and "as in graph first" in left["step"]
    # A weight is quantised in both graphs or in none: none of them is stored as both.
    bundle = Bundle.open(translator)
    files = [bundle.graph(name).precisions["int8-dynamic"].file for name in ("first", "step")]
    for file, reasons in zip(files, left.values(), strict=True):
        assert sum(len(blob) >= 4096 for blob in weights_of(file, TensorProto.FLOAT)) == len(reasons)


def test_other_tokens_are_not_written(translator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded answers are changed here, and said to be decided by far."""
    from safetensors.numpy import load_file, save_file

    manifest = json.loads((translator / "manifest.json").read_text())
    for case in manifest["generation"]:
        case["margin"] = 1e3
        stored = load_file(translator / case["outputs"])
        stored["tokens"][0, 1] = (stored["tokens"][0, 1] + 1) % 20 + 3
        save_file({n: np.ascontiguousarray(v) for n, v in stored.items()}, translator / case["outputs"])
        data = (translator / case["outputs"]).read_bytes()
        manifest["files"][case["outputs"]]["sha256"] = hashlib.sha256(data).hexdigest()
    (translator / "manifest.json").write_text(json.dumps(manifest))
    before = state(translator.parent)
    with pytest.raises(ParityError, match="the int8-dynamic bundle does not write what PyTorch writes"):
        convert(translator, "int8-dynamic")
    assert state(translator.parent) == before
