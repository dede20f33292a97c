"""Weights as integers and scales: what they stand for, how much each method loses, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from attn_export.precision.quantised.rounding import ROUNDINGS, Blocks, best_rounding, fp8, quantise
from attn_runtime.errors import AttnError, BundleError, UsageError
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SCHEMES = [(4, 32), (4, 128), (4, None), (8, 32), (8, None)]


def drawn(inputs: int = 256, outputs: int = 40, tokens: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A weight, inputs to calibrate with, and others of the same kind; inputs go together, as activations do."""
    draw = np.random.default_rng(1)
    mix = draw.standard_normal((inputs, inputs)) * np.geomspace(1, 0.03, inputs)[:, None]
    seen, unseen = (draw.standard_normal((n, inputs)) @ mix for n in (tokens, 1000))
    return draw.standard_normal((inputs, outputs)).astype(np.float32), seen, unseen


def moment(x: np.ndarray) -> np.ndarray:
    return x.T @ x / len(x)


def error(x: np.ndarray, w: np.ndarray, blocks: Blocks) -> float:
    return float(np.linalg.norm(x @ (w - blocks.dequantised())) / np.linalg.norm(x @ w))


@pytest.mark.parametrize("method", ROUNDINGS)
@pytest.mark.parametrize(("bits", "block"), SCHEMES)
def test_each_method_of_each_scheme(bits: int, block: int | None, method: str) -> None:
    w, seen, _ = drawn(inputs=200)  # 32 does not divide it, and 128 neither
    blocks = quantise(w, bits, block, method, moment(seen))
    rows = block or 200
    assert blocks.q.dtype == np.int8 and blocks.q.shape == w.shape and blocks.block == rows
    assert blocks.scales.dtype == np.float32 and blocks.scales.shape == (-(-200 // rows), 40)
    assert (blocks.scales > 0).all() and (blocks.scales == blocks.scales.astype(np.float16)).all()
    low, high = {4: (-8, 7), 8: (-127, 127)}[bits]
    assert low <= blocks.q.min() and blocks.q.max() <= high
    assert np.abs(blocks.dequantised() - w).max() < {4: 1.2, 8: 0.1}[bits]


@pytest.mark.parametrize(("bits", "block"), SCHEMES)
def test_gptq_halves_what_is_lost_on_inputs_it_did_not_see(bits: int, block: int | None) -> None:
    w, seen, unseen = drawn()
    nearest, clip, gptq = (error(unseen, w, quantise(w, bits, block, m, moment(seen))) for m in ROUNDINGS)
    assert gptq < 0.6 * nearest
    assert gptq < 0.7 * clip
    if bits == 4:
        assert clip < 0.93 * nearest


@pytest.mark.parametrize("tokens", [4, 16, 64])
def test_a_handful_of_samples_does_no_harm(tokens: int) -> None:
    """Inputs that differ in a few directions, as trained models' do, of which there are fewer samples than inputs."""
    draw = np.random.default_rng(2)
    mix = draw.standard_normal((256, 256)) * np.geomspace(1, 1e-4, 256)[:, None]
    seen, unseen = draw.standard_normal((tokens, 256)) @ mix, draw.standard_normal((1000, 256)) @ mix
    w = draw.standard_normal((256, 40)).astype(np.float32)
    few = quantise(w, 4, 32, "gptq", moment(seen), samples=tokens)
    assert error(unseen, w, few) < 1.01 * error(unseen, w, quantise(w, 4, 32, "clip"))


def test_how_many_samples_there_were_is_heeded() -> None:
    w, seen, unseen = drawn()
    known, unknown = (
        error(unseen, w, quantise(w, 4, 32, "gptq", moment(seen[:64]), samples=samples)) for samples in (64, None)
    )
    assert known < 0.95 * unknown


def test_inputs_of_which_nothing_is_known_leave_what_clip_does() -> None:
    w, _, unseen = drawn()
    gptq = error(unseen, w, quantise(w, 4, 32, "gptq", np.zeros((256, 256))))
    assert gptq == pytest.approx(error(unseen, w, quantise(w, 4, 32, "clip")), rel=0.01)


def test_the_best_rounding_is_the_one_that_loses_least() -> None:
    assert (best_rounding(calibrated=True), best_rounding(calibrated=False)) == ("gptq", "clip")
    w, _, _ = drawn()
    quantise(w, 4, 32, best_rounding(calibrated=False))


@pytest.mark.parametrize(("bits", "block", "inputs"), [(4, 32, 96), (4, 32, 100), (8, 16, 40), (8, None, 40)])
def test_the_numbers_are_those_of_dequantize_linear(bits: int, block: int | None, inputs: int) -> None:
    w, _, _ = drawn(inputs=inputs)
    blocks = quantise(w, bits, block, "clip")
    stored = TensorProto.INT4 if bits == 4 else TensorProto.INT8
    options = {"axis": 0, "block_size": block} if block else {"axis": 1}
    scales = blocks.scales if block else blocks.scales[0]
    node = helper.make_node("DequantizeLinear", ["q", "s"], ["w"], **options)
    # A block at the end that is shorter is written out in full.
    whole = np.pad(blocks.q, ((0, -inputs % (block or 1)), (0, 0)))
    graph = helper.make_graph(
        [node],
        "g",
        [],
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, whole.shape)],
        [helper.make_tensor("q", stored, whole.shape, whole.ravel().tolist()), numpy_helper.from_array(scales, "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    onnx.checker.check_model(model)
    (found,) = ReferenceEvaluator(model).run(None, {})
    np.testing.assert_array_equal(found[:inputs], blocks.dequantised())


@pytest.mark.parametrize("method", ROUNDINGS)
def test_columns_have_nothing_to_do_with_each_other(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    w, seen, unseen = drawn(inputs=96, outputs=7)
    whole = quantise(w, 4, 32, method, moment(seen))
    monkeypatch.setattr("attn_export.precision.quantised.rounding.blocks._AT_A_TIME", 200)  # two columns
    parts = quantise(w, 4, 32, method, moment(seen))
    # A product of other shapes is rounded otherwise, which may tip a weight that lies between two integers.
    assert (whole.q == parts.q).mean() > 0.98
    assert error(unseen, w, parts) == pytest.approx(error(unseen, w, whole), rel=0.02)


@pytest.mark.parametrize("method", ROUNDINGS)
@pytest.mark.parametrize(("bits", "block"), SCHEMES)
def test_zeros_stay_zeros(bits: int, block: int | None, method: str) -> None:
    w, seen, _ = drawn(inputs=64)
    w[:, 3] = 0
    w[:32, 4] = 0
    blocks = quantise(w, bits, block, method, moment(seen))
    assert not blocks.q[:, 3].any() and (blocks.scales[:, 3] == 1).all()
    assert np.isfinite(blocks.dequantised()).all()


@pytest.mark.parametrize("method", ROUNDINGS)
def test_weights_too_small_for_a_scale_become_zeros(method: str) -> None:
    w, seen, _ = drawn(inputs=64)
    blocks = quantise(w * np.float32(1e-9), 4, 32, method, moment(seen))
    assert not blocks.q.any() and (blocks.scales > 0).all()


def test_a_block_longer_than_the_weight_is_a_scale_per_column() -> None:
    w, _, _ = drawn(inputs=24)
    whole, longer = quantise(w, 4, None, "clip"), quantise(w, 4, 128, "clip")
    assert longer.block == whole.block == 24
    np.testing.assert_array_equal(whole.dequantised(), longer.dequantised())


def test_what_was_given_is_left_alone() -> None:
    w, seen, _ = drawn(inputs=40)
    second = moment(seen)
    before = w.copy(), second.copy()
    for method in ROUNDINGS:
        quantise(w, 4, 32, method, second)
    np.testing.assert_array_equal(w, before[0])
    np.testing.assert_array_equal(second, before[1])


GOOD = np.ones((8, 2), np.float32)
MOMENT = np.eye(8)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"w": GOOD[0]}, r"down: float32 \[2\], expected float32 \[K, N\]"),
        ({"w": GOOD.astype(np.float64)}, r"down: float64 \[8, 2\], expected float32"),
        ({"w": GOOD[:0]}, r"down: float32 \[0, 2\], expected"),
        ({"bits": 3}, "down: 3 bits; available: 4, 8"),
        ({"block": 0}, "down: blocks of 0 rows; expected at least 1"),
        ({"method": "gtpq"}, 'unknown rounding "gtpq"; did you mean gptq'),
        ({"second_moment": None}, "down: gptq needs the second moment of its inputs; give calibration data"),
        ({"second_moment": np.eye(7)}, r"down: its second moment is \[7, 7\], expected \[8, 8\]"),
        ({"samples": 0}, "down: the mean of 0 inputs; expected at least 1"),
        ({"second_moment": MOMENT * np.nan}, "down: the second moment of its inputs is not finite"),
        ({"second_moment": MOMENT - 2 * np.diag([1.0] + [0] * 7)}, "down: its second moment has a negative eigenvalue"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_refused(given: dict[str, object], told: str) -> None:
    asked = {"w": GOOD, "bits": 4, "block": 4, "method": "gptq", "second_moment": MOMENT, "name": "down"} | given
    with pytest.raises(UsageError, match=told):
        quantise(**asked)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.nan, "down: 1 of 16 numbers are not finite"),
        (-np.inf, "down: 1 of 16 numbers are not finite"),
        (-65000.0, r"down: \|weight\| up to 6.5e\+04 is beyond float16"),
    ],
)
def test_weights_that_float16_cannot_hold(value: float, told: str) -> None:
    w = GOOD.copy()
    w[3, 1] = value
    for refuse in (lambda: quantise(w, 4, 4, name="down"), lambda: fp8(w, name="down")):
        with pytest.raises(BundleError, match=told) as raised:
            refuse()
        assert isinstance(raised.value, AttnError) and "\n" not in str(raised.value)


def test_rounded_weights_are_numbers_of_float16() -> None:
    """The largest that are taken, and the largest that rounding can make of them."""
    w = np.full((8, 1), 58_000, np.float32)
    w[::2] *= -1
    for method in ROUNDINGS:
        wide = quantise(w, 4, 4, method, MOMENT).dequantised()
        assert np.abs(wide).max() < np.finfo(np.float16).max


def test_fp8() -> None:
    w, _, unseen = drawn()
    w[:, 5] = 0
    blocks = fp8(w)
    wide, scales = blocks.q.astype(np.float32), blocks.scales
    assert blocks.q.dtype.name == "float8_e4m3fn" and blocks.block == 256
    assert scales.shape == (1, 40) and scales.dtype == np.float32
    assert np.isfinite(wide).all(), "a number beyond the largest one is NaN in this type"
    assert (np.abs(wide).max(axis=0) == np.where(np.arange(40) == 5, 0, 448)).all()
    normal = np.abs(w / scales) >= 2.0**-6
    moved = np.abs(blocks.dequantised() - w)
    assert (moved[normal] <= np.abs(w)[normal] * (2.0**-4 + 1e-3)).all()
    assert error(unseen, w, blocks) < 0.04


def test_fp8_of_tiny_weights() -> None:
    """The scale is 1.4 of float16's least number, and rounded down to it: the largest weight is beyond the type, and cut off."""
    least = 2.0**-24
    blocks = fp8(np.full((4, 1), 448 * 1.4 * least, np.float32))
    assert blocks.scales.tolist() == [[least]]
    assert (blocks.q.astype(np.float32) == 448).all()
