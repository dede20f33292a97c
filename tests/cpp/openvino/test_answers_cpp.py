"""What OpenVINO answers from C++ is what Python's backend has of it, and what its arithmetic can't is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export import convert
from attn_runtime.bundle import Bundle
from attn_runtime.errors import InputError
from attn_runtime.native import capi
from attn_runtime.ort import usable_cores
from attn_runtime.tasks import verify
from support.checks.once import once
from support.checks.threads import in_threads
from support.machines.cpp_session import Opened, verified
from support.machines.generator_library import Generator
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of
from support.quantised.products import SATURATES
from support.quantised.small_net import export_small, spoil

PARITY_STATUS = 4


def as_python(path: Path, precision: str | None) -> dict[tuple[str, str, str], float]:
    report = verify(path, "openvino", "cpu", precision=precision, check=False)
    return {(case.graph, case.case, d.output): d.max_error for case in report.cases for d in case.differences}


@pytest.mark.parametrize("name", ["gemm", "nonzero", "embed", "sides", "half_norm", "half_transpose"])
def test_golden_cases_come_to_what_they_come_to_in_python(name: str, cpp_bundles: Path) -> None:
    """Tensors without axes and without elements, a shape that follows from values, weights beside the file."""
    path = cpp_bundles / f"{name}.attn"
    graph = next(iter(Bundle.open(path).graphs.values()))
    for precision in graph.precisions:
        status, errors = verified(path, precision=precision.encode())
        assert status == 0, capi.library().attn_last_error()
        assert errors and errors == as_python(path, precision)


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions_are_held_to_their_limits(
    precision: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    if precision == "int8" and SATURATES:
        pytest.skip("int8 products saturate on this CPU, OpenVINO's too, and verify refuses them")
    exported = once(tmp_path_factory, "small-for-quantisation", export_small) / "small.attn"
    path = Path(shutil.copytree(exported, tmp_path / "small.attn"))
    convert(path, precision, skip=["attention"])
    status, errors = verified(path, precision=precision.encode())
    assert status == 0, capi.library().attn_last_error()
    assert errors == as_python(path, precision)
    assert max(errors.values()) > 1e-4, "it was computed in float32"
    full, exact = verified(path, precision=b"fp32")
    assert full == 0 and max(exact.values()) < 1e-5
    if precision == "int8":
        spoil(path, precision)
        assert verified(path, precision=b"int8")[0] == PARITY_STATUS


@pytest.mark.parametrize("beams", [1, 3])
def test_a_generator_writes_what_it_writes_with_onnx_runtime(
    beams: int, cpp_build: Path, cpp_bundles: Path, cpp_environment: dict[str, str]
) -> None:
    inputs = inputs_of(Tiny(), drawn_prompts(Tiny(), [4, 9]))
    written = []
    for named in ("openvino", "ort"):
        library, ort = cpp_build / "libattn_runtime.so", Path(cpp_environment["ATTN_ONNXRUNTIME"])
        with Generator(library, cpp_bundles / "tiny.attn", library=ort, backend=named) as generator:
            written.append([row.tokens for row in generator.generate(inputs, beams=beams, max_length=12, stop=[])])
    assert written[0] == written[1] and all(len(tokens) == 12 for tokens in written[0])


def test_a_wrong_answer_is_found(cpp_bundles: Path) -> None:
    status, errors = verified(cpp_bundles / "wrong.attn", precision=b"fp32")
    assert status == PARITY_STATUS and max(errors.values()) == pytest.approx(0.5, rel=1e-3)


def test_many_threads_get_their_own_answers(products: tuple[Path, Any]) -> None:
    session, wrong = Opened(products[0]), []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).standard_normal((8 + seed, 256)).astype(np.float32)
        y = np.empty((8 + seed, 16), np.float32)
        for _ in range(20):
            y[...] = 0
            session.run({"x": x}, {"y": y})
            if not np.allclose(y, x @ products[1], atol=1e-3):
                wrong.append(seed)

    assert in_threads(6, work) == []
    assert not wrong


def test_threads_may_be_as_many_as_cores_are_free(products: tuple[Path, Any]) -> None:
    session, weights = Opened(products[0], threads=-1), products[1]
    assert ("as cores are free" in session.told("choice")) == (usable_cores().usable > 1)
    x, y, bound = np.ones((2, 256), np.float32), np.zeros((2, 16), np.float32), np.zeros((2, 16), np.float32)
    call = session.bind({"x": x}, {"y": bound})
    for _ in range(3):
        session.run({"x": x}, {"y": y})
        call()
        np.testing.assert_allclose(y, x @ weights, atol=1e-4)
        np.testing.assert_allclose(bound, y, atol=1e-4)


def test_bound_calls_of_more_sizes_than_are_compiled_for_themselves(products: tuple[Path, Any]) -> None:
    session, weights = Opened(products[0]), products[1]
    for rows in (3, 1, 7, 2, 5, 6, 3, 1):
        x, y = np.zeros((rows, 256), np.float32), np.zeros((rows, 16), np.float32)
        call = session.bind({"x": x}, {"y": y})
        for seed in range(2):
            x[...] = np.random.default_rng(seed).standard_normal(x.shape)
            call()
            np.testing.assert_allclose(y, x @ weights, atol=1e-4)
    session.run({"x": x}, {"y": y})  # of any size still
    np.testing.assert_allclose(y, x @ weights, atol=1e-4)


def test_a_bound_output_whose_size_follows_from_values(cpp_bundles: Path) -> None:
    session = Opened(cpp_bundles / "nonzero.attn")
    x, found = np.array([0, 3, 0, 5], np.float32), np.zeros((1, 2), np.int64)
    session.run({"x": x}, {"i": found})
    assert found.tolist() == [[1, 3]]
    zeros = np.zeros(4, np.float32)
    call = session.bind({"x": zeros}, {"i": np.zeros((1, 0), np.int64)})  # what its first run, on zeros, gives
    call()
    zeros[...] = x
    with pytest.raises(InputError, match="shape follows from the values"):
        call()


def test_whole_numbers_that_it_does_not_tell_apart_are_refused(cpp_bundles: Path) -> None:
    session = Opened(cpp_bundles / "sides.attn")
    a, flag = np.ones(1, np.float32), np.array(True)
    outputs = {"double": np.zeros(1, np.float32), "negated": np.zeros((), np.bool_)}
    for many in (np.array([2**24]), np.array([-(2**24), 5])):
        copied = np.zeros(many.shape, np.int64)
        session.run({"a": a, "flag": flag, "many": many}, {**outputs, "copied": copied})
        np.testing.assert_array_equal(copied, many)
    for many in (np.array([2**24 + 1]), np.array([-(2**24) - 1, 5]), np.array([2**40])):
        sides = {"a": a, "flag": flag, "many": many}, {**outputs, "copied": np.zeros(many.shape, np.int64)}
        for run in (session.run, lambda feed, taken: session.bind(feed, taken)()):
            with pytest.raises(InputError, match='"many" has whole numbers from .*; take backend ort'):
                run(*sides)
