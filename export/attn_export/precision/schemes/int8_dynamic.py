"""int8 weights per channel, activations in uint8 by the range of each call: for a CPU, without calibration."""

from ._base import NOTHING_NEEDED
from ._quantised import QuantisedScheme

SCHEME = QuantisedScheme(
    name="int8-dynamic",
    type="fp32",
    weights="int8",
    activations="dynamic",
    # As int8: the ranges fit each call, but one scale serves a whole batch.
    default_rtol=5e-2,
    # TensorRT has neither DynamicQuantizeLinear nor MatMulInteger.
    tensorrt=False,
    **NOTHING_NEEDED,
)
