"""The ONNX Runtime backend: hostile and damaged files, no fallback, no chatter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_runtime.backends import ort, ort_tensorrt
from attn_runtime.device.gpus import find_gpus
from attn_runtime.errors import AttnError, BackendError, BundleError, InputError
from attn_runtime.interface import GraphFile, OpenOptions
from attn_runtime.onnx_file.external_data import check_external_data
from attn_runtime.ort.placement import check_placed, heavy_on_cpu
from attn_runtime.ort.providers import CUDA
from attn_runtime.session import open_session
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from support.graphs.make_graphs import embed, floats, save
from support.graphs.make_hostile_bundles import gemm_model

no_gpu = pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_truncated_file(cut: int, tmp_path: Path) -> None:
    whole = gemm_model().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(whole[:cut])
    with pytest.raises(BundleError, match=r"m\.onnx") as caught:
        open_session(tmp_path / "m.onnx", "cpu")
    assert caught.value.exit_code == 8 and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello world", b"\x89PNG\r\n\x1a\n", b"\xff" * 64, b"\0" * 64], ids=range(4))
def test_file_that_is_no_graph(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"m\.onnx"):
        open_session(tmp_path / "m.onnx", "cpu")


def external(location: str, name: str = "w") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_initializer(file: Path, tensor: onnx.TensorProto) -> None:
    save(file, [helper.make_node("Add", ["x", "w"], ["y"])], [floats("x", 4)], [floats("y", 4)], [tensor])


def in_attribute(file: Path, tensor: onnx.TensorProto) -> None:
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("Add", ["x", "w"], ["y"])]
    save(file, nodes, [floats("x", 4)], [floats("y", 4)])


def in_branch(file: Path, tensor: onnx.TensorProto) -> None:
    branch = helper.make_graph([helper.make_node("Identity", ["w"], ["b"])], "b", [], [floats("b", 4)], [tensor])
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    save(
        file, [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], [condition],
        [floats("y", 4)],
    )  # fmt: skip


def in_function(file: Path, tensor: onnx.TensorProto) -> None:
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("Add", ["x", "w"], ["y"])]
    sets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Shift", ["x"], ["y"], nodes, sets)
    graph = helper.make_graph(
        [helper.make_node("Shift", ["x"], ["y"], domain="own")], "g", [floats("x", 4)], [floats("y", 4)]
    )
    imports = [*sets, helper.make_opsetid("own", 1)]
    file.write_bytes(helper.make_model(graph, opset_imports=imports, functions=[function]).SerializeToString())


def in_function_default(file: Path, tensor: onnx.TensorProto) -> None:
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.append(onnx.AttributeProto(name="value", ref_attr_name="v", type=onnx.AttributeProto.TENSOR))
    sets = [helper.make_opsetid("", 17)]
    default = [helper.make_attribute("v", tensor)]
    function = helper.make_function("own", "Weight", [], ["w"], [constant], sets, attribute_protos=default)
    graph = helper.make_graph([helper.make_node("Weight", [], ["y"], domain="own")], "g", [], [floats("y", 4)])
    imports = [*sets, helper.make_opsetid("own", 1)]
    file.write_bytes(helper.make_model(graph, opset_imports=imports, functions=[function]).SerializeToString())


def in_sparse(file: Path, tensor: onnx.TensorProto) -> None:
    indices = helper.make_tensor("i", TensorProto.INT64, [4], [0, 1, 2, 3])
    sparse = helper.make_sparse_tensor(tensor, indices, [4])
    graph = helper.make_graph([], "g", [], [], sparse_initializer=[sparse])
    file.write_bytes(helper.make_model(graph).SerializeToString())


PLACES = [in_initializer, in_attribute, in_branch, in_function, in_function_default, in_sparse]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["../outside.bin", "inner/../../outside.bin", "link.bin", "ABSOLUTE"])
def test_external_data_outside_is_refused_wherever_it_hides(place: object, location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    outside = tmp_path / "outside.bin"
    np.arange(4, dtype=np.float32).tofile(outside)
    (folder / "link.bin").symlink_to(outside)
    place(folder / "m.onnx", external(str(outside) if location == "ABSOLUTE" else location))
    with pytest.raises(BundleError, match="outside its own folder"):
        open_session(folder / "m.onnx", "cpu")
    with pytest.raises(BundleError, match="outside its own folder"):
        check_external_data(folder / "m.onnx", "test")


@pytest.mark.parametrize("place", PLACES)
def test_external_data_inside_is_found_as_onnx_finds_it(place: object, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    np.arange(4, dtype=np.float32).tofile(tmp_path / "inner" / "w.bin")
    place(tmp_path / "m.onnx", external("inner/w.bin"))
    assert check_external_data(tmp_path / "m.onnx", "test") == [(tmp_path / "inner" / "w.bin").resolve()]


def test_external_data_is_read(tmp_path: Path) -> None:
    np.arange(4, dtype=np.float32).tofile(tmp_path / "w.bin")
    in_initializer(tmp_path / "m.onnx", external("w.bin"))
    got = open_session(tmp_path / "m.onnx", "cpu").run({"x": np.ones(4, np.float32)})
    np.testing.assert_array_equal(got["y"], [1, 2, 3, 4])


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    in_initializer(tmp_path / "m.onnx", external("w.bin"))
    with pytest.raises(BundleError, match=r"w\.bin.*, which is not there"):
        open_session(tmp_path / "m.onnx", "cpu")


def test_the_last_of_two_locations_counts_as_for_protobuf(tmp_path: Path) -> None:
    tensor = external("w.bin")
    tensor.external_data.add(key="location", value="../outside.bin")
    (tmp_path / "w.bin").write_bytes(bytes(16))
    in_initializer(tmp_path / "m.onnx", tensor)
    with pytest.raises(BundleError, match="outside its own folder"):
        check_external_data(tmp_path / "m.onnx", "test")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.builds(
    lambda at, junk: (lambda whole: whole[: at % len(whole)] + junk + whole[at % len(whole) + len(junk) :])(
        gemm_model().SerializeToString()
    ),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=4),
))  # fmt: skip
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "m.onnx"
    file.write_bytes(content)
    try:
        assert isinstance(check_external_data(file, "fuzz"), list)
    except BundleError as error:
        assert "\n" not in str(error)


def test_nested_graphs_do_not_exhaust_the_stack(tmp_path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        size, encoded = len(content), b""
        while size >= 128:
            encoded, size = encoded + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + encoded + bytes([size]) + content

    graph = b""
    for _ in range(3000):  # graph -> node -> attribute -> graph
        graph = field(1, field(5, field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(field(7, graph))
    assert check_external_data(tmp_path / "m.onnx", "deep") == []


def test_tensor_type_that_no_session_takes(tmp_path: Path) -> None:
    text = helper.make_tensor_value_info("t", TensorProto.STRING, ["N"])
    out = helper.make_tensor_value_info("u", TensorProto.STRING, ["N"])
    save(tmp_path / "m.onnx", [helper.make_node("Identity", ["t"], ["u"])], [text], [out])
    with pytest.raises(BackendError, match=r'tensor "t" is a tensor\(string\)'):
        open_session(tmp_path / "m.onnx", "cpu")


# --- no fallback --------------------------------------------------------------------------------------------------


@no_gpu
@pytest.mark.parametrize("backend", [ort, ort_tensorrt])
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_engine_on_cuda_is_never_one_on_the_cpu(backend: object, tmp_path: Path) -> None:
    """Past all checks beforehand: ONNX Runtime itself opens a session on the CPU here, and says so in a warning."""
    with pytest.raises(BackendError) as caught:
        backend.open(GraphFile(embed(tmp_path / "m.onnx"), "file m.onnx"), "cuda", OpenOptions())
    assert caught.value.exit_code == 10


@no_gpu
def test_reason_against_cuda_is_told() -> None:
    assert "driver" in (ort.why_not("cuda") or "")
    assert "take device cuda" in (ort_tensorrt.why_not("cpu") or "")


def test_provider_that_took_no_node_was_not_used() -> None:
    placed = [(CUDA, "MatMul"), (CUDA, "Softmax"), ("CPUExecutionProvider", "Shape")]
    check_placed(placed, "bundle m", "cuda", CUDA)
    check_placed([("TensorrtExecutionProvider", "MatMul"), *placed], "m", "cuda", "TensorrtExecutionProvider")
    check_placed([], "a graph without nodes", "cuda", CUDA)
    with pytest.raises(BackendError, match="bundle m: Tensorrt.* took none of the 3 nodes, which went to CPU.*, CUDA"):
        check_placed(placed, "bundle m", "cuda", "TensorrtExecutionProvider")
    with pytest.raises(BackendError, match="leaves Softmax to the CPU"):
        check_placed([*placed, ("CPUExecutionProvider", "Softmax")], "m", "cuda", CUDA)


def test_missing_library_of_a_gpu_is_not_the_file_s_fault() -> None:
    """What the GPU wheel raises where TensorRT is not installed."""
    error = RuntimeError(
        "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void onnxruntime::python::"
        "RegisterTensorRTPluginsAsCustomOps(PySessionOptions&, const onnxruntime::ProviderOptions&) Please install "
        "TensorRT libraries as mentioned in the GPU requirements page.\n"
    )
    graph = GraphFile(Path("m.onnx"), "file m.onnx")
    found = ort._open_error(error, graph, "cuda")
    assert isinstance(found, BackendError)
    assert str(found).startswith("file m.onnx: ONNX Runtime can't use cuda: Please install TensorRT libraries")
    assert isinstance(ort._open_error(RuntimeError("Protobuf parsing failed."), graph, "cuda"), BundleError)


def test_missing_provider_tells_what_to_install() -> None:
    states = {state.name: state for state in ort.providers()}
    assert states["CPUExecutionProvider"].problem is None
    if not states[CUDA].listed:
        assert "pip install onnxruntime-gpu" in (states[CUDA].problem or "")


def test_work_left_to_the_cpu_is_told_from_shape_arithmetic() -> None:
    cpu, gpu = "CPUExecutionProvider", CUDA
    assert heavy_on_cpu([(gpu, "MatMul"), (cpu, "Shape"), (cpu, "Gather"), (cpu, "Concat")]) == []
    assert heavy_on_cpu([(gpu, "Add"), (cpu, "FusedMatMul"), (cpu, "Conv"), (cpu, "Conv")]) == [
        "Conv",
        "FusedMatMul",
    ]


# --- runs ---------------------------------------------------------------------------------------------------------


def test_value_that_the_graph_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    session = open_session(embed(tmp_path / "embed.onnx"), "cpu")
    with pytest.raises(InputError, match="out of data bounds"):
        session.run({"tokens": np.array([[30]])})
    bound = session.bind({"B": 1, "T": 1})
    bound.inputs["tokens"][...] = 31
    with pytest.raises(InputError, match="out of data bounds"):
        bound()
    assert capfd.readouterr() == ("", "")


def test_failed_opening_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "m.onnx", [helper.make_node("NoSuchOp", ["x"], ["y"])], [floats("x", 1)], [floats("y", 1)])
    with pytest.raises(AttnError, match="NoSuchOp"):
        open_session(tmp_path / "m.onnx", "cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_process_bound_to_one_core_prints_nothing(tmp_path: Path) -> None:
    program = (
        "import os, sys, numpy as np; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from attn_runtime.session import open_session; from attn_runtime.ort.cores import default_threads;"
        "assert default_threads() == (0 if os.cpu_count() == 1 else 1);"
        "s = open_session(sys.argv[1], 'cpu'); print(s.run({'tokens': np.array([[7]])})['e'][0, 0, 0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(embed(tmp_path / "embed.onnx"))], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("7.0", "")
