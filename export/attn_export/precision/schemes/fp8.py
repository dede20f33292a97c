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
    # ONNX Runtime's CPU has no product of them: the graph is held as it is written, without the optimizations that move its
    # casts to where it has no kernel.
    runs_on_cpu=False,
    **NOTHING_NEEDED,
)
