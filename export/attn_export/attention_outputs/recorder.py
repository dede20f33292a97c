"""A look into a module while it runs: the weights of its attention, by the path of the module that attends.

No code of the model changes. `F.scaled_dot_product_attention`, which never has its weights in memory, is replaced by its
documented formula while the module runs, and a `TorchFunctionMode` sees every softmax. Both see the same calls, in the
same order, in plain PyTorch and under its exporters.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from attn_runtime.errors import CaptureError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..capture.patches import replaced
from ..reference import fastpath_disabled
from .softmax_trace import SoftmaxTrace, softmax_axis

#: How the names of these outputs begin.
STEM = "attention"


@dataclass(frozen=True)
class Call:
    """One softmax or attention call: the path of the module that makes it, and its number among that module's own."""

    module: str
    number: int


@dataclass(frozen=True)
class Attention:
    """An attention of the model, and how its weights become [batch, heads, queries, keys].

    axis    of the keys, counted from the end
    heads   by which the first axis of weights of rank 3 is to be divided; 1 where it is the batch
    sizes   queries and keys in the run in which it was found
    """

    call: Call
    output: str
    axis: int
    heads: int
    sizes: tuple[int, int]

    def arranged(self, weights: Tensor) -> Tensor:
        """`weights` as [batch, heads, queries, keys]."""
        if self.axis != -1:
            weights = weights.movedim(self.axis, -1)
        if weights.dim() > 4:
            return weights.flatten(0, weights.dim() - 4)
        if weights.dim() == 3:
            return weights.unflatten(0, (-1, self.heads)) if self.heads > 1 else weights.unsqueeze(1)
        while weights.dim() < 4:
            weights = weights.unsqueeze(0)
        return weights


def find(
    module: nn.Module,
    run: Callable[[], object],
    batch: int | None,
    names: Mapping[nn.Module, str] | None = None,
    taken: Collection[str] = (),
) -> list[Attention]:
    """Every attention that the module runs through in `run`, which calls it once.

    `batch` is the batch's size in that run, where it is known; weights of rank 3 are divided into heads by it. `names`
    are the paths by which the modules are told of, those in `module` when left out; `taken` are names of other outputs.
    """
    with torch.inference_mode(), fastpath_disabled():
        finder = _Finder(module, names)
        with finder.watching():
            run()
    found: list[Attention] = []
    for call in finder.attends():
        stem = name = "_".join([STEM, *re.findall(r"\w+", call.module)])
        number = 1
        while name in taken or any(name == f.output for f in found):
            number += 1
            name = f"{stem}_{number}"
        shape, axis = finder.shapes[call]
        heads = _heads(shape, batch, finder.modules.get(call.module))
        found.append(Attention(call, name, axis - len(shape), heads, finder.sizes(call)))
    return found


class AttentionRecorder:
    """Makes the weights of the chosen attention further answers of a module. `attn_export.reference.signature` takes one."""

    def __init__(
        self, module: nn.Module, chosen: Sequence[Attention], names: Mapping[nn.Module, str] | None = None
    ) -> None:
        self.module, self.chosen, self.names = module, tuple(chosen), names

    @contextmanager
    def __call__(self) -> Iterator[Callable[[], list[tuple[str, Tensor]]]]:
        """While open, run the module; what is yielded gives (output name, weights) of that run, in order."""
        keeper = _Keeper(self.module, self.names, {a.call for a in self.chosen})

        def seen() -> list[tuple[str, Tensor]]:
            for attention in self.chosen:
                if attention.call not in keeper.weights:
                    raise CaptureError(
                        f"--with-attention: {attention.call.module or 'the model'} attends at one shape of the inputs and "
                        "not at another; choose other modules with a pattern, or narrow the range with --dim"
                    )
            return [(a.output, a.arranged(keeper.weights[a.call])) for a in self.chosen]

        with keeper.watching():
            yield seen


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """(answer [..., H, L, V], weights [..., H, L, S]) of scaled_dot_product_attention, by the formula it documents.

    As in PyTorch's kernels a query whose keys are all masked looks at nothing: its weights and its answer are 0.
    """
    if enable_gqa:
        key, value = (_repeated(t, query.shape[-3]) for t in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    least = torch.finfo(scores.dtype).min
    if is_causal:
        rows = torch.arange(scores.shape[-2], device=scores.device)[:, None]
        columns = torch.arange(scores.shape[-1], device=scores.device)
        scores = torch.where(rows >= columns, scores, least)
    if attn_mask is None:
        weights = scores.softmax(-1)
    elif attn_mask.dtype is torch.bool:
        weights = torch.where(attn_mask, scores, least).softmax(-1)
        weights = torch.where(attn_mask.any(-1, keepdim=True), weights, 0.0)
    else:
        weights = (scores + attn_mask).softmax(-1)
        weights = torch.where((attn_mask > -torch.inf).any(-1, keepdim=True), weights, 0.0)
    weights = weights.to(query.dtype)
    return F.dropout(weights, dropout_p) @ value if dropout_p else weights @ value, weights


def _repeated(tensor: Tensor, heads: int) -> Tensor:
    """[..., h, S, E] -> [..., heads, S, E], each head as often as query heads share it."""
    times = heads // tensor.shape[-3]
    if times == 1:
        return tensor
    shape = tensor.shape
    spread = tensor.unsqueeze(-3).expand(*shape[:-2], times, *shape[-2:])
    return spread.flatten(-4, -3)


def _heads(shape: Sequence[int], batch: int | None, module: nn.Module | None) -> int:
    if len(shape) != 3:
        return 1
    if isinstance(module, nn.MultiheadAttention) and shape[0] % module.num_heads == 0:
        return int(module.num_heads)
    return shape[0] // batch if batch and shape[0] % batch == 0 else 1


class _Watching:
    """What both have in common: a look at every softmax and attention call, and the path of the module that makes it."""

    def __init__(self, module: nn.Module, names: Mapping[nn.Module, str] | None) -> None:
        self.module = module
        self.modules = {(names or {}).get(m, path): m for path, m in module.named_modules()}
        # By the attributes of a module: those of the stand-ins that torch.export puts in its place are the same object.
        self._paths = {id(vars(m)): path for path, m in self.modules.items()}
        self._numbers: Counter[str] = Counter()
        self.paused = False  # while attention is computed step by step: that softmax is not the model's

    def next_call(self) -> Call:
        path = self._caller()
        self._numbers[path] += 1
        return Call(path, self._numbers[path])

    def _caller(self) -> str:
        """The path of the module in whose method this runs, or which was handed to the function in which this runs."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            owner = frame.f_locals.get(frame.f_code.co_varnames[0]) if frame.f_code.co_varnames else None
            # A softmax that is a module of its own belongs to the one that uses it.
            if isinstance(owner, nn.Module) and not isinstance(owner, nn.Softmax) and id(vars(owner)) in self._paths:
                return str(self._paths[id(vars(owner))])
            frame = frame.f_back
        return ""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The module may be called once while it is open."""
        operator = torch.ops.aten.scaled_dot_product_attention.default
        with (
            replaced(F, "scaled_dot_product_attention", self._attending, self.module, operator),
            _composite_functions_run_openly(),
            _Mode(self),
        ):
            yield

    def _attending(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def scaled_dot_product_attention(*args: Any, **keywords: Any) -> Tensor:
            call, self.paused = self.next_call(), True
            try:
                return self.on_attention(call, original, args, keywords)
            finally:
                self.paused = False

        return scaled_dot_product_attention

    def on_attention(self, call: Call, original: Callable[..., Tensor], args: Any, keywords: Any) -> Tensor:
        raise NotImplementedError

    def on_function(self, function: Any, args: Any, keywords: Any, result: Any) -> None:
        raise NotImplementedError


class _Mode(TorchFunctionMode):
    def __init__(self, watching: _Watching) -> None:
        super().__init__()
        self._watching = watching

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        result = func(*args, **keywords)
        if not self._watching.paused:
            self._watching.on_function(func, args, keywords, result)
        return result


class _Finder(_Watching):
    """Follows every softmax's result to where it is multiplied with values."""

    def __init__(self, module: nn.Module, names: Mapping[nn.Module, str] | None) -> None:
        super().__init__(module, names)
        self.shapes: dict[Call, tuple[Sequence[int], int]] = {}
        self._fused: set[Call] = set()
        self._trail: SoftmaxTrace[Call] = SoftmaxTrace([*module.parameters(), *module.buffers()])

    def attends(self) -> list[Call]:
        return [call for call in self.shapes if call in self._fused or call in self._trail.multiplied]

    def sizes(self, call: Call) -> tuple[int, int]:
        """Queries and keys."""
        shape, axis = self.shapes[call]
        others = [size for place, size in enumerate(shape) if place != axis]
        return (others[-1] if others else 1), shape[axis]

    def on_attention(self, call: Call, original: Callable[..., Tensor], args: Any, keywords: Any) -> Tensor:
        answer, weights = attend(*args, **keywords)  # from the module's own, whatever the kernels say of these shapes
        self.shapes[call] = (weights.shape, weights.dim() - 1)
        self._fused.add(call)
        return answer

    def on_function(self, function: Any, args: Any, keywords: Any, result: Any) -> None:
        axis = softmax_axis(function, args, keywords)
        if axis is None:
            self._trail.follow(function, args, keywords, result)
            return
        call = self.next_call()
        axis %= result.dim()
        self.shapes[call] = (result.shape, axis)
        self._trail.begin(call, result, axis)


class _Keeper(_Watching):
    """Keeps the weights of the wanted calls."""

    def __init__(self, module: nn.Module, names: Mapping[nn.Module, str] | None, wanted: set[Call]) -> None:
        super().__init__(module, names)
        self._wanted = wanted
        self.weights: dict[Call, Tensor] = {}

    def on_attention(self, call: Call, original: Callable[..., Tensor], args: Any, keywords: Any) -> Tensor:
        if call not in self._wanted:
            return original(*args, **keywords)
        answer, self.weights[call] = attend(*args, **keywords)
        return answer

    def on_function(self, function: Any, args: Any, keywords: Any, result: Any) -> None:
        if softmax_axis(function, args, keywords) is not None and (call := self.next_call()) in self._wanted:
            self.weights[call] = result


@contextmanager
def _composite_functions_run_openly() -> Iterator[None]:
    """Functions of torch.nn.functional that are written in Python hand themselves to a mode as a whole, and the mode sees
    nothing of the softmax inside. Here they believe that there is no mode, and what they call is seen."""
    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    before = {name: getattr(F, name) for name in names if hasattr(F, name)}

    usual = (getattr(Tensor.__torch_function__, "__func__", None), torch._C._disabled_torch_function_impl)

    def overridden(*values: Any) -> bool:
        # Tensors of classes of their own (quantised ones, say) keep their say.
        own = (getattr(type(t), "__torch_function__", None) for t in tree_leaves(values) if isinstance(t, Tensor))
        return any(getattr(f, "__func__", f) not in usual for f in own)

    try:
        for name in before:
            setattr(F, name, overridden)
        yield
    finally:
        for name, function in before.items():
            setattr(F, name, function)
