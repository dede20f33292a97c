"""Every patch: a small real model that can't be exported, or answers wrongly, without it, and is right with it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attn_export.capture.patches
import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from attn_export.capture.operator_table import kept_table
from attn_export.capture.patches import ORDER, all_patches, applied
from attn_runtime.compare import Difference, Tolerance, compare
from attn_runtime.errors import UsageError
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as bound_at_import

BATCH, TIME = torch.export.Dim("batch", min=1, max=8), torch.export.Dim("time", min=2, max=32)
SIZES = [(1, 2), (2, 8), (8, 32), (3, 5)]  # min, opt, max, odd
DYNAMIC = {0: BATCH, 1: TIME}

Inputs = tuple[torch.Tensor, ...]


def to_onnx(module: nn.Module, inputs: Inputs, dynamic_shapes: Any, exporter: str = "dynamo") -> bytes:
    stream = io.BytesIO()
    if exporter == "dynamo":
        program = torch.export.export(module, inputs, dynamic_shapes=dynamic_shapes, strict=False)
        with kept_table():
            written = torch.onnx.export(program, dynamo=True, opset_version=22, verbose=False)
        assert written is not None
        return written.model_proto.SerializeToString()
    names = [f"input{i}" for i in range(len(inputs))]
    axes = {n: {a: f"{d.__name__}_{n}" for a, d in dims.items()} for n, dims in zip(names, dynamic_shapes, strict=True)}
    torch.onnx.export(module, inputs, stream, dynamo=False, opset_version=20, input_names=names, dynamic_axes=axes)
    return stream.getvalue()


def against_pytorch(graph: bytes, module: nn.Module, cases: Sequence[Inputs]) -> list[Difference]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    found = []
    for case in cases:
        with torch.no_grad():
            expected = module(*case).numpy()
        feed = {i.name: t.numpy() for i, t in zip(session.get_inputs(), case, strict=True)}
        found.append(compare("output", expected, session.run(None, feed)[0], Tolerance()))
    return found


def patched(
    module: nn.Module, cases: Sequence[Inputs], dynamic_shapes: Any, **choice: Any
) -> tuple[bytes, dict[str, str]]:
    with applied(module, **choice) as told:
        graph = to_onnx(module, cases[1], dynamic_shapes)
    return graph, {a.name: a.did for a in told}


def shows_need(
    name: str, module: nn.Module, cases: Sequence[Inputs], dynamic_shapes: Any, fails: str | None, alone: bool = False
) -> dict[str, str]:
    """Without the patch the export raises `fails`, or passes and is not PyTorch's (None); with it, equal everywhere.

    The other patches are there in both cases; with `alone` in neither. Returns what all of them say that they did.
    """
    without: dict[str, Any] = {"names": []} if alone else {"skip": [name]}
    given: dict[str, Any] = {"names": [name]} if alone else {}
    module.eval()
    before = state(module)
    if fails is None:
        graph, _ = patched(module, cases, dynamic_shapes, **without)
        assert not all(d.passed for d in against_pytorch(graph, module, cases))
    else:
        with pytest.raises(Exception) as caught:
            patched(module, cases, dynamic_shapes, **without)
        assert fails in "\n".join(str(e) for e in (caught.value, caught.value.__cause__))
    assert state(module) == before
    graph, told = patched(module, cases, dynamic_shapes, **given)
    assert state(module) == before
    differences = against_pytorch(graph, module, cases)
    assert all(d.passed for d in differences), differences
    assert name in told
    return told


def state(module: nn.Module) -> dict[str, Any]:
    """All that patches touch, to see that they leave nothing behind."""
    return {
        "functions": [
            F.scaled_dot_product_attention,
            bound_at_import,
            torch.cond,
            torch.export.export,
            torch.nn.modules.transformer._detect_is_causal_mask,
        ],
        "fused": torch.backends.mha.get_fastpath_enabled(),
        "gradients": {n: t.requires_grad for n, t in module.state_dict(keep_vars=True).items()},
        "configs": [dict(vars(m.config)) for m in module.modules() if hasattr(m, "config")],
        "code": [m.code for m in module.modules() if isinstance(m, torch.fx.GraphModule)],
    }


class Heads(nn.Module):
    """q, k and v [B, 2, T, 8] from x [B, T, 16], scaled so that attention is far from uniform."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv = nn.Linear(16, 48)
        nn.init.normal_(self.qkv.weight, std=0.6)

    def split(self, x: torch.Tensor) -> Inputs:
        return tuple(part.unflatten(-1, (2, 8)).transpose(-2, -3) for part in self.qkv(x).chunk(3, -1))


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def padding(batch: int, time: int) -> torch.Tensor:
    """True where there is a token; the first row lacks its last ones."""
    keep = torch.ones(batch, time, dtype=torch.bool)
    keep[0, (time + 1) // 2 :] = False
    return keep


# One model per patch


class LearnedBias(nn.Module):
    """A learned relative position bias as the mask: attention takes another kernel where it requires a gradient."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.table = nn.Parameter(torch.randn(63, 2) * 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (f(x).unflatten(-1, (2, 8)).transpose(1, 2) for f in (self.query, self.key, self.value))
        place = torch.arange(x.shape[1])
        bias = self.table[place[:, None] - place[None] + 31].permute(2, 0, 1).unsqueeze(0)
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return answer.transpose(1, 2).reshape(x.shape)


def test_frozen_parameters() -> None:
    module = LearnedBias()
    module.query.bias.requires_grad_(False)
    cases = [(floats(b, t, 16),) for b, t in SIZES]
    # Alone: the guard that fully-masked-rows puts behind attention happens to hide this model's trouble.
    did = shows_need("frozen-parameters", module, cases, (DYNAMIC,), fails="Cannot view a tensor", alone=True)[
        "frozen-parameters"
    ]
    assert did == "froze 6 tensors that required gradients"
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == ["query.bias"]


def test_freezing_does_not_lead_into_the_fused_path() -> None:
    module = Encoder(band=99).eval()
    case = (floats(2, 8, 16),)
    module.requires_grad_(False)
    with pytest.raises(Exception, match="_transformer_encoder_layer_fwd"):
        to_onnx(module, case, (DYNAMIC,), exporter="torchscript")
    module.requires_grad_(True)
    with applied(module):
        graph = to_onnx(module, case, (DYNAMIC,), exporter="torchscript")
    assert all(d.passed for d in against_pytorch(graph, module, [case]))


class Windows(Heads):
    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        query, key, value = self.split(x)  # [B, W, 2, T, 8]
        mask = keep[:, None, None, None, :] & keep[:, None, None, :, None]
        # view() needs the memory layout that PyTorch gives at this rank
        return bound_at_import(query, key, value, attn_mask=mask).view(*x.shape[:2], -1)


def window_cases() -> list[Inputs]:
    return [(floats(b, 3, t, 16), padding(b, t)) for b, t in SIZES]


WINDOW_DIMS = ({0: BATCH, 2: TIME}, DYNAMIC)


def test_attention_rank() -> None:
    did = shows_need("attention-rank", Windows(), window_cases(), WINDOW_DIMS, fails="Error when translating node")[
        "attention-rank"
    ]
    assert did == "flattened 1 scaled_dot_product_attention call of rank 5 to rank 4"


class Plain(nn.Module):
    """Attention as one writes it first: no heads, rank 3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return F.scaled_dot_product_attention(x, x.flip(-1), x, mask).view(-1, 16)


@pytest.mark.full
def test_attention_rank_3() -> None:
    cases = [(floats(b, t, 16),) for b, t in SIZES]
    did = shows_need("attention-rank", Plain(), cases, (DYNAMIC,), fails="Error when translating node")[
        "attention-rank"
    ]
    assert did == "raised 1 scaled_dot_product_attention call of rank 3 to rank 4"


@pytest.mark.parametrize(
    ("query", "key", "mask"),
    [
        ((5, 8), (6, 8), (5, 6)),
        ((2, 5, 8), (2, 6, 8), (2, 5, 6)),
        ((2, 5, 8), (2, 6, 8), (2, 1, 6)),
        ((2, 5, 8), (1, 6, 8), None),
        ((4, 3, 2, 5, 8), (4, 3, 2, 6, 8), None),
        ((4, 3, 2, 5, 8), (4, 3, 2, 6, 8), (5, 6)),
        ((4, 3, 2, 5, 8), (4, 3, 2, 6, 8), (2, 1, 6)),
        ((4, 3, 2, 5, 8), (4, 3, 2, 6, 8), (3, 2, 5, 6)),
        ((4, 3, 2, 5, 8), (4, 3, 2, 6, 8), (4, 1, 1, 1, 6)),
        ((4, 3, 2, 5, 8), (4, 3, 2, 6, 8), (1, 1, 2, 5, 6)),
        ((4, 3, 2, 5, 8), (4, 1, 2, 6, 8), (1, 3, 1, 5, 1)),
        ((4, 3, 2, 5, 8), (4, 3, 1, 6, 8), (4, 3, 1, 5, 6)),
        ((4, 3, 2, 5, 8), (2, 6, 8), None),
        ((2, 4, 3, 2, 5, 8), (2, 4, 3, 2, 6, 8), (4, 1, 1, 5, 6)),
    ],
)
@pytest.mark.parametrize("boolean", [True, False])
def test_attention_rank_broadcasts_as_pytorch_does(query: Any, key: Any, mask: Any, boolean: bool) -> None:
    q, k, v = floats(*query), floats(*key), floats(*key[:-1], 7)
    m = None if mask is None else floats(*mask)
    if m is not None and boolean:
        m = m > -0.5
    expected = F.scaled_dot_product_attention(q, k, v, m)
    with applied(nn.Identity(), ["attention-rank"]) as told:
        got = F.scaled_dot_product_attention(q, k, v, m)
    assert [a.name for a in told] == ["attention-rank"]
    assert got.stride() == expected.stride()
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("lead", "key_lead"), [((), ()), ((3,), (3,)), ((4, 3), (4, 3)), ((4, 3), (4, 1))])
@pytest.mark.parametrize("key_heads", [1, 2])
def test_attention_rank_keeps_the_other_arguments(
    lead: tuple[int, ...], key_lead: tuple[int, ...], key_heads: int
) -> None:
    q, k, v = floats(*lead, 4, 5, 8), floats(*key_lead, key_heads, 5, 8), floats(*key_lead, key_heads, 5, 8)
    options = {"is_causal": True, "scale": 0.9, "enable_gqa": True}
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    with applied(nn.Identity(), ["attention-rank"]):
        got = F.scaled_dot_product_attention(q, k, v, **options)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


class Encoder(nn.Module):
    """nn.TransformerEncoder with a mask and no hint: causal, or causal and banded (which is_causal would widen)."""

    def __init__(self, band: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder, self.band = nn.TransformerEncoder(layer, 2), band
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        far = torch.ones_like(mask, dtype=torch.bool).tril(-self.band)
        return self.encoder(x, mask=mask.masked_fill(far, -torch.inf))


@pytest.mark.parametrize("band", [pytest.param(99, marks=pytest.mark.full), 3])
def test_transformer_causal(band: int) -> None:
    cases = [(floats(b, t, 16),) for b, t in SIZES]
    did = shows_need("transformer-causal", Encoder(band), cases, (DYNAMIC,), fails="data-dependent")[
        "transformer-causal"
    ]
    assert did == "left out 1 comparison of a mask's values with a causal mask; the mask is applied"


def test_transformer_causal_trusts_the_caller() -> None:
    detect = torch.nn.modules.transformer._detect_is_causal_mask
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    with applied(nn.Identity(), ["transformer-causal"]) as told:
        patched = torch.nn.modules.transformer._detect_is_causal_mask
        for hint in (True, False):
            assert patched(mask, hint, 4) is detect(mask, hint, 4) is hint
        assert patched(None, None) is detect(None, None) is False
    assert told == []


class Padded(Heads):
    """Rows and columns of padding are masked, as padding does: wholly masked rows where the batch row is short."""

    def __init__(self, low: float | None) -> None:
        super().__init__()
        self.low = low

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        query, key, value = self.split(x)
        mask = keep[:, None, None, :] & keep[:, None, :, None]
        if self.low is not None:
            mask = torch.zeros(mask.shape).masked_fill(~mask, self.low)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).reshape(x.shape)


def padded_cases() -> list[Inputs]:
    return [(floats(b, t, 16), padding(b, t)) for b, t in SIZES]


@pytest.mark.parametrize("low", [pytest.param(None, marks=pytest.mark.full), -torch.inf])
def test_fully_masked_rows(low: float | None) -> None:
    module, cases = Padded(low), padded_cases()
    did = shows_need("fully-masked-rows", module, cases, (DYNAMIC, DYNAMIC), fails=None)["fully-masked-rows"]
    assert did == "1 masked attention call made to answer 0 where every key is masked"
    assert module(*cases[1])[0, -1].eq(0).all(), "the case must hold such a row"


def test_fully_masked_rows_leaves_the_mean_of_a_finite_mask() -> None:
    module, cases = Padded(torch.finfo(torch.float32).min), padded_cases()
    graph, _ = patched(module, cases, (DYNAMIC, DYNAMIC))
    assert all(d.passed for d in against_pytorch(graph, module, cases))
    assert module(*cases[1])[0, -1].ne(0).all()


def test_fully_masked_rows_by_torchscript() -> None:
    module, cases = Padded(-torch.inf).eval(), padded_cases()
    plain = to_onnx(module, cases[1], (DYNAMIC, DYNAMIC), exporter="torchscript")
    assert not all(d.passed for d in against_pytorch(plain, module, cases))
    with applied(module):
        graph = to_onnx(module, cases[1], (DYNAMIC, DYNAMIC), exporter="torchscript")
    assert all(d.passed for d in against_pytorch(graph, module, cases))


def test_fully_masked_rows_keeps_memory_layout() -> None:
    query = floats(2, 5, 3, 8).transpose(1, 2)
    mask = padding(2, 5)[:, None, None, :]
    expected = F.scaled_dot_product_attention(query, query, query, mask)
    with applied(nn.Identity(), ["fully-masked-rows"]):
        got = F.scaled_dot_product_attention(query, query, query, mask)
    assert got.stride() == expected.stride()
    torch.testing.assert_close(got, expected)


class Branches(Heads):
    """Attention in one branch of a torch.cond on data; rank 5 and masked, so that the other patches work inside it."""

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (2, 24)).transpose(-2, -3).chunk(3, -1)

        def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=m).contiguous()

        def add(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
            return (q + v).contiguous()

        return torch.cond(x.mean() > 0, attend, add, (query, key, value, keep[:, None, None, None, :]))


def test_cond_aliases() -> None:
    module = Branches()
    cases = [(x + (-1) ** n, keep) for n, (x, keep) in enumerate(window_cases())]
    cases += [(x - 2 * (-1) ** n, keep) for n, (x, keep) in enumerate(cases)]
    told = shows_need("cond-aliases", module, cases, WINDOW_DIMS, fails="aliasing")
    assert told["cond-aliases"] == "cloned 2 torch.cond operands that shared memory with another"
    assert {"attention-rank", "fully-masked-rows"} <= set(told), "patches reach into a branch"


def test_cond_without_aliases_is_left_alone() -> None:
    a, b = floats(3), floats(4)
    with applied(nn.Identity(), ["cond-aliases"]) as told:
        torch.cond(True, lambda x, y: x.sum() + y.sum(), lambda x, y: x.sum(), (a, b))
    assert told == []


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers")
        torch.manual_seed(0)
        config = transformers.Qwen3MoeConfig(
            vocab_size=50, hidden_size=16, intermediate_size=32, moe_intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, head_dim=8, num_experts=4, num_experts_per_tok=2,
        )  # fmt: skip
        self.model = transformers.Qwen3MoeModel(config)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=tokens, use_cache=False).last_hidden_state


def test_moe_experts() -> None:
    tokens = [torch.randint(0, 50, s, generator=torch.Generator().manual_seed(s[0])) for s in SIZES]
    did = shows_need("moe-experts", Experts(), [(t,) for t in tokens], (DYNAMIC,), fails="grouped_mm")["moe-experts"]
    assert did == 'ran 1 expert layer as "batched_mm" instead of "grouped_mm"'


class Upsampled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x.transpose(1, 2), size=10, mode="nearest").logcumsumexp(-1)


def test_written_out() -> None:
    """Wrong between the corners, and at large magnitudes. tests/export/capture/operators/ has each operator."""
    cases = [(floats(2, time, 16) * 40,) for time in (2, 8, 32, 7, 18, 21, 28)]
    told = shows_need("written-out", Upsampled(), cases, (DYNAMIC,), fails=None)
    assert told["written-out"] == (
        "wrote out 1 logcumsumexp, 1 upsample_nearest1d that the exporter or TensorRT would get wrong"
    )


# The frame around them


def test_a_plain_model_is_told_nothing() -> None:
    module = nn.Sequential(nn.Linear(16, 16), nn.MultiheadAttention(16, 2, batch_first=True)).eval()

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.parts[0](x)
            return self.parts[1](x, x, x, need_weights=False)[0]

    wrapped = Wrapped().eval()
    cases = [(floats(b, t, 16),) for b, t in SIZES]
    with applied(wrapped) as told:
        graph = to_onnx(wrapped, cases[1], (DYNAMIC,))
    assert [(a.name, a.routine) for a in told] == [("frozen-parameters", True)]
    wrapped.requires_grad_(False)
    with applied(wrapped) as told:
        assert to_onnx(wrapped, cases[1], (DYNAMIC,)) == graph
    assert told == []
    assert all(d.passed for d in against_pytorch(graph, wrapped, cases))


@pytest.mark.full
def test_an_exported_program_is_patched_too() -> None:
    cases = window_cases()
    module = Windows().eval()
    graph_module = torch.export.export(module, cases[1], dynamic_shapes=WINDOW_DIMS, strict=False).module()
    code = graph_module.code
    graph, told = patched(graph_module, cases, WINDOW_DIMS)
    assert {"attention-rank", "fully-masked-rows"} <= set(told)
    assert all(d.passed for d in against_pytorch(graph, module, cases))
    assert graph_module.code == code


@torch.no_grad()
def test_an_exported_program_with_aliased_operands_is_patched_too() -> None:
    """Without gradients torch.export lets the aliases pass, and the decomposition for ONNX refuses them."""
    module = Branches().eval()
    cases = [(x + 3 * (-1) ** n, keep) for n, (x, keep) in enumerate(window_cases())]
    graph_module = torch.export.export(module, cases[1], dynamic_shapes=WINDOW_DIMS, strict=False).module()
    code = graph_module.code
    with pytest.raises(Exception, match="decompose") as caught:
        patched(graph_module, cases, WINDOW_DIMS, skip=["cond-aliases"])
    assert "aliasing" in str(caught.value.__cause__)
    graph, told = patched(graph_module, cases, WINDOW_DIMS)
    assert told["cond-aliases"] == "cloned 2 torch.cond operands that shared memory with another"
    assert all(d.passed for d in against_pytorch(graph, module, cases))
    assert graph_module.code == code


def test_everything_is_restored_nested_and_after_an_exception() -> None:
    module = LearnedBias()
    before = state(module)
    with pytest.raises(ZeroDivisionError), applied(module) as outer:
        once = state(module)
        assert once["functions"] != before["functions"]
        assert not any(once["gradients"].values())
        with applied(module) as inner:
            module(floats(1, 4, 16))
        assert state(module) == once
        assert [a.name for a in inner] == ["fully-masked-rows"], "the parameters were frozen before"
        raise ZeroDivisionError
    assert state(module) == before
    assert [a.name for a in outer] == ["frozen-parameters", "fully-masked-rows"], "told after an exception as well"


def test_a_patch_that_can_not_be_entered_undoes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    module = LearnedBias()
    before = state(module)
    monkeypatch.setattr(attn_export.capture.patches._replace, "_recompile", lambda graphs: 1 / 0)
    with pytest.raises(ZeroDivisionError), applied(module):
        pass
    assert state(module) == before


def test_every_file_is_a_patch_and_has_its_place() -> None:
    folder = Path(attn_export.capture.patches.__file__).parent
    files = [f.stem.replace("_", "-") for f in folder.glob("[!_]*.py")]
    assert sorted(files) == sorted(ORDER)
    assert [p.name for p in all_patches()] == list(ORDER)


@pytest.mark.parametrize("choice", [{"names": ["attention-ranks"]}, {"skip": ["attention-ranks"]}])
def test_an_unknown_patch_is_named_with_the_nearest(choice: dict[str, Any]) -> None:
    with (
        pytest.raises(UsageError, match=r'unknown patch "attention-ranks"; did you mean attention-rank\?'),
        applied(nn.Identity(), **choice),
    ):
        pass


def test_names_and_skip_choose() -> None:
    q = floats(2, 3, 4, 5, 8)
    seen = SimpleNamespace(both=None, one=None)
    mask = np.ones((5, 5), bool)
    for key, choice in (("both", {}), ("one", {"skip": ["fully-masked-rows"]})):
        with applied(nn.Identity(), **choice) as told:
            F.scaled_dot_product_attention(q, q, q, torch.from_numpy(mask))
        setattr(seen, key, [str(a).split(":")[0] for a in told])
    assert seen.both == ["fully-masked-rows", "attention-rank"]
    assert seen.one == ["attention-rank"]
