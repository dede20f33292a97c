"""int8, static: weights per channel and activations per tensor, by calibrated ranges, as QuantizeLinear and DequantizeLinear."""

from ._base import NOTHING_NEEDED
from ._quantised import QuantisedScheme

SCHEME = QuantisedScheme(
    name="int8",
    type="fp32",
    weights="int8",
    activations="static",
    operators=("MatMul", "Gemm", "Conv"),
    # One rounding of an activation is 4e-3 of its range, and there are two a product.
    default_rtol=5e-2,
    **NOTHING_NEEDED,
)
