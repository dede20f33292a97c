"""Attention weights as outputs: which calls are attention, what their weights are, and that nothing else changes."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export.attention_outputs import recorder
from attn_export.attention_outputs.add import add_attention, axes, choose
from attn_export.attention_outputs.recorder import Attention, AttentionRecorder, Call, attend, find
from attn_export.cli.app import cli
from attn_export.parity.against_module import verify_against
from attn_export.parity.judge import check_same
from attn_export.reference import fastpath_disabled
from attn_export.reference.answers import run_module
from attn_export.reference.signature import Signature
from attn_export.source.resolve import load_source
from attn_models.spec import AttentionAxis, AttentionSpec
from attn_models.zoo.attentionnet import AttentionNet
from attn_runtime.bundle.reader import Bundle, Case
from attn_runtime.errors import ParityError, UsageError
from attn_runtime.session import open_session
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional as F

B, T, D, HEADS = 3, 5, 16, 4


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape or (B, T, D), generator=torch.Generator().manual_seed(seed))


def split(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Fused(nn.Module):
    """Grouped queries and a mask, through the function as it was imported."""

    def forward(self, x: Tensor) -> Tensor:
        key = split(x)[:, :2]
        allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return F.scaled_dot_product_attention(split(x), key, key, allowed, enable_gqa=True).transpose(1, 2).flatten(2)


class Plain(nn.Module):
    """softmax as a module, dropout, a cast, then einsum; heads are mixed in between."""

    def __init__(self) -> None:
        super().__init__()
        self.softmax, self.dropout, self.mix = nn.Softmax(dim=-1), nn.Dropout(0.3), nn.Linear(HEADS, HEADS)

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (HEADS, -1))
        weights = self.dropout(self.softmax(torch.einsum("bqhd,bkhd->bhqk", heads, heads))).to(x.dtype)
        weights = self.mix(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return torch.einsum("bhqk,bkhd->bqhd", weights, heads).flatten(2)


class Turned(nn.Module):
    """Values in front of the weights, one head without an axis of its own; not called through forward."""

    def look(self, x: Tensor) -> Tensor:
        x = x.mT
        weights = (x.mT @ x).softmax(2)
        return (x @ weights.transpose(-1, -2)).mT


class Cached(nn.Module):
    """The scores of the past and of the newest token are joined, and the weights are cut again."""

    def forward(self, x: Tensor) -> Tensor:
        past, new = split(x[:, :-1]), split(x[:, -1:])
        weights = torch.softmax(torch.cat([new @ past.mT, new @ new.mT], -1), -1)
        mixed = weights[..., :-1] @ past + weights[..., -1:] * new
        return x + mixed.transpose(1, 2).flatten(2)


class NoAttention(nn.Module):
    """A router, an answer, a distance over bins, prototypes of classes, a competition between rows: softmax everywhere,
    and nothing is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(D, 4), nn.ModuleList(nn.Linear(D, D) for _ in range(4))
        self.prototypes, self.bins = nn.Parameter(torch.randn(D, D)), nn.Buffer(torch.arange(D).float())

    def forward(self, x: Tensor) -> Tensor:
        best, chosen = self.router(x).softmax(-1).topk(2)
        for number, expert in enumerate(self.experts):
            x = x + (best * (chosen == number)).sum(-1, keepdim=True) * expert(x)
        x = x + (x @ x.mT).softmax(1) @ x  # sums to one over the rows, and is multiplied along the columns
        x = x + F.softmax(x, -1) @ self.prototypes.t().contiguous()
        return (x + (x.softmax(-1) @ self.bins)[..., None]).softmax(-1)


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.mha = nn.MultiheadAttention(D, HEADS, batch_first=True)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, 2, 32, batch_first=True), 1)
        self.fused, self.plain, self.turned, self.cached, self.other = (
            Fused(),
            Plain(),
            Turned(),
            Cached(),
            NoAttention(),
        )

    def forward(self, x: Tensor, padded: Tensor) -> dict[str, Tensor]:
        padded = padded & (torch.arange(x.shape[1]) > 0)  # a row without keys would be NaN
        attended, mean = self.mha(x, x, x, key_padding_mask=padded)  # with weights: rank 3 inside
        x = self.encoder(x + attended, src_key_padding_mask=padded)
        x = x + self.turned.look(self.plain(self.fused(x)))
        return {"features": self.other(self.cached(x)), "mean": mean}


#: Where Everything attends, and with how many heads.
PATHS = {
    "mha": HEADS,
    "encoder.layers.0.self_attn": 2,
    "fused": HEADS,
    "plain": HEADS,
    "turned": 1,
    "cached": HEADS,
}


def padding(rows: int = B, length: int = T) -> Tensor:
    padded = torch.zeros(rows, length, dtype=torch.bool)
    padded[0, -2:] = True
    return padded


def found_in(module: nn.Module, *given: Tensor, **options: Any) -> list[Attention]:
    return find(module.eval(), lambda: module(*given), len(given[0]), **options)


@torch.no_grad()
def watched(module: nn.Module, *given: Tensor) -> tuple[Any, dict[str, Tensor]]:
    with fastpath_disabled(), AttentionRecorder(module, found_in(module, *given))() as seen:
        answer = module(*given)
        return answer, dict(seen())


# Which calls are attention


def test_attention_of_every_kind_is_found_by_the_path_of_its_module() -> None:
    module = Everything()
    found = found_in(module, tokens(), padding())
    assert [a.call.module for a in found] == list(PATHS)
    assert [a.output for a in found] == ["attention_" + p.replace(".", "_") for p in PATHS]
    answer, weights = watched(module, tokens(), padding())
    for attention, heads in zip(found, PATHS.values(), strict=True):
        seen = weights[attention.output]
        assert seen.shape == (B, heads, 1 if attention.call.module == "cached" else T, T)
        torch.testing.assert_close(seen.sum(-1), torch.ones_like(seen.sum(-1)))
    torch.testing.assert_close(weights["attention_mha"].mean(1), answer["mean"])
    assert (weights["attention_encoder_layers_0_self_attn"][0, ..., -2:] == 0).all(), "padding keys"
    with torch.no_grad(), fastpath_disabled():
        plain = module(tokens(), padding())
    for name, expected in plain.items():
        torch.testing.assert_close(answer[name], expected)


def test_softmax_that_meets_no_values_is_no_attention() -> None:
    assert found_in(NoAttention(), tokens()) == []
    with pytest.raises(UsageError, match="toy has no attention that can be seen"):
        choose({"model": []}, ".*", "toy")


def test_weights_that_are_turned_before_the_product_are_found_the_right_way_round() -> None:
    module = AttentionNet().eval()
    module.attention.gamma.data.fill_(1.0)
    seen: dict[str, Tensor] = {}
    module.attention.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    _, weights = watched(module, tokens(2, 3, 32, 32))
    query, key = (getattr(module.attention, n)(seen["x"]).flatten(2) for n in ("query", "key"))
    torch.testing.assert_close(weights["attention_attention"][:, 0], (query.mT @ key).softmax(-1))


def test_softmax_over_the_queries_axis_is_turned_so_that_keys_are_last() -> None:
    class KeysFirst(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            weights = (split(x) @ split(x[:, :2]).mT).mT.softmax(-2)  # [B, H, keys, queries]
            return weights.mT @ split(x[:, :2])

    _, weights = watched(KeysFirst(), tokens())
    assert weights["attention"].shape == (B, HEADS, T, 2)
    torch.testing.assert_close(weights["attention"], (split(tokens()) @ split(tokens()[:, :2]).mT).softmax(-1))


def test_a_module_that_attends_twice_and_outputs_of_that_name() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                x = F.scaled_dot_product_attention(x, x, x)
            return x

    found = found_in(Twice(), tokens(), taken=["attention_2"])
    assert [a.output for a in found] == ["attention", "attention_3"]
    _, weights = watched(Twice(), tokens())
    assert not torch.equal(weights["attention"], weights["attention_2"])


def test_only_the_softmax_that_looks_is_taken_of_a_module_with_others() -> None:
    class Gated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            gate = x.softmax(-1)
            return gate * ((x @ x.mT).softmax(-1) @ x)

    _, weights = watched(Gated(), tokens())
    assert list(weights) == ["attention"]
    torch.testing.assert_close(weights["attention"][:, 0], (tokens() @ tokens().mT).softmax(-1))


def test_a_saved_program_has_no_modules(tmp_path: Path) -> None:
    program = torch.export.export(Fused(), (tokens(),))
    torch.export.save(program, tmp_path / "saved.pt2")
    with pytest.raises(UsageError, match="saved is a saved program"):
        add_attention(load_source(str(tmp_path / "saved.pt2")))


def test_everything_is_as_before_after_a_failure() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError

    before = F.scaled_dot_product_attention, F.has_torch_function, F.has_torch_function_unary
    with pytest.raises(ZeroDivisionError):
        found_in(Fails(), tokens())
    assert before == (F.scaled_dot_product_attention, F.has_torch_function, F.has_torch_function_unary)


# What the weights are

SEEN = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 1, 0, 1]]).bool()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.7},
        {"is_causal": True},
        {"attn_mask": SEEN},
        {"attn_mask": torch.where(SEEN, 0.5, -math.inf)},
        {"attn_mask": tokens(B, 1, 1, T)},
        {"enable_gqa": True, "attn_mask": SEEN},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_attention_by_its_formula_answers_what_pytorch_does(options: dict[str, Any]) -> None:
    key, value = (split(tokens(seed=s)) for s in (1, 2))
    if "enable_gqa" in options:
        key, value = key[:, :2], value[:, :2]
    query = split(tokens())
    answer, weights = attend(query, key, value, **options)
    torch.testing.assert_close(answer, F.scaled_dot_product_attention(query, key, value, **options))
    assert weights.shape == (B, HEADS, T, T)
    nothing = torch.zeros(T, dtype=torch.bool)
    if options.get("attn_mask") is not None and options["attn_mask"].shape == SEEN.shape:
        nothing = ~SEEN.any(-1)
        assert (weights[..., ~SEEN] == 0).all()
    torch.testing.assert_close(weights.sum(-1), (~nothing).float().expand(B, HEADS, T))


# Choosing


def test_a_pattern_is_a_regular_expression_or_a_glob() -> None:
    found = {"model": found_in(Everything(), tokens(), padding())}
    paths = {
        pattern: [a.call.module for a in choose(found, pattern, "toy")] for pattern in ("^mha$|used", "*.self_attn")
    }
    assert paths == {"^mha$|used": ["mha", "fused"], "*.self_attn": ["encoder.layers.0.self_attn"]}
    with pytest.raises(UsageError, match=r"--with-attention nothing: no module of toy .* there are: mha, encoder\."):
        choose(found, "nothing", "toy")


# Through the exporter

INPUTS = ("--input", "x:float32[batch,length,16]", "--input", "padded:bool[batch,length]", "--dim", "batch=1:3:4")


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("attention")
    (folder / "attention_nets.py").write_text("from attention_tests import Everything, NoAttention\n")
    sys.modules["attention_tests"] = sys.modules[__name__]
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("attention_nets", None)


@pytest.fixture(scope="module")
def bundle(nets: Path) -> Path:
    """Everything, exported with all of its attention."""
    target = nets / "everything.attn"
    dims = ("--dim", "length=3:5:6")
    said = CliRunner().invoke(
        cli, ["to-onnx", "attention_nets:Everything", "--with-attention", *INPUTS, *dims, "-o", str(target)]
    )
    assert said.exit_code == 0, said.output + str(said.exception)
    return target


def test_the_graph_has_the_weights_and_the_same_answers(bundle: Path) -> None:
    told = Bundle.open(bundle).asset("attention_maps")
    assert [(m["graph"], m["module"], m["query"], m["key"]) for m in told] == [
        ("model", path, {"kind": "index"}, {"kind": "index"}) for path in PATHS
    ]
    x, padded = tokens(2, 6, D, seed=4), padding(2, 6)
    with open_session(bundle, "cpu") as session:
        assert [o.name for o in session.outputs] == ["features", "mean", *(m["output"] for m in told)]
        got = session.run({"x": x.numpy(), "padded": padded.numpy()})
    module = Everything().eval()
    with torch.no_grad(), fastpath_disabled():
        expected = module(x, padded)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-4, atol=1e-5)
    _, weights = watched(module, x, padded)
    for name, value in weights.items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-4, atol=1e-5)


def test_the_bundle_is_verified_live_with_its_weights(bundle: Path) -> None:
    checks = verify_against(bundle, "attention_nets:Everything", backend="ort", device="cpu")
    assert {c.difference.output for c in checks} >= {"features", "attention_fused"}


def test_weights_that_change_the_answers_are_no_export(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: Any, **keywords: Any) -> tuple[Tensor, Tensor]:
        answer, weights = attend(*args, **keywords)
        return answer * 1.001, weights

    monkeypatch.setattr(recorder, "attend", wrong)
    source = load_source(
        "attention_nets:Everything", inputs=[INPUTS[1], INPUTS[3]], dims=["batch=1:2:3", "length=4:5:6"]
    )
    watching, _ = add_attention(source, "fused")
    (graph,) = watching.graphs
    given = {"x": tokens().numpy(), "padded": padding().numpy()}
    answer = run_module(Signature(graph.module, graph.inputs, watch=graph.watch), Case("opt", {}, {}, {}), given)
    with pytest.raises(ParityError, match='changes PyTorch\'s own answers: output "features" at case "opt"'):
        plain = Signature(graph.module, graph.inputs)
        check_same(lambda case: run_module(plain, case, case.inputs), [answer], source.tolerance)


def test_a_model_without_attention_is_told_so(nets: Path, attn_export: Any, tmp_path: Path) -> None:
    target = tmp_path / "none.attn"
    ran = attn_export("to-onnx", "attention_nets:NoAttention", "--with-attention", *INPUTS[:2], "--dim", "batch=1:2:3",
                      "--dim", "length=2:3:4", "-o", target)  # fmt: skip
    assert ran.code == UsageError.exit_code
    assert "has no attention that can be seen" in ran.err
    assert not target.exists()


# What the model says of them


def test_axes_are_the_models_own_word() -> None:
    source = load_source("vit")
    watching, told = add_attention(source, r"blocks\.[01]")
    grid = {"kind": "grid", "rows": 8, "columns": 8, "skip": 1}
    assert [(m["output"], m["query"], m["key"]) for m in watching.assets["attention_maps.json"]] == [
        (f"attention_blocks_{n}_attention", grid, grid) for n in (0, 1)
    ]
    assert told.line == "the weights of 2 of 3 attention calls become outputs"
    assert told.notes == ()
    assert source.graphs[0].watch is None and "attention_maps.json" not in source.assets


def test_a_spec_is_looked_for_in_both_paths_and_a_grid_must_fit() -> None:
    attention = Attention(Call("blocks.0.attention", 1), "attention_blocks_0_attention", -1, 1, (3, 12))
    frames, grid = AttentionAxis("frames", seconds=0.02), AttentionAxis("grid", rows=3, columns=4)
    for pattern in (r"^model\.blocks", r"^blocks\.\d+\.attention$"):
        spec = AttentionSpec(pattern, frames, grid)
        assert axes(attention, "model.blocks.0.attention", [spec]) == (frames, grid, "")
    numbers = AttentionAxis("index")
    assert axes(attention, "model.blocks.0.attention", [AttentionSpec("decoder", frames, grid)]) == (
        numbers,
        numbers,
        "",
    )
    *told, note = axes(attention, "", [AttentionSpec("attention", grid, grid)])
    assert told == [numbers, numbers]
    assert note == "blocks.0.attention: 3 queries are no grid of 3 x 4 after 0; they are told of as numbers"


def test_a_generators_step_stays_as_it_is() -> None:
    watching, told = add_attention(load_source("lm"))
    graphs = {g.name: g for g in watching.graphs}
    assert graphs["step"].watch is None and graphs["first"].watch is not None
    assert any("graph step has no attention outputs" in note for note in told.notes)
    maps = watching.assets["attention_maps.json"]
    assert {m["graph"] for m in maps} == {"first"}
    assert maps[0]["module"] == "blocks.0.attention", "the path in the model, not in the view"
    assert maps[0]["query"] == {"kind": "tokens", "of": "tokens"}


def test_looking_for_attention_leaves_nothing_behind() -> None:
    """A state that these calls set would look to the reference as if it had always been there."""

    class First(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not hasattr(self, "mean"):
                self.mean = x.mean()
            return nn.functional.scaled_dot_product_attention(x, x, x) - self.mean

    source = load_source(First(), inputs=["x:float32[2,4,8]"])
    add_attention(source)
    assert not hasattr(source.module, "mean")
