"""fp8, E4M3: weights per channel, activations per tensor by calibrated ranges; for compute capability 8.9 and later."""

from ._base import NOTHING_NEEDED
from ._quantised import QuantisedScheme

SCHEME = QuantisedScheme(
    name="fp8",
    type="fp32",
    weights="fp8",
    activations="static",
    operators=("MatMul", "Gemm", "Conv"),
    # Four bits of precision: one rounding is 6e-2 of the number itself, and not of the range.
    default_rtol=5e-2,
    # ONNX Runtime's CPU has no product of them: it rounds to them and multiplies in fp32, which proves and does not speed up.
    runs_on_cpu=False,
    **NOTHING_NEEDED,
)
