"""cond-aliases: torch.cond gets operands that share no memory.

torch.cond refuses operands that are views of one tensor, such as q, k and v from one `chunk`. All but the first of
each such group are cloned; the clone leaves no node in the ONNX graph. Tensors that a branch takes from its closure
are not reached: pass them as operands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree

from ._patch import Effect, Patch, Tally, counted
from ._replace import replaced


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    tally = Tally()

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()) -> Any:
            # A cond inside a cond is traced by dynamo, where storages can't be asked for.
            if not torch.compiler.is_dynamo_compiling():
                operands = _apart(operands, tally)
            return original(pred, true_fn, false_fn, operands)

        return cond

    with replaced(torch, "cond", wrap, module, torch.ops.higher_order.cond):
        yield (
            lambda: (
                f"cloned {counted(tally.total, 'torch.cond operand')} that shared memory with another"
                if tally
                else None
            )
        )


def _apart(operands: Any, tally: Tally) -> Any:
    seen: set[StorageWeakRef] = set()

    def own(operand: Any) -> Any:
        if not isinstance(operand, torch.Tensor):
            return operand
        storage = StorageWeakRef(operand.untyped_storage())
        if storage in seen:
            tally.note("operand")
            return operand.clone()
        seen.add(storage)
        return operand

    return pytree.tree_map(own, operands)


PATCH = Patch("cond-aliases", _enter)
