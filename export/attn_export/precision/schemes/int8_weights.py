"""int8 weights per channel, activations in float: a quarter of the bytes, for what is bound by memory."""

from ._base import NOTHING_NEEDED
from ._quantised import QuantisedScheme

SCHEME = QuantisedScheme(
    name="int8-weights",
    type="fp32",
    weights="int8",
    activations="float",
    operators=("MatMul", "Gemm", "Gather"),
    # As int8: a weight is rounded to one of 255 numbers of its column.
    default_rtol=5e-2,
    rounding="gptq",
    **NOTHING_NEEDED,
)
