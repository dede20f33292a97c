"""`find_blocks`: attention in every form that the exporters give, and what only looks like it."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from attn_export.attention.blocks import find_blocks
from attn_runtime.bundle.attention_block import AttentionBlock
from onnx import TensorProto, helper, numpy_helper
from support.graphs.attention_cells import MASKS, Cell, graph
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS, SIZE = 64, 4, 16


def blocks_of(model: onnx.ModelProto) -> tuple[AttentionBlock, ...]:
    return find_blocks(ir.from_proto(model))


def heads_of(x: Tensor) -> Tensor:
    """[batch, T, WIDTH] -> [batch, HEADS, T, SIZE]"""
    return x.unflatten(2, (HEADS, SIZE)).transpose(1, 2)


class Projected(nn.Module):
    """Queries, keys and values of `heads` and `kv_heads`, for the forms below."""

    def __init__(self, kv_heads: int = HEADS) -> None:
        super().__init__()
        self.q = nn.Linear(WIDTH, WIDTH)
        self.k, self.v = nn.Linear(WIDTH, kv_heads * SIZE), nn.Linear(WIDTH, kv_heads * SIZE)
        self.kv_heads = kv_heads

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k, v = (m(x).unflatten(2, (self.kv_heads, SIZE)).transpose(1, 2) for m in (self.k, self.v))
        return heads_of(self.q(x)), k, v


class Sdpa(Projected):
    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.split(x))


class SdpaCausal(Projected):
    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.split(x), is_causal=True)


class SdpaBool(Projected):
    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.split(x), attn_mask=open_[:, None, None, :])


class SdpaAdditive(Projected):
    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.split(x), attn_mask=x[:, None, :1, :1] * open_[:, None, None, :])


class Masked(Projected):
    """Where on the scores, divided by a number behind the product, dropout left in."""

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        q, k, v = self.split(x)
        scores = (q @ k.transpose(-1, -2) / math.sqrt(SIZE)).masked_fill(~open_[:, None, None, :], -torch.inf)
        return F.dropout(scores.softmax(-1), 0.1, self.training) @ v


class Tril(Projected):
    """A causal mask that is a buffer, as GPT-2 keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(8, 8, dtype=torch.bool).tril()[None, None])

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        q, k, v = self.split(x)
        scores = torch.where(self.mask, q @ k.transpose(2, 3), torch.finfo(x.dtype).min)
        return scores.softmax(-1) @ v


class Grouped(Projected):
    """Keys and values repeated by Expand and Reshape, as Hugging Face's repeat_kv does."""

    def __init__(self) -> None:
        super().__init__(kv_heads=2)

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        q, k, v = self.split(x)
        k, v = (
            t[:, :, None].expand(-1, -1, HEADS // 2, -1, -1).reshape(t.shape[0], HEADS, t.shape[2], SIZE)
            for t in (k, v)
        )
        return (q @ k.transpose(2, 3) * SIZE**-0.5).softmax(-1) @ v


class OneHead(Projected):
    """Rank 3, the softmax in float32."""

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        scores = torch.bmm(self.q(x), self.k(x).transpose(1, 2)) * 0.125
        return torch.bmm(F.softmax(scores, -1, dtype=torch.float32).to(x.dtype), self.v(x))


class Conv(nn.Module):
    """As AttentionNet: convolutions, and the values on the left."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Conv2d(WIDTH, c, 1) for c in (8, 8, WIDTH))

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        image = x.transpose(1, 2).unflatten(2, (2, 4))
        q, k, v = (m(image).flatten(2) for m in (self.q, self.k, self.v))
        return (v @ (q.transpose(1, 2) @ k).softmax(-1).transpose(1, 2)).view_as(image)


class Rows(Projected):
    """The softmax over the axis before the last: keys are rows."""

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        q, k, v = self.split(x)
        return (k @ q.transpose(2, 3)).softmax(2).transpose(2, 3) @ v


class Einsum(Projected):
    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        q, k, v = self.split(x)
        return torch.einsum("bhqk,bhkd->bhqd", torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1), v)


class EinsumInBlocks(Projected):
    """As LongT5: "..." for the axes in front, rows in blocks, here one."""

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        q, k, v = (t.unflatten(2, (1, 8)).permute(0, 2, 3, 1, 4) for t in self.split(x))
        weights = torch.einsum("...qhd,...khd->...hqk", q, k).softmax(-1)
        return torch.einsum("...hqk,...khd->...qhd", weights, v)


class Library(nn.Module):
    """nn.MultiheadAttention; with weights it folds the heads into the batch."""

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.attend, self.weights = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), weights

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        answer: Tensor = self.attend(x, x, x, key_padding_mask=~open_, need_weights=self.weights)[0]
        return answer


class Pooling(nn.Module):
    """Learned queries are attention: the keys are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(3, WIDTH))

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return (self.queries @ x.transpose(1, 2)).softmax(-1) @ x


class Head(nn.Module):
    """A classifier's softmax between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, 5), nn.Linear(5, WIDTH)

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return self.b(self.a(x).softmax(-1))


class Codebook(nn.Module):
    """A soft codebook: keys and values are weights."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(5, WIDTH))

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return (x @ self.codes.T).softmax(-1) @ self.codes


class Experts(nn.Module):
    """Dense routing: the weights of the experts come from a linear layer, what they weigh is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.route = nn.Linear(WIDTH, 3, bias=False)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        answers = torch.stack([e(x) for e in self.experts], 2)
        return (self.route(x).softmax(-1).unsqueeze(2) @ answers).squeeze(2)


class Slots(nn.Module):
    """Soft experts: how much of each position goes to a slot is told by a linear layer, normalised over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = nn.Linear(WIDTH, 3, bias=False)

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return self.slots(x).softmax(1).transpose(1, 2) @ x


class Gated(nn.Module):
    """Scores that never weigh anything."""

    def forward(self, x: Tensor, open_: Tensor) -> Tensor:
        return (x @ x.transpose(1, 2)).softmax(-1)


NO_ATTENTION = {"head": Head, "codebook": Codebook, "experts": Experts, "slots": Slots, "gated": Gated}
#: (heads, heads of keys, Dk, Dv, mask) by the module's name
FORMS = {
    "sdpa": (Sdpa, (4, 4, 16, 16, "none")),
    "causal": (SdpaCausal, (4, 4, 16, 16, "causal")),
    "bool": (SdpaBool, (4, 4, 16, 16, "bool")),
    "additive": (SdpaAdditive, (4, 4, 16, 16, "additive")),
    "masked": (Masked, (4, 4, 16, 16, "bool")),
    "tril": (Tril, (4, 4, 16, 16, "causal")),
    "grouped": (Grouped, (4, 2, 16, 16, "none")),
    "one": (OneHead, (1, 1, 64, 64, "none")),
    "conv": (Conv, (1, 1, 8, 64, "none")),
    "rows": (Rows, (4, 4, 16, 16, "none")),
    "einsum": (Einsum, (4, 4, 16, 16, "none")),
    "einsum_in_blocks": (EinsumInBlocks, (4, 4, 16, 16, "none")),
    "library": (lambda: Library(False), (4, 4, 16, 16, "bool")),
    "weights": (lambda: Library(True), (4, 4, 16, 16, "bool")),
    "pooling": (Pooling, (1, 1, 64, 64, "none")),
}


class All(nn.Module):
    """Every form, so that one export serves all tests."""

    def __init__(self) -> None:
        super().__init__()
        for name, (make, _) in FORMS.items():
            self.add_module(name, make())
        for name, make in NO_ATTENTION.items():
            self.add_module(name, make())

    def forward(self, x: Tensor, open_: Tensor) -> list[Tensor]:
        return [part(x, open_) for part in self.children()]


@pytest.fixture(scope="module", params=["dynamo", "torchscript"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """[batch, 8, WIDTH] and a mask of its positions, batch dynamic; simplified as every bundle's graph is."""
    import onnxsim

    path = tmp_path_factory.mktemp("forms") / "all.onnx"
    example = (torch.randn(2, 8, WIDTH), torch.ones(2, 8, dtype=torch.bool))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if request.param == "dynamo":
            sizes = {0: torch.export.Dim("batch", min=2, max=64)}
            torch.onnx.export(
                All().eval(), example, path, dynamo=True, opset_version=22, dynamic_shapes=(sizes, sizes), verbose=False
            )
            return onnx.load(path)
        names = {"input_names": ["x", "open"], "dynamic_axes": {"x": {0: "batch"}, "open": {0: "batch"}}}
        torch.onnx.export(All().eval(), example, path, dynamo=False, opset_version=18, **names)
    return onnxsim.simplify(onnx.load(path))[0]


@pytest.fixture(scope="module")
def blocks(exported: onnx.ModelProto) -> dict[str, AttentionBlock]:
    return {block.module: block for block in blocks_of(exported)}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_found_where_it_is(blocks: dict[str, AttentionBlock], name: str) -> None:
    block = blocks["library.attend" if name == "library" else "weights.attend" if name == "weights" else name]
    found = (block.heads, block.kv_heads, block.head_size, block.value_size, block.mask)
    assert found == FORMS[name][1]
    # onnx's inference loses a length that the torchscript exporter leaves to be computed from a dynamic shape.
    lost = name == "conv" and block.scores.startswith("/")
    assert (block.query_length, block.key_length) == (("?", "?") if lost else ("3" if name == "pooling" else "8", "8"))
    assert block.dtype == "float32"


def test_nothing_else_is_taken_for_attention(blocks: dict[str, AttentionBlock], exported: onnx.ModelProto) -> None:
    assert {name.split(".")[0] for name in blocks} == set(FORMS)
    assert len(blocks_of(exported)) == len(FORMS)


def test_the_nodes_are_those_of_the_graph(blocks: dict[str, AttentionBlock], exported: onnx.ModelProto) -> None:
    kinds = {node.name: node.op_type for node in exported.graph.node}
    for block in blocks.values():
        assert kinds[block.scores] in ("MatMul", "Einsum")
        assert kinds[block.softmax] == "Softmax"
        assert kinds[block.values] in ("MatMul", "Einsum")
        assert len(block.nodes) == 3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("parts", [(), ("softmax",), ("mask",), ("values",)])
def test_casts_in_a_typed_graph_hide_nothing(dtype: str, parts: tuple[str, ...]) -> None:
    cell = Cell(dtype=dtype, queries=32, scale="after", mask="add [1,1,S,S]", in_float32=frozenset(parts))
    (block,) = blocks_of(graph(cell))
    assert block == AttentionBlock(
        "", "scores", "softmax", "values", "MatMul", dtype, 8, 8, 64, 64, "32", "32", "additive"
    )


@pytest.mark.parametrize(
    ("mask", "kind"),
    list(zip(MASKS, ["additive"] * 4 + ["bool"] * 3 + ["causal"] * 2, strict=True)),
)
def test_masks(mask: str, kind: str) -> None:
    (block,) = blocks_of(graph(Cell(queries=32, mask=mask, form="3d" if mask == "add [B,S,S]" else "4d")))
    assert block.mask == kind


def test_dynamic_lengths_have_their_names() -> None:
    (block,) = blocks_of(graph(Cell(queries=0, keys=77, batch=0)))
    assert (block.query_length, block.key_length) == ("T", "77")


@pytest.mark.parametrize("form", ["Attention", "MultiHeadAttention"])
def test_one_operator_is_one_node(form: str) -> None:
    (block,) = blocks_of(graph(Cell(form=form, queries=32, keys=48)))
    assert block == AttentionBlock(
        "", "attention", "attention", "attention", form, "float16", 8, 8, 64, 64, "32", "48", "none"
    )
    assert block.nodes == ("attention",)


def test_the_operators_heads_masks_and_sizes() -> None:
    (block,) = blocks_of(graph(Cell(form="Attention", kv_heads=2, size=32, value_size=64, mask="causal")))
    assert (block.heads, block.kv_heads, block.head_size, block.value_size, block.mask) == (8, 2, 32, 64, "causal")
    kinds = {
        mask: blocks_of(graph(Cell(form="Attention", mask=mask)))[0].mask for mask in ("add [1,1,S,S]", "bool where")
    }
    assert kinds == {"add [1,1,S,S]": "additive", "bool where": "bool"}


def test_attention_on_rank_three_splits_by_its_attributes() -> None:
    shapes = {"q": ["batch", "T", 64], "k": ["batch", 7, 32], "v": ["batch", 7, 48]}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"], name="a", q_num_heads=4, kv_num_heads=2)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, [output]), opset_imports=[helper.make_opsetid("", 24)]
    )
    (block,) = blocks_of(model)
    assert (block.heads, block.kv_heads, block.head_size, block.value_size) == (4, 2, 16, 24)
    assert (block.query_length, block.key_length) == ("T", "7")


def test_a_node_without_a_name_is_called_as_tensorrt_calls_it() -> None:
    model = graph(Cell(queries=32))
    for node in model.graph.node:
        node.name = ""
    (block,) = blocks_of(model)
    assert block.nodes == ("node_of_scores_out", "node_of_softmax_out", "node_of_values_out")


def test_blocks_in_a_branch_are_found() -> None:
    inner = graph(Cell(queries=32, dtype="float32"))
    body = helper.make_graph(inner.graph.node, "then", [], inner.graph.output, inner.graph.initializer)
    node = helper.make_node("If", ["choose"], ["y"], then_branch=body, else_branch=body)
    choose = helper.make_tensor_value_info("choose", TensorProto.BOOL, [])
    model = helper.make_model(
        helper.make_graph([node], "g", [*inner.graph.input, choose], [helper.make_tensor_value_info("y", 1, None)]),
        opset_imports=inner.opset_import,
    )
    found = blocks_of(model)
    assert [b.head_size for b in found] == [64, 64]


def test_neither_the_model_nor_its_external_weights_are_touched(tmp_path: Path) -> None:
    model = graph(Cell(queries=32, dtype="float32"))
    model.graph.initializer.append(numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    model.graph.node.append(helper.make_node("MatMul", ["values_out", "w"], ["y"], name="linear"))
    model.graph.output[0].name = "y"
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=1024, location="m.data")
    (tmp_path / "m.data").unlink()
    bare = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    before = bare.SerializeToString()
    assert len(blocks_of(bare)) == 1
    assert bare.SerializeToString() == before


def test_a_transposed_weight_is_still_a_weight() -> None:
    """x Wt, softmax, times another activation: a linear layer, however its weight is stored."""
    model = graph(Cell(queries=32, form="2d", scale="none"))
    for value in list(model.graph.input):
        if value.name == "k":
            model.graph.input.remove(value)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((32, 64), np.float16), "k"))
    assert blocks_of(model) == ()


def test_json_brings_a_block_back() -> None:
    (block,) = blocks_of(graph(replace(Cell(), queries=0)))
    assert AttentionBlock.from_json(block.to_json()) == block
