"""A module that treats a size of 1 on its own: torch.export (2.13) takes every dynamic size for 2 or more while it traces.

`if T > 1` is then no question, leaves no guard, and the graph has the branch for more than 1 without a word. What shows is
a graph that is not PyTorch's where a size is 1; this says why.
"""

from __future__ import annotations

import contextlib

import torch
from attn_runtime.errors import AttnError, CaptureError, ParityError
from attn_runtime.spec import named_dims
from torch.fx.experimental import _config as fx_config

from ..quiet import captured_output
from ..reference import Arrays, Signature, to_torch
from . import dynamic_shape_errors
from .patches import applied
from .tracing import named_shapes


def explained_at_one(problem: ParityError, signature: Signature, example: Arrays) -> AttnError:
    """For a captured graph that is not PyTorch's: a CaptureError that names the line where a size of 1 is another branch,
    where every failed case has such a size; else `problem` itself.

    The module is traced once more, by rules that ask it about 1 too.
    """
    dims = named_dims(signature.inputs)
    names = [n for n, d in dims.items() if d.dynamic and d.min == 1]
    blamed = [n for n in names if problem.sizes and all(sizes.get(n) == 1 for sizes in problem.sizes)]
    if not blamed:
        return problem
    for record in _records(signature, example):
        name = next((n for n in blamed if record.excludes(n, 1) and not record.excludes(n, dims[n].max)), None)
        if name is not None and record.place is not None:
            dim = dims[name]
            return CaptureError(
                f"dim {name} was asked to be 1..{dim.max} but a graph has one branch for all sizes, and that of 1 is "
                f"another at {record.place} ({problem}); ask for --dim {name}=2:{max(dim.opt, 2)}:{dim.max}, or compute the "
                "same for every size there"
            )
    return problem


def _records(signature: Signature, example: Arrays) -> list[dynamic_shape_errors.Record]:
    with (
        captured_output(),
        torch.no_grad(),
        signature.flat() as module,
        applied(module),
        fx_config.patch(backed_size_oblivious=True),  # type: ignore[attr-defined]
        dynamic_shape_errors.watch() as records,
        contextlib.suppress(Exception, SystemExit),  # the conditions have been heard by then
    ):
        args = tuple(to_torch(example).values())
        torch.export.export(module, args, dynamic_shapes=named_shapes(signature.inputs), strict=False)
    return records
