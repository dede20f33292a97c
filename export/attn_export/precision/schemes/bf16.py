"""bfloat16: float32's range with eight bits of precision. Nothing overflows; what is subtracted drifts."""

from onnx import TensorProto

from ..typed import WARM_UP, emulate, require_autocast, to_half
from ._half import HalfScheme

SCHEME = HalfScheme(
    name="bf16",
    type="bf16",
    onnx_type=TensorProto.BFLOAT16,
    max_finite=3.3895313892515355e38,
    unit_roundoff=2.0**-8,
    # Three bits fewer than float16, at the same depth of arithmetic.
    default_rtol=8e-2,
    convert=to_half,
    emulate=emulate,
    require=require_autocast,
    warm_up=WARM_UP,
    runs_on_cpu=False,
    half_io=False,
    no_half_io="numpy has no bfloat16",
)
