"""The file of a quantised precision that ONNX Runtime runs on a CPU, written from rounded weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..schemes import QuantisedScheme
from ..typed import round_by_casts
from .qdq import insert
from .rounding import Blocks
from .sites import Site
from .weights import Weights
from .writer import GraphWriter, drop_unread, pack_int4, save, set_opset

#: MatMulNBits multiplies in int8 where the CPU has instructions for it: ONNX Runtime rounds activations in blocks then, which is
#: far less than what four bits of a weight are off, and several times as fast.
ACCURACY_LEVEL = 4


def write_cpu_form(
    source: Path,
    scheme: QuantisedScheme,
    sites: Sequence[Site],
    left: Collection[str],
    weights: Weights,
    scales: Mapping[str, float],
    path: Path,
) -> None:
    """The graph at `source` with every site quantised but those whose node is in `left`.

    Static: QuantizeLinear and DequantizeLinear around every product; of fp8, casts in the place of those of activations. Dynamic:
    DynamicQuantizeLinear and MatMulInteger, which are ONNX's own. Weights alone: com.microsoft's MatMulNBits and
    GatherBlockQuantized, since DequantizeLinear and MatMul become the same at run time, with the accuracy that a session's
    options say and not the file.

    Raises PassError as `qdq.insert` does.
    """
    model = onnx.load(source, load_external_data=False)
    chosen = [site for site in sites if site.node not in left]
    if scheme.activations == "static":
        insert(model, chosen, weights, scales)
        round_by_casts(model.graph)
        drop_unread(model.graph)
        save(model, source.parent, path)
        return
    writer = GraphWriter(model)
    by_name = {node.name: node for node in model.graph.node}
    made: set[str] = set()
    for site in chosen:
        node = by_name[site.node]
        if scheme.activations == "dynamic":
            writer.replace(node, _dynamic(writer, node, site, weights.of(site), made))
        elif site.operator == "Gather":
            writer.replace(node, [_lookup(writer, node, site, weights.of(site), weights.kind)])
        else:
            writer.replace(node, _n_bits(writer, node, site, weights.of(site), weights.kind))
    if scheme.activations == "float" and chosen:
        set_opset(model, "com.microsoft", 1)
    save(writer.finish(), source.parent, path)


def fits_cpu_form(site: Site, scheme: QuantisedScheme) -> bool:
    """Whether there is an operator for it: rows of a table are a whole number of blocks in GatherBlockQuantized."""
    return site.operator != "Gather" or site.k % (scheme.block or _block_of(site.k)) == 0


def _block_of(k: int) -> int:
    """Rows that share a repeated scale, where a column has one: what divides `k` if anything does."""
    return next((block for block in (128, 64, 32, 16) if k % block == 0), 128)


def _dynamic(
    writer: GraphWriter, node: onnx.NodeProto, site: Site, blocks: Blocks, made: set[str]
) -> list[onnx.NodeProto]:
    """(x quantised by its own range) times w in integers, and back: what ONNX Runtime fuses into one kernel."""
    at = f"{site.activation}/dynamic"
    q, by, zero = (writer.own(f"{at}/{part}") for part in ("q", "scale", "zero"))
    nodes: list[onnx.NodeProto] = []
    if at not in made:
        made.add(at)
        nodes.append(helper.make_node("DynamicQuantizeLinear", [site.activation], [q, by, zero], name=writer.own(at)))
    matrix = writer.weight(f"{site.matrix}/int8", blocks.q)
    scale = writer.weight(f"{site.matrix}/int8/scale", blocks.scales.reshape(-1))
    name = node.name
    total, wide, scales, product = (writer.own(f"{name}/{part}") for part in ("int32", "wide", "scales", "product"))
    nodes += [
        helper.make_node("MatMulInteger", [q, matrix, zero], [total], name=name),
        helper.make_node("Cast", [total], [wide], name=wide, to=TensorProto.FLOAT),
        helper.make_node("Mul", [by, scale], [scales], name=scales),
        helper.make_node("Mul", [wide, scales], [product], name=product),
    ]
    return _with_bias(writer, node, nodes)


def _with_bias(writer: GraphWriter, node: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The product's name in the last of `nodes`, or, of a Gemm with one, the sum with its bias."""
    if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]:
        total = [nodes[-1].output[0], node.input[2]]
        return [*nodes, helper.make_node("Add", total, [node.output[0]], name=writer.own(f"{node.name}/bias"))]
    nodes[-1].output[0] = node.output[0]
    return nodes


def _n_bits(writer: GraphWriter, node: onnx.NodeProto, site: Site, blocks: Blocks, kind: str) -> list[onnx.NodeProto]:
    # MatMulNBits knows blocks alone: one scale per column is repeated for each of them.
    bits, block = (4, blocks.block) if kind == "int4" else (8, _block_of(site.k))
    packed, scales = _packed(writer, site, blocks, bits, block)
    product = helper.make_node(
        "MatMulNBits", [site.activation, packed, scales], [writer.own(f"{node.name}/product")], name=node.name,
        domain="com.microsoft", K=site.k, N=site.n, bits=bits, block_size=block, accuracy_level=ACCURACY_LEVEL,
    )  # fmt: skip
    return _with_bias(writer, node, [product])


def _packed(writer: GraphWriter, site: Site, blocks: Blocks, bits: int, block: int) -> tuple[str, str]:
    """The weight as MatMulNBits takes it: uint8 [N, blocks, bytes], and float32 [N, blocks] scales."""
    count = -(-site.k // block)
    name = f"{site.matrix}/int{bits}"
    names = writer.own(name), writer.own(f"{name}/scale")
    if writer.has(names[0]):
        return names
    padded = np.zeros((site.n, count * block), np.int16)
    padded[:, : site.k] = blocks.q.T
    data = (padded.reshape(site.n, count, block) + (1 << (bits - 1))).astype(np.uint8)
    if bits == 4:
        data = pack_int4(data)
    scales = np.repeat(blocks.scales, count, axis=0) if blocks.scales.shape[0] == 1 else blocks.scales
    writer.weight(name, data)
    writer.weight(f"{name}/scale", np.ascontiguousarray(scales.T, np.float32))
    return names


def _lookup(writer: GraphWriter, node: onnx.NodeProto, site: Site, blocks: Blocks, kind: str) -> onnx.NodeProto:
    bits, block = (4, blocks.block) if kind == "int4" else (8, _block_of(site.k))
    packed, scales = _packed(writer, site, blocks, bits, block)
    # The same bytes as a head tied to it has, [rows, bytes of a row] here: stored once where graphs share a data file.
    data = next(t for t in writer.graph.initializer if t.name == packed)
    table = writer.weight(f"{packed}/rows", numpy_helper.to_array(data).reshape(site.n, -1))
    return helper.make_node(
        "GatherBlockQuantized", [table, node.input[1], scales], [node.output[0]], name=node.name,
        domain="com.microsoft", bits=bits, block_size=block, gather_axis=0, quantize_axis=1,
    )  # fmt: skip
