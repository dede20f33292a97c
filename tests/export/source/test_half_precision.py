from typing import Any

import pytest
import torch
from attn_export.source import half_precision_named, load_source
from attn_export.source.half_precision import half_weights
from attn_runtime.errors import AttnError, BackendError, CaptureError, InputError, ParityError
from torch import nn

X = ["x:float32[B,4]"]


class Net(nn.Module):
    def __init__(self, half: Any = (), autocast: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.autocast = nn.Linear(4, 4), nn.Linear(4, 4), autocast
        self.register_buffer("ids", torch.arange(3))
        for name, dtype in dict(half).items():
            self.get_submodule(name).to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            return self.second(self.first(x)).float()


def raised(module: nn.Module, problem: AttnError) -> AttnError:
    source = load_source(module, inputs=X, dims=["B=1:2:4"])
    with pytest.raises(type(problem)) as told, half_precision_named(source):
        if module.autocast:
            module(torch.ones(2, 4))
        raise problem
    return told.value


@pytest.mark.parametrize(
    "problem", [ParityError("differs.", "a table"), CaptureError("fails."), BackendError("can't run.")]
)
@pytest.mark.parametrize(
    ("module", "says"),
    [
        (
            Net({"": torch.float16}),
            "in half precision: its parameters are float16. Export it in float32 (return module.float()",
        ),
        (Net({"first": torch.float16, "second": torch.bfloat16}), "its parameters are float16 and bfloat16."),
        (
            Net({"second": torch.bfloat16}),
            "2 of its 4 parameters and buffers are bfloat16 (second.weight is the first)",
        ),
        (Net({"first": torch.float8_e4m3fn}), "has quantised weights (float8_e4m3fn: first.weight)"),
        (Net(autocast=True), "Its forward asks for torch.autocast in bfloat16"),
    ],
)
def test_what_fails_in_half_precision_says_so(module: nn.Module, says: str, problem: AttnError) -> None:
    told = raised(module, problem)
    assert says in str(told) and str(problem) in str(told) and told.details == problem.details


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_fails_in_full_precision_stays_as_it_is(dtype: torch.dtype) -> None:
    problem = ParityError("differs.")
    assert raised(Net({"": dtype}), problem) is problem


def test_what_has_nothing_to_do_with_precision_stays_as_it_is() -> None:
    problem = InputError("no such input.")
    assert raised(Net({"": torch.float16}), problem) is problem


def test_autocast_is_watched_only_meanwhile() -> None:
    original = torch.autocast.__enter__
    source = load_source(Net(), inputs=X, dims=["B=1:2:4"])
    with half_precision_named(source):
        assert torch.autocast.__enter__ is not original
    assert torch.autocast.__enter__ is original


def test_buffers_count_and_whole_numbers_do_not() -> None:
    module = Net()
    module.register_buffer("mask", torch.ones(2).half())
    assert half_weights(module) == (["mask"], 5)
