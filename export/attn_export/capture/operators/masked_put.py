"""What is put where a mask is True: `x[mask] = value`, `x[:, mask] += value`, and masked_scatter.

The exporter counts the places that a mask covers, with NonZero, and scatters to them: TensorRT has no NonZero, and the
count is a size that nothing knows of. One value for all places is a Where. Rows of their own for each place, in order,
are gathered by counting along the mask, and then a Where too.

The number of rows must be that of the places, which PyTorch checks and a graph can't: a graph takes the first rows.
"""

from __future__ import annotations

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from .building_blocks import Call, Form, arguments, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    # Names end in "_" where the operator works in place.
    in_place = node.target._schema.name.endswith("_")  # type: ignore[union-attr]
    if "source" in given:
        if value(given["mask"]).dtype != torch.bool:
            return None
        return Call(scattered, (given["self"], given["mask"], given["source"]), {"in_place": in_place})
    # self[:, :, mask]: as many None as there are axes before the mask.
    before = next((n for n, index in enumerate(given["indices"]) if index is not None), None)
    if before is None or any(index is not None for index in given["indices"][before + 1 :]):
        return None
    mask, destination, values = given["indices"][before], value(given["self"]), value(given["values"])
    if value(mask).dtype != torch.bool or value(mask).dim() == 0:
        return None
    # The axis of the places among those of the values, counted from the last.
    behind = destination.dim() - before - value(mask).dim()
    one_for_all = values.dim() <= behind or statically_known_true(values.shape[-behind - 1] == 1)
    if not one_for_all and (before > 0 or values.dim() != behind + 1):
        return None
    options = {"before": before, "one_for_all": one_for_all, "accumulate": given["accumulate"], "in_place": in_place}
    return Call(put, (given["self"], mask, given["values"]), options)


def put(
    destination: torch.Tensor,
    mask: torch.Tensor,
    values: torch.Tensor,
    before: int,
    one_for_all: bool,
    accumulate: bool,
    in_place: bool,
) -> torch.Tensor:
    """destination [*before, *places, *behind], mask [*places]; values [*behind] or less, or [K, *behind] in order.

    `before` is how many axes lie before the mask's.
    """
    behind = destination.dim() - before - mask.dim()
    places = mask.reshape([*mask.shape, *[1] * behind])
    if not one_for_all:
        rows = _in_order(values, mask).reshape([*mask.shape, *values.shape[1:]])
    elif values.dim() > behind:
        # The axis of all places is one; the mask has as many as it has.
        at = values.dim() - behind - 1
        rows = values.reshape([*values.shape[:at], *[1] * mask.dim(), *values.shape[at + 1 :]])
    else:
        rows = values
    answer = torch.where(places, destination + rows if accumulate else rows, destination)
    return destination.copy_(answer) if in_place else answer


def scattered(destination: torch.Tensor, mask: torch.Tensor, source: torch.Tensor, in_place: bool) -> torch.Tensor:
    """`destination.masked_scatter(mask, source)`: where the mask is True, the elements of source in order."""
    shape = torch.broadcast_shapes(destination.shape, mask.shape)
    everywhere = mask.expand(shape)
    answer = torch.where(everywhere, _in_order(source.reshape(-1), everywhere).reshape(shape), destination)
    return destination.copy_(answer) if in_place else answer


def _in_order(rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """rows [K, ...] -> [places, ...]: at the n-th place that is True, row n. What is at the others is any row."""
    # One row more: there may be none, and a graph can't take the first of none.
    rows = torch.cat([rows, rows.new_zeros([1, *rows.shape[1:]])])
    number = mask.reshape(-1).to(torch.int64).cumsum(0) - 1
    return rows.index_select(0, number.clamp(min=0))


FORM = Form(frozenset({"index_put", "index_put_", "masked_scatter", "masked_scatter_"}), _write)
