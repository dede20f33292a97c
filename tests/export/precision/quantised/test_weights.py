"""Weights rounded once: what lies in the file, what is shared, and what can't be rounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from attn_export.precision.quantised.rounding import Blocks, quantise
from attn_export.precision.quantised.sites import Site, find_sites
from attn_export.precision.quantised.weights import Weights, as_matrix, as_stored, has_moments, key, round_weights
from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from support.quantised.products import Array, drawn, model, node, rounded

K, N = 64, 48


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(60) as child:
        yield child


def tied(w: Array) -> onnx.ModelProto:
    nodes = [node("Gather", ["w", "ids"], "rows"), node("Transpose", ["w"], "t"), node("MatMul", ["rows", "t"], "y")]
    return model(nodes, {"ids": ["B"]}, ["y"], {"w": w})


@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [("int8-weights", np.int8, 1), ("int4-weights", np.int8, 2), ("fp8", ml_dtypes.float8_e4m3fn, 1)],
)
def test_what_is_read_is_what_was_rounded(name: str, kind: type, rows: int, tmp_path: Path) -> None:
    w = drawn(K, N, seed=1)
    made = rounded(model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": w}), name, tmp_path)
    blocks = made.weights.of(made.sites[0])
    assert (made.weights.kind, made.weights.block) == (made.scheme.weights, made.scheme.block)
    assert blocks.q.dtype == kind and blocks.q.shape == (K, N)
    assert blocks.scales.shape == (rows, N) and blocks.scales.dtype == np.float32 and blocks.block == K // rows
    step = np.repeat(blocks.scales, K // rows, axis=0)
    error = np.abs(blocks.dequantised() - w)
    assert (error <= (step / 2 + np.abs(w) * 1e-3 if kind is np.int8 else np.abs(w) / 16 + step)).all()
    bits = 4 if name == "int4-weights" else 8
    assert made.weights.bytes_of(made.sites[0]) == K * N * bits // 8 + 4 * rows * N


def test_a_tied_weight_is_rounded_once_and_one_in_two_layouts_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(w: Array, *rest: Any) -> Blocks:
        calls.append(rest[-1])
        return quantise(w, *rest)

    monkeypatch.setattr("attn_export.precision.quantised.weights.quantise", counted)
    made = rounded(tied(drawn(40, K)), "int8-weights", tmp_path)
    assert calls == ["weight w of node node rows"]
    assert len(made.sites) == 2 and len(made.weights.found) == 1
    assert made.weights.of(made.sites[0]) is made.weights.of(made.sites[1])
    nodes = [node("Gemm", ["x", "w"], "h"), node("Gemm", ["h", "w"], "y", transB=1)]
    source = model(nodes, {"x": ["B", K]}, ["y"], {"w": drawn(K, K)})
    made = rounded(source, "int8-weights", tmp_path)
    assert len(made.weights.found) == 2 and len({key(site) for site in made.sites}) == 2
    one, other = (made.weights.of(site) for site in made.sites)
    np.testing.assert_allclose(one.scales[0], np.abs(drawn(K, K)).max(axis=0) / 127, rtol=1e-3)
    np.testing.assert_allclose(other.scales[0], np.abs(drawn(K, K)).max(axis=1) / 127, rtol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["int8-weights", "int4-weights", "fp8"])
def test_a_weight_that_is_not_finite_is_refused_in_one_line(
    value: float, name: str, isolated: ChildProcess, tmp_path: Path
) -> None:
    w = drawn(K, N)
    w[3, 5] = value
    source = tmp_path / "m.onnx"
    onnx.save(model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": w}), source)
    kind, block = {"int8-weights": ("int8", None), "int4-weights": ("int4", 32), "fp8": ("fp8", None)}[name]
    sites, target = find_sites(onnx.load(source), ["MatMul"]), tmp_path / "weights.safetensors"
    with pytest.raises(TaskFailed) as caught:
        round_weights(source, sites, kind, block, "nearest", {}, target, isolated)
    assert "weight w of node node y" in caught.value.reason and "not finite" in caught.value.reason
    assert "\n" not in caught.value.reason and not target.exists()


def test_in_a_child_process_by_moments_and_from_data_beside_the_graph(isolated: ChildProcess, tmp_path: Path) -> None:
    source, target = tmp_path / "m.onnx", tmp_path / "weights.safetensors"
    w, x = drawn(K, N, seed=1), drawn(500, K, seed=2)
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]  # what is lost by one can be made up for by the other
    made = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": w})
    onnx.save(made, source, save_as_external_data=True, location="data", size_threshold=0)
    write_tensors(tmp_path / "x.safetensors", {"moments": x.T @ x / 500, "rows": np.array([500])})
    sites, losses = find_sites(onnx.load(source, load_external_data=False), ["MatMul"]), {}
    for method in ("nearest", "gptq"):
        given_ = {"x": tmp_path / "x.safetensors"}
        found = round_weights(source, sites, "int4", 32, method, given_, target, isolated)
        losses[method] = float(np.square(x @ (found.of(sites[0]).dequantised() - w)).mean())
    assert losses["gptq"] < 0.8 * losses["nearest"]


def test_a_weight_of_another_graph_is_what_it_was_rounded_to_there(isolated: ChildProcess, tmp_path: Path) -> None:
    """By its numbers and its shape, whatever it is called."""
    weights = {"w": drawn(K, K, seed=1), "o": np.zeros((32, 48), np.float32), "p": np.zeros((K, 24), np.float32)}
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    nodes = [node("MatMul", ["x", "w"], "y"), node("MatMul", ["z", "o"], "v")]
    onnx.save(model(nodes, {"x": ["B", K], "z": ["B", 32]}, ["y", "v"], {n: weights[n] for n in "wo"}), first)
    nodes = [node("Gemm", ["x", "other"], "y", transB=1), node("MatMul", ["x", "p"], "v")]
    other = {"other": weights["w"].T.copy(), "p": weights["p"]}
    onnx.save(model(nodes, {"x": ["B", K]}, ["y", "v"], other), second)
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    sites = [find_sites(onnx.load(path), ["MatMul", "Gemm"]) for path in (first, second)]
    found = round_weights(first, sites[0], "int8", None, "nearest", {}, one, isolated)
    arrays = load_file(one)
    arrays[f"{key(sites[0][0])}/q"] = np.full((K, K), 7, np.int8)  # so that it shows where it came from
    write_tensors(one, arrays)
    assert (found.of(sites[0][0]).q != 7).any()
    after = round_weights(second, sites[1], "int8", None, "nearest", {}, two, isolated, [one])
    assert (after.of(sites[1][0]).q == 7).all()
    assert after.of(sites[1][1]).q.shape == (K, 24)
    assert (Weights.read(two, "int8", None).of(sites[1][0]).q == 7).all()


@given(k=st.integers(1, 9), n=st.integers(1, 9), nk=st.booleans(), kernel=st.sampled_from([(), (1,), (2, 3)]))
def test_a_weight_as_a_matrix_and_back(k: int, n: int, nk: bool, kernel: tuple[int, ...]) -> None:
    shape = (n, k, *kernel) if nk or kernel else (k, n)
    nk = nk or bool(kernel)
    k *= int(np.prod(kernel))
    stored = np.arange(k * n, dtype=np.float32).reshape(shape)
    site = Site("node", "Conv" if kernel else "MatMul", "w", nk, "x", shape, k, n)
    matrix = as_matrix(stored, site)
    assert matrix.shape == (k, n)
    np.testing.assert_array_equal(matrix, stored.reshape(n, k).T if nk else stored)
    back = as_stored(matrix, site, shape)
    np.testing.assert_array_equal(back, stored)
    assert back.flags.c_contiguous


def test_whose_activation_is_multiplied_row_by_row() -> None:
    made = [
        has_moments(Site("n", o, "w", True, x, (N, K), K, N)) for o, x in (("Gemm", "x"), ("Conv", "x"), ("Gather", ""))
    ]
    assert made == [True, False, False]
