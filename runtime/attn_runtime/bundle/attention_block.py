"""One attention block of a graph, as export found it: which nodes it is made of and what shapes it works on.

Recorded in the manifest for every typed graph, so that a device without onnx can tell which blocks its engine fused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..lazy import dataclass


@dataclass(frozen=True)
class AttentionBlock:
    """softmax(Q Kt * scale + mask) V.

    module                 PyTorch module path ("encoder.layers.0.self_attn"); "" when the graph does not tell
    scores, softmax, values  names of the ONNX nodes: the matmul of Q and K, the softmax, the matmul with V; all three
                           are the same node where one operator is the whole block
    operator               "MatMul" for a block written out, else that operator ("Attention", "MultiHeadAttention")
    dtype                  of the scores matmul: "float32", "float16", "bfloat16"
    heads, kv_heads        None where the graph does not tell; 1 where there is no axis of heads
    head_size, value_size  Dk and Dv, in elements; None when dynamic
    query_length, key_length  a number or the name of a dim ("64", "T", "?")
    mask                   "none", "causal", "bool" or "additive"
    joined                 whether the softmax runs over the scores of several tensors of keys: a cache's and a new token's
    """

    module: str
    scores: str
    softmax: str
    values: str
    operator: str
    dtype: str
    heads: int | None
    kv_heads: int | None
    head_size: int | None
    value_size: int | None
    query_length: str
    key_length: str
    mask: str
    joined: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ONNX nodes, without repetition."""
        return tuple(dict.fromkeys((self.scores, self.softmax, self.values)))

    @property
    def label(self) -> str:
        """What a person calls it: the module path, or the softmax node where there is none."""
        return self.module or self.softmax

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AttentionBlock:
        return cls(**data)
