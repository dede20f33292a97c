"""The exporter's table of operators, made once a process.

torch.onnx (2.13) makes it anew for every graph, and reads the source of each of its 500 functions again: 0.3 s a graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch.onnx._internal.exporter import _registration

_NAME = "get_torchlib_ops"


@contextmanager
def kept_table() -> Iterator[None]:
    """While it is open torch.onnx.export takes the functions as they were read at first. Without that table nothing changes."""
    library = getattr(_registration, "onnxscript_apis", None)
    read = getattr(library, _NAME, None)
    if read is None:
        yield
    else:
        with mock.patch.object(library, _NAME, _once(read)):
            yield


@functools.cache
def _once(read: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    return functools.cache(read)
