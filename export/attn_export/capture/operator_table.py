"""The exporter's table of operators, and PyTorch's operators that are made of others: gathered once, not once a graph.

torch.onnx (2.13) makes the table anew for every graph, and reads and types each of its 500 functions again: 0.4 s a graph.
torch.export (2.13) asks the dispatcher for all operators again for each of two dozen namespaces, twice a graph: 0.1 s.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from torch._export import utils
from torch.onnx._internal.exporter import _registration

_TABLE, _OPERATORS = "from_torchlib", "_materialize_cpp_cia_ops"


@contextmanager
def kept_table() -> Iterator[None]:
    """While it is open torch.onnx.export takes the functions as they were read at first, and the operators as they are now.

    Where PyTorch has those functions no more, nothing changes.
    """
    table = getattr(_registration, "ONNXRegistry", None)
    with ExitStack() as stack:
        if read := getattr(table, _TABLE, None):
            stack.enter_context(mock.patch.object(table, _TABLE, staticmethod(_copies(read.__func__, table))))
        if gather := getattr(utils, _OPERATORS, None):
            stack.enter_context(mock.patch.object(utils, _OPERATORS, functools.cache(gather)))
        yield


@functools.cache
def _copies(read: Callable[..., Any], owner: type) -> Callable[..., Any]:
    """A copy of what was read at first, of each opset: the caller may register functions of its own in it."""
    first = functools.cache(functools.partial(read, owner))

    def copied(*args: Any, **kwargs: Any) -> Any:
        made = copy.copy(first(*args, **kwargs))
        made.functions = {operator: list(found) for operator, found in made.functions.items()}
        return made

    return copied
