"""A session checks what it is given, once, and hands it on without a copy."""

from __future__ import annotations

import json
import threading
from collections import ChainMap, OrderedDict
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import pytest
import torch
from attn_runtime.backends import ort
from attn_runtime.bundle.reader import Bundle
from attn_runtime.device.gpus import find_gpus
from attn_runtime.device.input_arrays import as_array
from attn_runtime.errors import BackendError, BundleError, InputError, UsageError
from attn_runtime.session import Session, open_session
from attn_runtime.session import session as session_module
from attn_runtime.spec import Dim, TensorSpec, Values
from onnx import TensorProto, helper, numpy_helper
from support.graphs.make_graphs import add, embed, floats, nonzero, save
from support.graphs.make_hostile_bundles import gemm_model

no_gpu = pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")


@pytest.fixture
def gemm(valid_bundle: Path) -> Session:
    return open_session(valid_bundle, "cpu")


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    return numpy_helper.to_array(gemm_model().graph.initializer[0])


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


# --- opening ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_native")
def test_bundle_brings_its_ranges(gemm: Session) -> None:
    assert [str(spec) for spec in gemm.inputs] == ["x: float32[batch=1..4, 16]"]
    assert [str(spec) for spec in gemm.outputs] == ["y: float32[batch=1..4, 10]"]
    assert (gemm.backend, gemm.device, gemm.precision) == ("ort", "cpu", "fp32")
    assert gemm.asset("labels")[3] == "class 3" and gemm.asset("nothing") is None


def test_open_bundle_is_taken_as_it_is(valid_bundle: Path, weight: np.ndarray) -> None:
    x = drawn(2, 16)
    with open_session(Bundle.open(valid_bundle), precision="ext") as session:
        np.testing.assert_allclose(session.run({"x": x})["y"], x @ weight, rtol=1e-5, atol=1e-5)
        assert session.precision == "ext"


def test_plain_file_names_its_dims_and_knows_no_range(tmp_path: Path) -> None:
    session = open_session(add(tmp_path / "add.onnx"), "cpu")
    assert session.inputs[0].dims == (Dim("B", 1, 1, 2**31 - 1), Dim("T", 1, 1, 2**31 - 1))
    np.testing.assert_array_equal(session.run({"a": drawn(2, 3), "b": drawn(2, 3)})["z"], drawn(2, 3) + drawn(2, 3))


def test_plain_file_with_specs_inside(tmp_path: Path) -> None:
    dims = (Dim("B", 1, 2, 4), Dim("T", 1, 8, 16))
    values = Values("uniform", low=-1, high=1)
    record = {
        "inputs": [TensorSpec(name, "float32", dims, unit="volt", values=values).to_json() for name in "ab"],
        "outputs": [TensorSpec("z", "float32", dims).to_json()],
        "assets": {"labels": ["one", "two"]},
    }
    session = open_session(add(tmp_path / "add.onnx", {"attn_export.graph": json.dumps(record)}), "cpu")
    assert session.inputs[1].dims == dims and session.inputs[1].unit == "volt"
    assert session.inputs[1].values == values
    assert session.asset("labels") == ["one", "two"]
    with pytest.raises(InputError, match=r"dim B allows 1\.\.4"):
        session.run({"a": drawn(5, 3), "b": drawn(5, 3)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["inputs"].pop(), "has the inputs a, b, its record says a"),
        (lambda r: r["outputs"][0].update(dtype="float64"), r"its record says z: float64"),
        (lambda r: r["inputs"][0]["dims"].pop(), r"its record says a: float32\[B=1..4\]"),
        (lambda r: r["inputs"][0]["dims"][0].update(opt=9), "expected min <= opt <= max"),
        (lambda r: r["inputs"][0].update(dtype="float31"), "dtype"),
        (lambda r: r["inputs"][0].update(values={"kind": "uniform", "low": 1, "high": 1}), "a: values: got low 1"),
        (lambda r: r["inputs"][0].update(values={"kind": "normal", "mean": 0}), "a: values: got normal with mean"),
        (lambda r: r["inputs"][0].update(values={"kind": "normal", "mean": 0, "std": -1}), "at least 0"),
        (lambda r: r.update(assets={"labels": "no list"}), "asset labels"),
        (lambda r: r.pop("outputs"), "outputs"),
    ],
    ids=[
        "input-missing",
        "dtype",
        "rank",
        "range",
        "dtype-unknown",
        "values-low",
        "values-short",
        "values-std",
        "labels",
        "no-outputs",
    ],
)
def test_record_inside_that_is_not_this_graphs(change: object, says: str, tmp_path: Path) -> None:
    dims = (Dim("B", 1, 2, 4), Dim("T", 1, 8, 16))
    record = {
        "inputs": [TensorSpec(name, "float32", dims).to_json() for name in "ab"],
        "outputs": [TensorSpec("z", "float32", dims).to_json()],
    }
    change(record)
    with pytest.raises(BundleError, match=says):
        open_session(add(tmp_path / "add.onnx", {"attn_export.graph": json.dumps(record)}), "cpu")


def test_baked_dim_that_the_record_calls_dynamic(tmp_path: Path) -> None:
    model = gemm_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    spec = (Dim("batch", 1, 2, 4), Dim.fixed(16)), (Dim("batch", 1, 2, 4), Dim.fixed(10))
    record = {
        "inputs": [TensorSpec("x", "float32", spec[0]).to_json()],
        "outputs": [TensorSpec("y", "float32", spec[1]).to_json()],
    }
    onnx.helper.set_model_props(model, {"attn_export.graph": json.dumps(record)})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"has x: float32\[2, 16\], its record says x: float32\[batch=1\.\.4, 16\]"):
        open_session(tmp_path / "m.onnx", "cpu")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"device": "cudda"}, UsageError, "did you mean cuda"),
        ({"device": "gpu"}, UsageError, "did you mean cuda"),
        ({"device": "cuda:x"}, UsageError, "available: auto, cpu, cuda, cuda:N"),
        ({"backend": "orrt"}, UsageError, "did you mean ort"),
        ({"precision": "fp23"}, UsageError, "did you mean fp32"),
        ({"precision": ""}, UsageError, 'unknown precision ""; available: fp32'),
        ({"graph": "decoder"}, BundleError, "no graph"),
        ({"threads": 0}, UsageError, "expected 1..1024"),
        ({"threads": 100000}, UsageError, "expected 1..1024"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(
    options: dict, error: type[Exception], says: str, valid_bundle: Path
) -> None:
    with pytest.raises(error, match=says):
        open_session(valid_bundle, **options)


def test_plain_file_has_no_precision_to_choose(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no graph or precision"):
        open_session(add(tmp_path / "add.onnx"), precision="fp16")


def test_manifest_is_not_a_graph(valid_bundle: Path) -> None:
    with pytest.raises(BundleError, match="opened by its folder"):
        open_session(valid_bundle / "manifest.json")


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_session(tmp_path / "nothing.onnx")


@pytest.mark.usefixtures("without_native")
@no_gpu
def test_cuda_is_refused_and_auto_says_why_it_was_passed_over(valid_bundle: Path) -> None:
    with pytest.raises(BackendError, match="on cuda") as caught:
        open_session(valid_bundle, "cuda")
    assert caught.value.exit_code == 10
    session = open_session(valid_bundle, "auto")
    assert session.choice == "ort on cpu, fp32" and session.unused_gpu is None
    told = "; ".join(session.passed_over)
    assert told.startswith("trt") and "native on cuda (" in told and "trt on cpu" not in told
    assert told.count("ort on cuda (no NVIDIA driver") == 1 and "replay (only when asked for by name)" in told


@pytest.mark.usefixtures("without_native")
def test_what_has_to_be_named_is_never_chosen(valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "why_unavailable", lambda: "gone; install it")
    with pytest.raises(BackendError, match=r"ort on cpu \(gone; install it\)"):
        open_session(valid_bundle)


# --- run ----------------------------------------------------------------------------------------------------------


def test_every_size_in_range(gemm: Session, weight: np.ndarray) -> None:
    for batch in (1, 2, 3, 4, 1):
        x = drawn(batch, 16)
        np.testing.assert_allclose(gemm.run({"x": x})["y"], x @ weight, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "missing input x"),
        ({"y": drawn(1, 16)}, "unknown input y"),
        ({"x": drawn(1, 16), "mask": drawn(1)}, "unknown input mask"),
        ({"x": drawn(1, 16).astype(np.float64)}, "expected dtype float32"),
        ({"x": drawn(16)}, "expected rank 2"),
        ({"x": drawn(1, 15)}, "axis 1 is fixed at 16"),
        (
            {"x": drawn(5, 16)},
            r'input "x": got float32 \[5, 16\]; dim batch allows 1\.\.4 \(bundle gemm\.attn\)\. '
            r"Re-export with --dim batch=1:2:5\.",
        ),
        ({"x": [[0.0] * 16]}, "got builtins.list; expected a numpy array"),
        ({"x": np.ma.masked_less(drawn(1, 16), 0)}, "masked array"),
        ({"x": None}, "got builtins.NoneType"),
        ([drawn(1, 16)], "expected a mapping"),
        (drawn(1, 16), "expected a mapping"),
    ],
)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_wrong_input_is_told_also_after_right_ones(inputs: object, says: str, warm: bool, gemm: Session) -> None:
    if warm:
        for batch in (1, 2):
            gemm.run({"x": drawn(batch, 16)})
    with pytest.raises(InputError, match=says) as caught:
        gemm.run(inputs)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_one_name_with_two_sizes(tmp_path: Path) -> None:
    session = open_session(add(tmp_path / "add.onnx"), "cpu")
    session.run({"a": drawn(2, 3), "b": drawn(2, 3)})
    session.run({"a": drawn(1, 3), "b": drawn(1, 3)})
    with pytest.raises(InputError, match="dim B is 1 here and 2 in input"):
        session.run({"a": drawn(2, 3), "b": drawn(1, 3)})


def test_scalar_of_another_dtype_after_a_right_one(tmp_path: Path) -> None:
    """A scalar adds no sizes to what is remembered of a call; its dtype must still be looked at."""
    save(tmp_path / "m.onnx", [helper.make_node("Mul", ["x", "s"], ["y"])], [floats("x", "N"), floats("s")],
         [floats("y", "N")])  # fmt: skip
    session = open_session(tmp_path / "m.onnx", "cpu")
    x = drawn(3)
    for _ in range(2):
        np.testing.assert_array_equal(session.run({"x": x, "s": np.float32(2)})["y"], 2 * x)
        np.testing.assert_array_equal(session.run({"s": np.array(2, np.float32), "x": x})["y"], 2 * x)
    for wrong, says in ((np.array(2), "expected dtype float32"), (np.ones(1, np.float32), "expected rank 0")):
        with pytest.raises(InputError, match=says):
            session.run({"x": x, "s": wrong})


def test_sizes_of_other_ranks_are_not_taken_for_those_remembered(tmp_path: Path) -> None:
    """[2, 3] and [4] are good; [2] and [3, 4] give the same row of sizes."""
    nodes = [helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Neg", ["b"], ["z"])]
    sides = [floats("a", "A", "B"), floats("b", "C")], [floats("y", "A", "B"), floats("z", "C")]
    session = open_session(save(tmp_path / "m.onnx", nodes, *sides), "cpu")
    session.run({"a": drawn(2, 3), "b": drawn(4)})
    with pytest.raises(InputError, match=r"expected rank 2"):
        session.run({"a": drawn(2), "b": drawn(3, 4)})


def test_any_mapping_is_taken(gemm: Session, weight: np.ndarray) -> None:
    x = drawn(2, 16)
    for inputs in (MappingProxyType({"x": x}), OrderedDict(x=x), ChainMap({}, {"x": x})):
        for _ in range(2):
            np.testing.assert_allclose(gemm.run(inputs)["y"], x @ weight, rtol=1e-5, atol=1e-5)


def test_several_outputs_come_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Abs", ["x"], ["a"])]
    save(tmp_path / "m.onnx", nodes, [floats("x", "N")], [floats("n", "N"), floats("a", "N")])
    session = open_session(tmp_path / "m.onnx", "cpu")
    got = session.run({"x": drawn(5)})
    assert list(got) == ["n", "a"]
    np.testing.assert_array_equal(got["n"], -drawn(5))
    np.testing.assert_array_equal(got["a"], abs(drawn(5)))


def test_shapes_that_were_good_are_not_checked_again(gemm: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    gemm.run({"x": drawn(2, 16)})
    monkeypatch.setattr(session_module, "check_shapes", lambda *_: pytest.fail("checked again"))
    gemm.run({"x": drawn(2, 16)})
    with pytest.raises(pytest.fail.Exception):
        gemm.run({"x": drawn(3, 16)})


def test_what_is_remembered_is_bounded(gemm: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_MOST_REMEMBERED", 2)
    for batch in (1, 2, 3, 4):
        gemm.run({"x": drawn(batch, 16)})
    assert len(gemm._good) == 2


def test_strided_and_foreign_arrays_are_read_right(gemm: Session, weight: np.ndarray) -> None:
    x = drawn(2, 16)
    gemm.run({"x": x})
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (x.astype(">f4"), np.repeat(x, 2, axis=1)[:, ::2], np.asfortranarray(x), x[::-1][::-1], frozen):
        np.testing.assert_allclose(gemm.run({"x": other})["y"], x @ weight, rtol=1e-5, atol=1e-5)


def test_torch_tensor_is_read_in_place(gemm: Session, weight: np.ndarray) -> None:
    x = torch.from_numpy(drawn(2, 16).copy())
    array = as_array("x", x, "test")
    assert array.ctypes.data == x.data_ptr()
    np.testing.assert_allclose(gemm.run({"x": x})["y"], x.numpy() @ weight, rtol=1e-5, atol=1e-5)
    x.fill_(0)
    assert not array.any() and not gemm.run({"x": x})["y"].any()
    np.testing.assert_allclose(
        gemm.run({"x": torch.from_numpy(drawn(16, 2)).T})["y"], drawn(16, 2).T @ weight, rtol=1e-5, atol=1e-5
    )


class OnGpu:
    """What DLPack shows of a tensor on a GPU."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 1

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("must not be read")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda: torch.zeros(1, 16, requires_grad=True), "use tensor.detach()"),
        (lambda: torch.zeros(1, 16, device="meta"), "torch.Tensor that can't be read in place"),
        (lambda: torch.zeros(1, 16, dtype=torch.bfloat16), "torch.Tensor that can't be read in place"),
        (lambda: torch.zeros(1, 16, dtype=torch.float64), "expected dtype float32"),
        (lambda: torch.zeros(1, 16).to_sparse(), "torch.Tensor that can't be read in place"),
        (OnGpu, "on CUDA device 1; expected CPU memory"),
    ],
    ids=["requires-grad", "meta", "bfloat16", "float64", "sparse", "gpu"],
)
def test_tensor_that_is_not_taken(value: object, says: str, gemm: Session) -> None:
    with pytest.raises(InputError, match=says) as caught:
        gemm.run({"x": value()})
    assert "\n" not in str(caught.value)


def test_sixteen_threads_get_their_own_answers(gemm: Session, weight: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1 + i % 4, 16), dtype=np.float32) for i in range(16)]
    wrong: list[int] = []
    start = threading.Barrier(16)

    def work(number: int) -> None:
        start.wait()
        for _ in range(200):
            got = gemm.run({"x": inputs[number]})["y"]
            if got.shape[0] != len(inputs[number]) or not np.allclose(got, inputs[number] @ weight, atol=1e-4):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- bind ---------------------------------------------------------------------------------------------------------


def test_bound_call_reads_and_fills_its_buffers(gemm: Session, weight: np.ndarray) -> None:
    bound = gemm.bind({"batch": 3})
    x, y = bound.inputs["x"], bound.outputs["y"]
    assert (x.shape, y.shape) == ((3, 16), (3, 10))
    for seed in range(3):
        x[...] = np.random.default_rng(seed).standard_normal((3, 16))
        outputs = bound()
        assert outputs["y"] is y
        np.testing.assert_allclose(y, x @ weight, rtol=1e-5, atol=1e-5)


def test_bound_call_keeps_its_buffers_alive(gemm: Session, weight: np.ndarray) -> None:
    calls = [gemm.bind({"batch": 4}) for _ in range(50)]
    for i, bound in enumerate(calls):
        bound.inputs["x"][...] = i
    for i, bound in enumerate(calls):
        np.testing.assert_allclose(bound()["y"], np.full((4, 16), i, np.float32) @ weight, rtol=1e-4, atol=1e-4)


def test_buffers_can_not_be_replaced(gemm: Session) -> None:
    bound = gemm.bind()
    assert bound.inputs["x"].shape == (2, 16)  # opt
    with pytest.raises(TypeError):
        bound.inputs["x"] = drawn(2, 16)  # type: ignore[index]


def test_an_array_in_the_place_of_a_shape_is_told_in_a_line(gemm: Session) -> None:
    name, *_ = (spec.name for spec in gemm.inputs)
    for value in (np.zeros((64, 64), np.float32), np.zeros(4000, np.int64), np.array(1.5), [[1, 2]], [0] * 4000, "ab"):
        with pytest.raises(UsageError, match=r"expected a dim's size or an input's shape; .*bind\(inputs=") as caught:
            gemm.bind({name: value})
        assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_shapes_to_bind(tmp_path: Path) -> None:
    session = open_session(add(tmp_path / "add.onnx"), "cpu")
    assert session.bind({"B": np.int64(2), "T": 3}).outputs["z"].shape == (2, 3)
    assert session.bind({"a": (2, 5)}).inputs["b"].shape == (2, 5)
    assert session.bind({"a": [2, 5], "b": [2, 5]}).outputs["z"].shape == (2, 5)
    with pytest.raises(InputError, match="dim T is 6 here and 5"):
        session.bind({"a": (2, 5), "b": (2, 6)})
    with pytest.raises(InputError, match="expected rank 2"):
        session.bind({"a": (2, 5, 1)})
    with pytest.raises(UsageError, match='unknown dim "C"'):
        session.bind({"C": 1})
    with pytest.raises(UsageError, match='unknown input "aa"; did you mean a'):
        session.bind({"aa": (1, 2)})
    with pytest.raises(InputError, match="do not fit in memory"):
        session.bind({"B": 2**31 - 1, "T": 2**31 - 1})


def test_bind_out_of_range(gemm: Session) -> None:
    with pytest.raises(InputError, match=r"dim batch allows 1\.\.4"):
        gemm.bind({"batch": 5})


def test_integers_and_their_dtypes_are_bound(tmp_path: Path) -> None:
    bound = open_session(embed(tmp_path / "embed.onnx"), "cpu").bind({"B": 1, "T": 3})
    bound.inputs["tokens"][...] = [[4, 29, 0]]
    np.testing.assert_array_equal(bound()["e"][0, :, 0], [4, 29, 0])


def test_output_of_unknown_rank_is_bound_at_the_rank_it_has(tmp_path: Path) -> None:
    rankless = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    shape = helper.make_tensor_value_info("s", TensorProto.INT64, ["K"])
    save(
        tmp_path / "m.onnx",
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [floats("x", "A", "B"), shape],
        [rankless],
    )
    bound = open_session(tmp_path / "m.onnx", "cpu").bind({"x": (2, 3), "s": (2,)})
    bound.inputs["x"][...] = 1  # and a shape of zeros keeps the input's
    np.testing.assert_array_equal(bound()["y"], np.ones((2, 3)))


def test_shape_that_follows_from_values(tmp_path: Path) -> None:
    session = open_session(nonzero(tmp_path / "nonzero.onnx"), "cpu")
    x = np.array([0, 3, 0, 5], np.float32)
    np.testing.assert_array_equal(session.run({"x": x})["i"], [[1, 3]])
    bound = session.bind({"N": 4})
    bound.inputs["x"][...] = x
    with pytest.raises(InputError, match="Call run instead of bind"):
        bound()


# --- close --------------------------------------------------------------------------------------------------------


def test_closed_session(gemm: Session) -> None:
    bound = gemm.bind()
    with gemm:
        gemm.run({"x": drawn(1, 16)})
    for call in (lambda: gemm.run({"x": drawn(1, 16)}), gemm.bind, bound):
        with pytest.raises(UsageError, match=r"session on bundle gemm\.attn is closed"):
            call()
    gemm.close()


# --- buffers of the caller -----------------------------------------------------------------------------------------


def test_what_one_call_writes_another_reads_in_the_callers_buffers(tmp_path: Path) -> None:
    session = open_session(add(tmp_path / "add.onnx"), "cpu")
    between = session.buffer((2, 3), "float32")
    first = session.bind({"B": 2, "T": 3}, outputs={"z": between})
    second = session.bind(inputs={"a": between, "b": first.inputs["b"]})
    assert first.outputs["z"] is second.inputs["a"] is between and second.inputs["b"] is first.inputs["b"]
    first.inputs["a"][...] = 1
    first.inputs["b"][...] = 10
    first()
    second()
    np.testing.assert_array_equal(second.outputs["z"], np.full((2, 3), 21, np.float32))


def test_a_read_only_input_may_be_bound(tmp_path: Path) -> None:
    fixed = np.full((1, 2), 5, np.float32)
    fixed.flags.writeable = False
    bound = open_session(add(tmp_path / "add.onnx"), "cpu").bind(inputs={"a": fixed})
    assert bound()["z"].tolist() == [[5, 5]]


@pytest.mark.parametrize(
    ("inputs", "outputs", "error", "says"),
    [
        ({"c": np.zeros((2, 3), np.float32)}, {}, UsageError, 'unknown input "c"'),
        ({}, {"y": np.zeros((2, 3), np.float32)}, UsageError, 'unknown output "y"; available: z'),
        (
            {"a": np.zeros((2, 3))},
            {},
            InputError,
            r'input "a": the buffer is float64 \[2, 3\]; expected float32 \[2, 3\]',
        ),
        ({"a": np.zeros((3, 2), np.float32).T}, {}, InputError, "with gaps or read-only"),
        ({"a": np.zeros((2, 4), np.float32)}, {}, InputError, "dim T is 3 here and 4"),
        ({}, {"z": np.zeros((2, 4), np.float32)}, InputError, r'output "z": the buffer is float32 \[2, 4\]; expected'),
        ({}, {"z": np.broadcast_to(np.float32(0), (2, 3))}, InputError, "with gaps or read-only"),
    ],
)
def test_buffers_that_do_not_fit(
    tmp_path: Path, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray], error: type[Exception], says: str
) -> None:
    session = open_session(add(tmp_path / "add.onnx"), "cpu")
    with pytest.raises(error, match=says):
        session.bind({"B": 2, "T": 3}, inputs=inputs, outputs=outputs)
    assert not session.has_device_buffers
    with pytest.raises(UsageError, match="leaves nothing on a device"):
        session.buffer((2,), "float32", on_device=True)
