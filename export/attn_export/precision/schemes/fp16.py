"""float16: eleven bits of precision, five of range. What is over 65504 overflows."""

from onnx import TensorProto

from ..typed import WARM_UP, emulate, require_autocast, to_half
from ._half import HalfScheme

SCHEME = HalfScheme(
    name="fp16",
    type="fp16",
    onnx_type=TensorProto.FLOAT16,
    max_finite=65504.0,
    unit_roundoff=2.0**-11,
    # One rounding is 5e-4: what some twenty of them in a row may come to.
    default_rtol=1e-2,
    convert=to_half,
    emulate=emulate,
    require=require_autocast,
    warm_up=WARM_UP,
)
