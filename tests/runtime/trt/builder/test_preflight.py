"""What TensorRT's parser leaves out and no network shows: refused by the graph, and shown on real builds to be ignored.

docs/parsers.md has a row for each of these.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import onnxruntime
import pytest
from attn_runtime.errors import EngineError, UsageError
from attn_runtime.interface import GraphFile, OpenOptions
from attn_runtime.onnx_file import read_graph
from attn_runtime.trt import library
from attn_runtime.trt.builder import network
from attn_runtime.trt.builder.preflight import check_for_provider, check_traps, gpus_with_types, quantised_types
from onnx import TensorProto, parser
from support.tensorrt import quantised_graphs

rtx = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))

ATTENTION = "(float16[2,4,64,64] q, float16[2,4,64,64] k, float16[2,4,64,64] v) => (float16[2,4,64,64] y)"
PADDED = ATTENTION.replace("v)", "v, int64[2] n)", 1)
SEQUENCE = "(float[5,5,4] x, float[1,12,4] w, float[1,12,3] r) => (float[a,b,c,d] y)"
NOISE = "(float[3,4] x) => (float[3,4] y)"
COUNT = "(float a, float b, float c) => (float[n] y)"

WINDOW, LAYOUT = "write the window into the mask", "with a Transpose before and behind"

#: (sides, node without, node with it, opset, what is refused, what to do)
IGNORED = [
    (
        *(ATTENTION, "y = Attention (q, k, v)", "y = Attention <left_window_size = 3> (q, k, v)", 25),
        *("TensorRT ignores its left_window_size of 3", WINDOW),
    ),
    (
        *(ATTENTION, "y = Attention (q, k, v)", "y = Attention <right_window_size = 0> (q, k, v)", 25),
        *("TensorRT ignores its right_window_size of 0", WINDOW),
    ),
    (
        *(PADDED, "y = Attention (q, k, v)", "y = Attention (q, k, v, , , , n)", 24),
        *("TensorRT ignores its nonpad_kv_seqlen", "export again with --opset 22"),
    ),
    (
        *(SEQUENCE, "y = LSTM <hidden_size = 3> (x, w, r)", "y = LSTM <hidden_size = 3, layout = 1> (x, w, r)", 14),
        *("TensorRT ignores its layout of 1", LAYOUT),
    ),
    (
        *(SEQUENCE.replace("12", "9"), "y = GRU <hidden_size = 3> (x, w, r)"),
        *("y = GRU <hidden_size = 3, layout = 1> (x, w, r)", 14, "TensorRT ignores its layout of 1", LAYOUT),
    ),
]


def save(file: Path, sides: str, node: str, opset: int) -> Path:
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> g {sides} {{ [it] {node} }}')
    file.write_bytes(model.SerializeToString())
    return file


@pytest.mark.parametrize(("sides", "without", "node", "opset", "says", "way_out"), IGNORED)
def test_what_is_ignored_is_refused(
    sides: str, without: str, node: str, opset: int, says: str, way_out: str, tmp_path: Path
) -> None:
    check_traps(read_graph(save(tmp_path / "a.onnx", sides, without, opset), "x"), "x")
    with pytest.raises(EngineError) as caught:
        check_traps(read_graph(save(tmp_path / "b.onnx", sides, node, opset), "x"), "file b.onnx")
    assert f'file b.onnx: node "it" ({node.split()[2]}): {says}' in str(caught.value) and way_out in str(caught.value)


@rtx
@pytest.mark.parametrize(("sides", "without", "node", "opset"), [row[:4] for row in IGNORED])
def test_the_engines_are_the_same_with_it_and_without(
    sides: str, without: str, node: str, opset: int, tmp_path: Path
) -> None:
    plans = []
    for number, each in enumerate((without, node)):
        made = network.build(library.load("rtx"), save(tmp_path / f"{number}.onnx", sides, each, opset), [])
        assert made.plan is not None, made.errors
        plans.append(made.plan)
    assert plans[0] == plans[1]


@pytest.mark.parametrize("row", [IGNORED[0], *IGNORED[3:]])
def test_onnx_runtime_refuses_what_it_does_not_know(row: tuple[str, str, str, int, str, str], tmp_path: Path) -> None:
    sides, without, node, opset = row[:4]
    if "window" in node and not onnxruntime.__version__.startswith("1.31."):
        pytest.skip("1.32.0 has windows")
    wide = [(sides.replace("float16", "float"), each) for each in (without, node)]
    files = [save(tmp_path / f"{number}.onnx", *each, opset) for number, each in enumerate(wide)]
    onnxruntime.InferenceSession(files[0], providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="Unrecognized attribute: left_window_size|layout"):
        onnxruntime.InferenceSession(files[1], providers=["CPUExecutionProvider"])


@rtx
def test_engines_do_differ_where_the_attribute_is_read(tmp_path: Path) -> None:
    plans = []
    for number, options in enumerate(("", "<is_causal = 1>")):
        file = save(tmp_path / f"{number}.onnx", ATTENTION, f"y = Attention {options} (q, k, v)", 25)
        plans.append(network.build(library.load("rtx"), file, []).plan)
    assert plans[0] != plans[1]


@pytest.mark.parametrize(
    ("sides", "node", "says"),
    [
        (NOISE, "y = RandomNormalLike <seed = 1.0> (x)", "TensorRT ignores its seed"),
        (NOISE, "y = RandomNormalLike (x)", ""),
        (COUNT, "y = Range (a, b, c)", "TensorRT counts its elements in float32"),
        (COUNT.replace("float ", "int64 "), "y = Range (a, b, c)", ""),
    ],
)
def test_what_may_differ_is_a_note(sides: str, node: str, says: str, tmp_path: Path) -> None:
    notes = check_traps(read_graph(save(tmp_path / "m.onnx", sides, node, 18), "x"), "x").notes
    assert [says in note for note in notes] == ([True] if says else [])


@rtx
def test_the_seed_changes_nothing(tmp_path: Path) -> None:
    plans = set()
    for seed in (1.0, 2.0):
        file = save(tmp_path / f"{seed}.onnx", NOISE, f"y = RandomNormalLike <seed = {seed}> (x)", 18)
        plans.add(network.build(library.load("rtx"), file, []).plan)
    assert len(plans) == 1 and None not in plans


NORM = "(float[2,C,8,8] x, float[C] s, float[C] b) => (float[2,C,8,8] y)"
BLOCKS = "(float[4,6] x) => (float[4,1] y) <int8[6,1] w = {1, 2, 3, 4, 5, 6}, float[2,1] s = {1, 2}>"
UNBLOCKED = "d = DequantizeLinear <axis = 0, block_size = SIZE> (w, s) y = MatMul (x, d)"
MISREAD = [
    (BLOCKS, UNBLOCKED.replace("SIZE", "4"), "the graph says blocks of 4, and TensorRT read 3"),
    (BLOCKS, UNBLOCKED.replace("SIZE", "3"), ""),
    ("(float[n,6] x) => (float[n,6] y)", "y = QuantizeLinear <output_dtype = 3> (x, s)", ""),
    (ATTENTION, "y = Attention <left_window_size = 3> (q, k, v)", "ignores its left_window_size"),
    (NORM.replace("C", "16"), "y = GroupNormalization <num_groups = 1> (x, s, b)", "read an InstanceNormalization"),
    (NORM.replace("C", "16"), "y = GroupNormalization <num_groups = 4> (x, s, b)", ""),
    (NORM.replace("C", "1"), "y = GroupNormalization <num_groups = 1> (x, s, b)", ""),
    (NOISE, "y = ReduceL1 <noop_with_empty_axes = 1> (x)", "the absolute value of each element"),
    (NOISE, "y = ReduceL1 (x)", ""),
    (
        NOISE.replace("float[3,4] y", "uint8[3,4] y"),
        "s = Constant <value = float {0.1}> () y = QuantizeLinear (x, s)",
        "read int8",
    ),
    (ATTENTION, "y = Attention <softcap = 3.0> (q, k, v)", ""),  # does not parse, and so runs on CUDA
]


@pytest.mark.parametrize(("sides", "node", "says"), MISREAD)
def test_inside_onnx_runtime_it_is_told_by_the_graph_alone(sides: str, node: str, says: str, tmp_path: Path) -> None:
    file = save(tmp_path / "m.onnx", sides, node, 25)
    if not says:
        check_for_provider(file, "x")
        return
    with pytest.raises(
        EngineError, match=rf"^x: TensorRT inside ONNX Runtime would answer wrongly.*{says}.*--backend ort"
    ):
        check_for_provider(file, "x")


@pytest.mark.parametrize("backend", ["ort_tensorrt", "ort_rtx"])
def test_both_providers_are_asked_that_way(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"attn_runtime.backends.{backend}")
    for name, answer in (("register", None), ("_offered", object())):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda *_, answer=answer: answer)
    graph = GraphFile(
        save(tmp_path / "m.onnx", ATTENTION, "y = Attention <left_window_size = 3> (q, k, v)", 25), "graph m"
    )
    with pytest.raises(EngineError, match="graph m: TensorRT inside ONNX Runtime would answer wrongly"):
        module.open(graph, "cuda", OpenOptions())


#: What quantisation TensorRT has not: (graph, node, what is refused, what to do)
UNQUANTISABLE = [
    (lambda f: quantised_graphs.with_bias(f, TensorProto.INT32), "bias", "values of int32", "without biases"),
    (lambda f: quantised_graphs.with_activations(f, TensorProto.INT16), "x_q", "values of int16", "quantise to int8"),
    (
        lambda f: quantised_graphs.with_activations(f, TensorProto.FLOAT8E5M2),
        "x_q",
        "of float8_e5m2",
        "quantise to int8",
    ),
    (
        lambda f: quantised_graphs.of_weights(f, TensorProto.UINT4, block=32),
        "w_dq",
        "values of uint4",
        "quantise to int8",
    ),
    (
        lambda f: quantised_graphs.in_integers(f, "MatMulInteger"),
        "product",
        "no MatMulInteger",
        "scales that are known",
    ),
    (
        lambda f: quantised_graphs.in_integers(f, "QLinearMatMul"),
        "product",
        "no QLinearMatMul",
        "scales that are known",
    ),
]


@rtx
@pytest.mark.parametrize(("made", "node", "problem", "way_out"), UNQUANTISABLE)
def test_quantisation_that_the_parser_refuses(made, node, problem, way_out, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Told before the library is asked; and it does refuse."""
    file = made(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match="TensorRT has no|TensorRT dequantises") as caught:
        check_traps(read_graph(file, "x"), "x")
    told = f"{caught.value} {caught.value.details}"
    assert (
        re.search(f'node "{node}".*{problem}', told) and way_out in str(caught.value) and "\n" not in str(caught.value)
    )
    built = network.build(library.load("rtx"), file, [{"x": ((1, 64), (2, 64), (4, 64))}])
    assert built.plan is None and built.problems and not built.misread


@rtx
@pytest.mark.parametrize(
    ("dtype", "block", "named", "lacks", "has"),
    [
        (
            TensorProto.FLOAT8E4M3FN,
            0,
            "fp8 needs compute capability 8.9",
            ["7.5", "8.0", "8.6"],
            ["8.9", "12.0", "12.1"],
        ),
        (TensorProto.INT4, 32, "int4 needs compute capability 8.0", ["7.5"], ["8.0", "8.6", "8.9", "12.0", "12.1"]),
        (TensorProto.INT8, 0, "", [], ["7.5", "8.0", "8.6", "8.9", "12.0", "12.1"]),
    ],
)
def test_types_that_a_gpu_has_not(
    dtype: int, block: int, named: str, lacks: list[str], has: list[str], tmp_path: Path
) -> None:
    """The table is what the library builds for."""
    file = quantised_graphs.of_weights(tmp_path / "m.onnx", dtype, block=block)
    graph, notes = read_graph(file, "x"), list[str]()
    for gpu in [*lacks, *has]:
        options = network.BuildOptions(capabilities=(gpu,))
        built = network.build(library.load("rtx"), file, [{"x": ((1, 64), (2, 64), (4, 64))}], options)
        assert (built.plan is None) == (gpu in lacks)
    assert gpus_with_types(graph, has, True, "x", notes) == tuple(has) and not notes
    if lacks:
        assert gpus_with_types(graph, [*lacks, *has], False, "x", notes) == tuple(has)
        assert notes == [f"{named} or later: the engine is for {', '.join(has)}"]
        with pytest.raises(
            UsageError, match=rf"{named} or later; {', '.join(lacks)} lacks? it; leave it out with --comp"
        ):
            gpus_with_types(graph, [*lacks, has[0]], True, "x", notes)
        with pytest.raises(EngineError, match=f"{named} or later; {lacks[0]} lacks it; compile another precision"):
            gpus_with_types(graph, lacks[:1], False, "x", notes)
        with pytest.raises(UsageError, match=f"{lacks[0]} lacks it; compile another"):
            gpus_with_types(graph, lacks[:1], True, "x", notes)


def test_a_type_that_an_attribute_names(tmp_path: Path) -> None:
    graph = quantised_graphs.Graph()
    made = graph.activations("x", TensorProto.FLOAT8E4M3FN, [0.1] * 64)
    file = graph.save(tmp_path / "m.onnx", made, "batch", 64)
    read = read_graph(file, "x")
    assert set().union(*(quantised_types(node, read) for node in read.nodes)) == {"float8_e4m3fn"}
