"""What of ONNX Runtime is left out of sessions on float16 graphs, and why."""

from __future__ import annotations

#: Names for `disabled_optimizers`. On float16 graphs on the CPU, in 1.24 to 1.31:
#: NchwcTransformer ends the process (SIGSEGV) on Transpose before MatMul, microsoft/onnxruntime issue 28392.
#: SimplifiedLayerNormFusion and LayerNormFusion read an epsilon of float16 as 1e-5, whatever it is: an RMSNorm of small
#: numbers answered wrongly by a tenth.
LEFT_OUT_ON_HALF = ("NchwcTransformer", "SimplifiedLayerNormFusion", "LayerNormFusion")

#: What answers of a float16 graph from the CPU do not tell.
CPU_NOTE = "computes fp16 in fp32 between the nodes: an overflow of fp16 would not show"
