"""Weights that are computed from others: constants while a module is captured, and nothing of it left afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attn_export.capture.patches import applied
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


class Symmetric(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + weight.T


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.scale


class HalfOf:
    """An own hook in the manner of PyTorch's older ones."""

    def __init__(self, name: str) -> None:
        self.name = name

    def compute_weight(self, module: nn.Module) -> torch.Tensor:
        return getattr(module, f"{self.name}_orig") * 0.5

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def linear() -> nn.Linear:
    return nn.Linear(8, 8)


def own(module: nn.Module, name: str, *maps: nn.Module) -> nn.Module:
    for how in maps:
        parametrize.register_parametrization(module, name, how)
    return module


def hooked() -> nn.Module:
    module = linear()
    weight = module.weight
    del module._parameters["weight"]
    module.register_parameter("weight_orig", nn.Parameter(weight.data))
    module.register_forward_pre_hook(HalfOf("weight"))
    module.weight = weight.data  # type: ignore[assignment]
    return module


def pruned() -> nn.Module:
    module = linear()
    prune.l1_unstructured(module, "weight", 0.3)
    prune.random_structured(module, "weight", 0.2, dim=0)
    prune.l1_unstructured(module, "bias", 0.3)
    return module


def buffer() -> nn.Module:
    module = linear()
    module.register_buffer("place", torch.randn(8, 8))
    return own(module, "place", Symmetric())


def recurrent(norm: Callable[..., Any]) -> nn.Module:
    module = nn.LSTM(8, 8, batch_first=True)
    norm(module, "weight_hh_l0")
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(1.5)
    return module


MODULES: dict[str, Callable[[], nn.Module]] = {
    "weight_norm hook": lambda: nn.utils.weight_norm(linear()),
    "weight_norm hook of one axis": lambda: nn.utils.weight_norm(Gain(), dim=0),
    "weight_norm": lambda: parametrizations.weight_norm(linear()),
    "weight_norm of the whole": lambda: parametrizations.weight_norm(linear(), dim=None),
    "weight_norm of one axis": lambda: parametrizations.weight_norm(Gain(), dim=0),
    "spectral_norm hook": lambda: nn.utils.spectral_norm(linear()),
    "spectral_norm": lambda: parametrizations.spectral_norm(linear()),
    "orthogonal exp": lambda: parametrizations.orthogonal(linear(), orthogonal_map="matrix_exp"),
    "orthogonal cayley": lambda: parametrizations.orthogonal(linear(), orthogonal_map="cayley"),
    "orthogonal householder": lambda: parametrizations.orthogonal(nn.Linear(8, 6), orthogonal_map="householder"),
    "own": lambda: own(linear(), "weight", Symmetric(), Scaled()),
    "own of a buffer": buffer,
    "own hook": hooked,
    "pruned": pruned,
    "pruned direction": lambda: prune.l1_unstructured(nn.utils.weight_norm(linear()), "weight_v", 0.3),
    "a copy": lambda: copy.deepcopy(parametrizations.weight_norm(linear())),
    "two kinds": lambda: parametrizations.weight_norm(nn.utils.weight_norm(linear()), "bias"),
}


def state(module: nn.Module) -> list[Any]:
    """All that a patch could change: classes, tables and their order, the tensors themselves and their values."""
    tables = ("_parameters", "_buffers", "_modules", "_forward_pre_hooks")
    return [
        [(n, id(t), t.detach().numpy().tobytes()) for n, t in module.state_dict(keep_vars=True).items()],
        [(type(part), sorted(vars(part))) for part in module.modules()],
        [list(vars(part)[table]) for part in module.modules() for table in tables],
    ]


def answer(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found = module(x)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", [*MODULES, "recurrent hook", "recurrent"])
def test_the_weight_is_plain_inside_and_all_is_put_back(name: str) -> None:
    torch.manual_seed(0)
    if name in MODULES:
        module = MODULES[name]().eval()
    else:
        module = recurrent(nn.utils.weight_norm if "hook" in name else parametrizations.weight_norm).eval()
    x = floats(2, 5, 8)
    expected, before = answer(module, x), state(module)
    with pytest.raises(RuntimeError, match="on purpose"), applied(module, ["computed-weights"]) as told:
        assert not type(module).__name__.startswith("Parametrized")
        assert not module._forward_pre_hooks
        assert torch.equal(answer(module, x), expected)
        raise RuntimeError("on purpose")
    assert told[0].did.endswith("a constant")
    assert state(module) == before
    assert torch.equal(answer(module, x), expected)


class Together(nn.Module):
    """What PyTorch decomposes wrongly, what has no translation, and one weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gain = parametrizations.weight_norm(Gain(), dim=0)
        self.turn = parametrizations.orthogonal(nn.Linear(8, 8, bias=False))
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        how = Symmetric()
        for part in (self.one, self.two):
            own(part, "weight", how)
        self.two.parametrizations.weight.original = self.one.parametrizations.weight.original  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(1, 2)
        return self.two(self.one(self.turn(self.gain(x))).relu())


def test_a_graph_with_such_weights() -> None:
    graph = Graph(Together().eval(), 1, 12, lambda size: floats(2, 8, size))
    assert graph.wrong(tolerance=Tolerance()) == []
    assert graph.told["computed-weights"] == "made 4 computed weights a constant"
    shapes = sorted(list(i.shape.numpy()) for i in graph.model.graph.initializers.values())
    assert shapes.count([8, 8]) == 2, "turn's, and the one that is shared"


@pytest.mark.parametrize(
    "module", [lambda: parametrizations.orthogonal(linear()), lambda: parametrizations.weight_norm(Gain(), dim=0)]
)
def test_without_the_patch_they_fail_or_are_wrong(module: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    try:
        graph = Graph(module().eval(), 2, 6, lambda size: floats(size, 3, 8), axis=0, skip=["computed-weights"])
    except Exception as problem:
        assert "linalg_matrix_exp" in str(problem.__cause__)
    else:
        assert graph.wrong(tolerance=Tolerance())


def test_in_training_mode_nothing_is_computed_ahead() -> None:
    module = parametrizations.spectral_norm(linear()).train()
    with applied(module, ["computed-weights"]) as told:
        assert type(module).__name__ == "ParametrizedLinear"
    assert told == []
