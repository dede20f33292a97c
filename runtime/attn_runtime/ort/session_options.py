"""How a session of ONNX Runtime is made, told once: the options, and what is left out on float16 graphs and why."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..files import utf8_path
from ..forks import Gate
from .cores import default_threads
from .providers import CPU

#: Severity of ONNX Runtime's loggers that says nothing: errors are raised, printing them as well would be chatter.
NO_LOG = 4

#: Optimizers that are wrong on float16 graphs on the CPU, in 1.24 to 1.31:
#: NchwcTransformer ends the process (SIGSEGV) on Transpose before MatMul, microsoft/onnxruntime issue 28392.
#: SimplifiedLayerNormFusion and LayerNormFusion read an epsilon of float16 as 1e-5, whatever it is: an RMSNorm of small
#: numbers answered wrongly by a tenth.
BROKEN_ON_FP16 = ("NchwcTransformer", "SimplifiedLayerNormFusion", "LayerNormFusion")

#: Optimizers whose fused operator is slower on the CPU than what it stands for: SkipLayerNormalization of [128, 768] takes 7
#: times as long as Add and LayerNormalization, in 1.31.
SLOW_ON_CPU = ("SkipLayerNormFusion",)

#: Lets it make int8 weights unsigned. A DequantizeLinear per channel that has no zero point gets a single one then, in 1.31.1,
#: and does not run.
_UNSIGNED = "session.x64quantprecision"
#: What it says where two of them read one weight, which 1.31.1 makes unsigned once for each under one name.
_TWICE = "Attempt to replace the existing tensor"

#: What a quantised graph computes is what its file says. Left alone, ONNX Runtime makes DequantizeLinear and MatMul a MatMulNBits
#: that rounds activations to int8 too (level 4; 1 is float32), and on an x86 CPU without VNNI its products of unsigned and signed
#: int8 saturate at 16 bits, unless it may make weights unsigned.
QUANTISED_AS_WRITTEN = {"session.qdq_matmulnbits_accuracy_level": "1", _UNSIGNED: "1"}

#: ONNX Runtime has mutexes of the process's own, which a session takes while it is made.
_OPENING = Gate()

#: What answers of a float16 graph from the CPU do not tell.
CPU_NOTE = "computes fp16 in fp32 between the nodes: an overflow of fp16 would not show"


def cpu_options(
    *,
    threads: int = 0,
    large: bool = False,
    optimizations: bool = True,
    stop_spinning: bool = False,
    share_cores: bool = False,
    data_folder: Path | None = None,
    zero_points: bool = True,
) -> Any:
    """An onnxruntime.SessionOptions; what a GPU needs is added by who opens one.

    threads        that one node may use; 0 takes those of `default_threads`
    large          leaves weights memory-mapped where they lie: prepacking would copy them
    optimizations  False computes every node as the graph has it, and folds no constants, which would copy what it folds
    stop_spinning  threads sleep as soon as a call is over
    share_cores    they sleep between nodes too, and nodes are cut into pieces that get smaller: who has no core holds up nobody
    data_folder    of the external data of a model that is given as bytes
    zero_points    every DequantizeLinear has one, as in all graphs of ours: see _UNSIGNED
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = NO_LOG
    options.intra_op_num_threads = threads or default_threads()
    for key, value in QUANTISED_AS_WRITTEN.items():
        if key == _UNSIGNED and not zero_points:
            continue
        options.add_session_config_entry(key, value)
    if not optimizations:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if large:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if stop_spinning:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if share_cores:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.dynamic_block_base", "4")
    if data_folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(data_folder))
    return options


def left_out(fp16: bool, on_cpu: bool = True) -> list[str]:
    """Names of the optimizers that a session does without."""
    return [*(BROKEN_ON_FP16 if fp16 else ()), *(SLOW_ON_CPU if on_cpu else ())]


def optimizer_options(fp16: bool, large: bool) -> dict[str, str]:
    """What decides, of a session on the CPU, how its graph and weights come out of ONNX Runtime's optimizers."""
    return {
        **QUANTISED_AS_WRITTEN,
        "optimization.disable_specified_optimizers": ";".join(left_out(fp16)),
        "session.disable_prepacking": str(int(large)),
    }


def make_session(
    model: Path | bytes, options: Any, *, fp16: bool = False, providers: Sequence[Any] | None = (CPU,)
) -> Any:
    """An onnxruntime.InferenceSession that never falls back to another provider. `fp16`: a tensor of the graph is float16.

    `providers` None takes those that `options` has, which a list would override. Raises what onnxruntime does.
    """
    import onnxruntime

    names = left_out(fp16, on_cpu=list(providers or ()) == [CPU])
    without = {"disabled_optimizers": names} if names else {}
    chosen = None if providers is None else list(providers)
    with _OPENING, nullcontext(model) if isinstance(model, bytes) else utf8_path(model) as given:
        try:
            session = onnxruntime.InferenceSession(given, options, chosen, enable_fallback=0, **without)
        except Exception as problem:
            if _TWICE not in str(problem):
                raise
            options.add_session_config_entry(_UNSIGNED, "0")
            session = onnxruntime.InferenceSession(given, options, chosen, enable_fallback=0, **without)
    session.disable_fallback()
    return session
