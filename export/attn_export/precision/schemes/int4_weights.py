"""int4 weights in blocks of 32, activations in float: for generation, which reads every weight for every token."""

from ._base import NOTHING_NEEDED
from ._quantised import QuantisedScheme

SCHEME = QuantisedScheme(
    name="int4-weights",
    type="fp32",
    weights="int4",
    activations="float",
    block=32,
    operators=("MatMul", "Gemm", "Gather"),
    # A weight has sixteen values: one rounding is a fifteenth of a block's largest.
    default_rtol=1e-1,
    rounding="gptq",
    **NOTHING_NEEDED,
)
