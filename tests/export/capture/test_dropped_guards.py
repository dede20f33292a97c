"""Guards over several dims, which torch.export drops: each is found, with sizes that break it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from attn_export.capture.dropped_guards import dropped_guards
from attn_export.capture.patches import traced_inputs
from attn_runtime.spec import Dim, TensorSpec

H, W = Dim("H", 3, 9, 60), Dim("W", 3, 8, 60)


class Net(torch.nn.Module):
    def __init__(self, answer: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(x)


def found(answer: Callable[[torch.Tensor], torch.Tensor], h: Dim = H, w: Dim = W) -> dict[str, list[tuple[int, int]]]:
    dims = {axis: torch.export.Dim(str(d.name), min=d.min, max=d.max) for axis, d in enumerate((h, w))}
    program = torch.export.export(Net(answer), (torch.randn(10, 12),), dynamic_shapes={"x": dims})
    branches = dropped_guards(traced_inputs(program), [TensorSpec("x", "float32", (h, w))])
    return {b.guard: [(s["H"], s["W"]) for s in b.sizes] for b in branches}


def test_equal_dims() -> None:
    (sizes,) = found(lambda x: x * 2 if x.shape[0] == x.shape[1] else x).values()
    assert sizes == [(3, 3), (4, 4)]


def test_a_product() -> None:
    guards = found(lambda x: x * 2 if x.shape[0] * x.shape[1] == 391 else x)
    assert [sorted(sizes) for sizes in guards.values()] == [[(17, 23), (23, 17)]]


def test_what_no_size_in_range_breaks_is_no_branch() -> None:
    assert found(lambda x: x * 2 if x.shape[0] * x.shape[1] == 7 else x) == {}


def test_a_net_without_branches_has_none() -> None:
    assert found(lambda x: x.relu()) == {}


@pytest.mark.parametrize("largest", [4000, 100_000])
def test_ranges_too_long_to_try_all(largest: int) -> None:
    h, w = Dim("H", 3, 9, largest), Dim("W", 3, 8, largest)
    (sizes,) = found(lambda x: x * 2 if x.shape[0] == x.shape[1] else x, h, w).values()
    assert sizes[0] == (3, 3)
