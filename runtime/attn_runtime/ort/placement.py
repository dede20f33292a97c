"""Where ONNX Runtime really put the nodes of a graph. It moves to the CPU what a provider lacks, and says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..errors import BackendError
from .providers import CPU

# The work of a model, as opposed to the arithmetic on shapes that the CUDA provider itself leaves to the CPU.
_HEAVY = re.compile(r"MatMul|Gemm|Conv|Einsum|Attention|LSTM|GRU|RNN|Softmax|Normalization|Pool|Resize")

#: The session option that makes ONNX Runtime keep what `check_on_gpu` asks for.
RECORD = ("session.record_ep_graph_assignment_info", "1")


def check_on_gpu(session: Any, where: str, device: str, provider: str) -> None:
    """BackendError unless `session` runs its work on the GPU through `provider`, or another GPU provider after it.

    ONNX Runtime before 1.24 can't tell where the nodes went; there, only that the provider was opened is known.
    """
    opened = session.get_providers()
    if provider not in opened:
        raise BackendError(
            f"{where}: {provider} was asked for on {device} and ONNX Runtime opened {', '.join(opened)} "
            f"instead. See attn-run doctor."
        )
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return
    placed = [(s.ep_name, n.op_type) for s in session.get_provider_graph_assignment_info() for n in s.get_nodes()]
    check_placed(placed, where, device, provider)


def check_placed(placed: list[tuple[str, str]], where: str, device: str, provider: str) -> None:
    """The same for (provider, operator) pairs, one for each node. A provider that got no node was not used at all."""
    if stray := heavy_on_cpu(placed):
        raise BackendError(
            f"{where}: {device} was asked for, but ONNX Runtime leaves {', '.join(stray)} to the CPU. "
            f"Take device cpu, or export in another precision or opset."
        )
    if placed and all(name != provider for name, _ in placed):
        others = ", ".join(sorted({name for name, _ in placed}))
        raise BackendError(
            f"{where}: {provider} was asked for and took none of the {len(placed)} nodes, which went to {others}. "
            f"Take backend ort."
        )


def heavy_on_cpu(placed: Iterable[tuple[str, str]]) -> list[str]:
    """Of (provider, operator) pairs, the operators that do a model's work and were placed on the CPU; sorted, once."""
    return sorted({op for provider, op in placed if provider == CPU and _HEAVY.search(op)})
