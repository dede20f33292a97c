"""Two random models that write: an encoder-decoder and a decoder-only one (with fewer key heads than query heads).

Each is built twice from one set of weights: as the ONNX graphs of a bundle, with a cache, and as numpy in float64 that
computes every token anew. They have what can go wrong in a cache: positions, padding, several layers, several heads.

    rows x prompt x ... in comments:  B batch  T tokens  S source  C cache  H heads  K key heads  E head size  D width  V tokens
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.writer import BundleWriter
from onnx import TensorProto, helper, numpy_helper

from support.graphs.make_hostile_bundles import dim, valid_manifest

Weights = Mapping[str, np.ndarray]
DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}


@dataclass(frozen=True)
class Tiny:
    """What a tiny model looks like; `encoder` tells the two kinds apart."""

    encoder: bool = True
    layers: int = 2
    heads: int = 2
    key_heads: int = 2
    head_size: int = 8
    vocabulary: int = 13
    max_length: int = 40
    batch: int = 8
    stop: tuple[int, ...] = (1,)
    begin: int = 2
    seed: int = 0
    sharpness: float = 3.0
    width: int = 0
    extend: bool = False  # whether there is a graph that reads several tokens
    attention: bool = False  # whether encoder and first also answer their weights, attention_BLOCK

    @property
    def d(self) -> int:
        return self.width or self.heads * self.head_size

    def weights(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        d, inner, keys = self.d, self.heads * self.head_size, self.key_heads * self.head_size

        def matrix(rows: int, columns: int) -> np.ndarray:
            return (rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)

        found = {"embed": matrix(self.vocabulary, d) * 4, "place": matrix(self.max_length, d) * 4}
        blocks = [f"layer{n}.self" for n in range(self.layers)]
        if self.encoder:
            blocks += ["encoder.self", *(f"layer{n}.cross" for n in range(self.layers))]
        for block in blocks:
            found |= {f"{block}.q": matrix(d, inner), f"{block}.k": matrix(d, keys), f"{block}.v": matrix(d, keys)}
            found[f"{block}.o"] = matrix(inner, d)
        for n in range(self.layers):
            found |= {f"layer{n}.up": matrix(d, 2 * d), f"layer{n}.down": matrix(2 * d, d)}
        found["head"] = matrix(d, self.vocabulary) * np.float32(self.sharpness)
        return found


# --- numpy, without a cache ---------------------------------------------------------------------------------------


def normalised(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def attend(tiny: Tiny, w: Weights, block: str, x: np.ndarray, over: np.ndarray, causal: bool) -> np.ndarray:
    """x [T, D], over [S, D] -> [T, D]"""
    q = (x @ w[f"{block}.q"]).reshape(len(x), tiny.heads, tiny.head_size)
    k, v = ((over @ w[f"{block}.{n}"]).reshape(len(over), tiny.key_heads, tiny.head_size) for n in "kv")
    k, v = (np.repeat(a, tiny.heads // tiny.key_heads, 1) for a in (k, v))
    scores = np.einsum("the,she->hts", q, k) / np.sqrt(tiny.head_size)
    if causal:
        scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("hts,she->the", scores / scores.sum(-1, keepdims=True), v)
    return mixed.reshape(len(x), -1) @ w[f"{block}.o"]


def logits_of(tiny: Tiny, tokens: Sequence[int], source: Sequence[int] = ()) -> np.ndarray:
    """[T, V] in float64, of one row without padding."""
    w = {name: value.astype(np.float64) for name, value in tiny.weights().items()}
    memory = np.zeros(0)
    if tiny.encoder:
        x = w["embed"][list(source)] + w["place"][: len(source)]
        memory = x + attend(tiny, w, "encoder.self", normalised(x), normalised(x), False)
    x = w["embed"][list(tokens)] + w["place"][: len(tokens)]
    for n in range(tiny.layers):
        x = x + attend(tiny, w, f"layer{n}.self", normalised(x), normalised(x), True)
        if tiny.encoder:
            x = x + attend(tiny, w, f"layer{n}.cross", normalised(x), memory, False)
        x = x + np.maximum(normalised(x) @ w[f"layer{n}.up"], 0) @ w[f"layer{n}.down"]
    return normalised(x) @ w["head"]


def greedy_of(tiny: Tiny, prompt: Sequence[int], most: int) -> list[int]:
    """What the model answers to a source (encoder-decoder) or a prompt (decoder-only), token by token, without a cache."""
    tokens = [tiny.begin] if tiny.encoder else list(prompt)
    answer: list[int] = []
    while len(answer) < most:
        answer.append(int(logits_of(tiny, tokens + answer, prompt)[-1].argmax()))
        if answer[-1] in tiny.stop:
            break
    return answer


# --- ONNX, with a cache -------------------------------------------------------------------------------------------


class Net:
    """Nodes of one graph; every method answers the name of a tensor."""

    def __init__(self, tiny: Tiny, half: bool) -> None:
        self.tiny, self.half = tiny, half
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.specs: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        self.weights = tiny.weights()
        self.seen: dict[str, tuple[str, Any, Any]] = {}  # block -> its attention weights, queries and keys
        self.crossed = ""

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        array = np.asarray(value, dtype)
        name = f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str) -> str:
        self.constants[name] = numpy_helper.from_array(self.weights[name], name)
        return name

    def _border(self, name: str, dtype: str, dims: Sequence[Any], side: int) -> str:
        """Record it, and answer the dtype of the file."""
        self.specs[side].append(
            {"name": name, "dtype": dtype, "dims": [dim(None, d, d, d) if isinstance(d, int) else d for d in dims]}
        )
        held = "float16" if self.half and dtype == "float32" else dtype
        shape = [d if isinstance(d, int) else d["name"] for d in dims]
        info = helper.make_tensor_value_info(name, DTYPES[held], shape)
        (self.inputs, self.outputs)[side].append(info)
        return held

    def input(self, name: str, dtype: str, *dims: Any) -> str:
        held = self._border(name, dtype, dims, 0)
        return name if held == dtype else self.op("Cast", name, to=TensorProto.FLOAT)

    def output(self, name: str, value: str, *dims: Any) -> None:
        held = self._border(name, "float32", dims, 1)
        self.nodes.append(helper.make_node("Cast", [value], [name], to=DTYPES[held]))

    def split(self, x: str, heads: int) -> str:
        """[B, T, heads * E] -> [B, heads, T, E]"""
        shaped = self.op("Reshape", x, self.constant([0, 0, heads, self.tiny.head_size], np.int64))
        return self.op("Transpose", shaped, perm=[0, 2, 1, 3])

    def project(self, block: str, which: str, x: str) -> str:
        heads = self.tiny.heads if which == "q" else self.tiny.key_heads
        return self.split(self.op("MatMul", x, self.weight(f"{block}.{which}")), heads)

    def every_head(self, x: str) -> str:
        """[B, K, T, E] -> [B, H, T, E]"""
        times = self.tiny.heads // self.tiny.key_heads
        if times == 1:
            return x
        wide = self.op("Unsqueeze", x, self.constant([2], np.int64))
        wide = self.op("Concat", *[wide] * times, axis=2)
        return self.op("Reshape", wide, self.constant([0, self.tiny.heads, -1, self.tiny.head_size], np.int64))

    def scores(self, q: str, k: str) -> str:
        product = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        return self.op("Mul", product, self.constant(self.tiny.head_size**-0.5))

    def masked(self, scores: str, mask: str, axes: Sequence[int]) -> str:
        """Where the mask, unsqueezed at `axes`, is false, a score is so low that its weight is zero."""
        if axes:
            mask = self.op("Unsqueeze", mask, self.constant(axes, np.int64))
        return self.op("Where", mask, scores, self.constant(-1e30))

    def join(self, block: str, mixed: str) -> str:
        """[B, H, T, E] -> [B, T, D]"""
        flat = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        flat = self.op("Reshape", flat, self.constant([0, 0, self.tiny.heads * self.tiny.head_size], np.int64))
        return self.op("MatMul", flat, self.weight(f"{block}.o"))

    def norm(self, x: str) -> str:
        one = self.constant(np.ones(self.tiny.d))
        return self.op("LayerNormalization", x, one, axis=-1, epsilon=1e-5)

    def embed(self, tokens: str, places: str) -> str:
        looked_up = self.op("Gather", self.weight("embed"), tokens)
        return self.op("Add", looked_up, self.op("Gather", self.weight("place"), places))

    def places(self, tokens: str) -> str:
        """[T], from 0"""
        length = self.op("Gather", self.op("Shape", tokens), self.constant(1, np.int64))
        return self.op("Range", self.constant(0, np.int64), length, self.constant(1, np.int64))

    def feed_forward(self, n: int, x: str) -> str:
        up = self.op("Relu", self.op("MatMul", self.norm(x), self.weight(f"layer{n}.up")))
        return self.op("Add", x, self.op("MatMul", up, self.weight(f"layer{n}.down")))

    def cross(self, n: int, x: str, key: str, value: str, source_mask: str) -> str:
        block = f"layer{n}.cross"
        scores = self.scores(self.project(block, "q", self.norm(x)), self.every_head(key))
        weights = self.op("Softmax", self.masked(scores, source_mask, [1, 2]), axis=-1)
        self.crossed = weights
        return self.op("Add", x, self.join(block, self.op("MatMul", weights, self.every_head(value))))

    def output_seen(self, batch: Any) -> None:
        for block, (weights, queries, keys) in self.seen.items() if self.tiny.attention else ():
            self.output(f"attention_{block.replace('.', '_')}", weights, batch, self.tiny.heads, queries, keys)

    def save(self, file: Path) -> dict[str, Any]:
        graph = helper.make_graph(self.nodes, "graph", self.inputs, self.outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        file.write_bytes(model.SerializeToString())
        return {"inputs": self.specs[0], "outputs": self.specs[1]}


def encoder_net(tiny: Tiny, half: bool, kind: type[Net] = Net) -> Net:
    net = kind(tiny, half)
    batch, length = dims(tiny)["batch"], dims(tiny)["source"]
    source = net.input("source", "int64", batch, length)
    mask = net.input("source_mask", "bool", batch, length)
    x = net.embed(source, net.places(source))
    block, inner = "encoder.self", net.norm(x)
    scores = net.scores(net.project(block, "q", inner), net.every_head(net.project(block, "k", inner)))
    weights = net.op("Softmax", net.masked(scores, mask, [1, 2]), axis=-1)
    net.seen[block] = (weights, length, length)
    mixed = net.op("MatMul", weights, net.every_head(net.project(block, "v", inner)))
    net.output("memory", net.op("Add", x, net.join(block, mixed)), batch, length, tiny.d)
    net.output_seen(batch)
    return net


def first_net(tiny: Tiny, half: bool) -> Net:
    net = Net(tiny, half)
    batch, prompt, length = (dims(tiny)[name] for name in ("batch", "prompt", "source"))
    cached = (batch, tiny.key_heads, prompt, tiny.head_size)
    tokens = net.input("tokens", "int64", batch, prompt)
    mask = net.input("tokens_mask", "bool", batch, prompt)
    memory = net.input("memory", "float32", batch, length, tiny.d) if tiny.encoder else ""
    source_mask = net.input("source_mask", "bool", batch, length) if tiny.encoder else ""
    places = net.places(tokens)
    x = net.embed(tokens, places)
    zero, one = net.constant([0], np.int64), net.constant([1], np.int64)
    causal = net.op("LessOrEqual", net.op("Unsqueeze", places, zero), net.op("Unsqueeze", places, one))
    kept = []
    for n in range(tiny.layers):
        block, inner = f"layer{n}.self", net.norm(x)
        key, value = net.project(block, "k", inner), net.project(block, "v", inner)
        kept += [(f"new_key_{n}", key, cached), (f"new_value_{n}", value, cached)]
        scores = net.masked(net.scores(net.project(block, "q", inner), net.every_head(key)), causal, [])
        weights = net.op("Softmax", scores, axis=-1)
        net.seen[block] = (weights, prompt, prompt)
        x = net.op("Add", x, net.join(block, net.op("MatMul", weights, net.every_head(value))))
        if tiny.encoder:
            crossed = (batch, tiny.key_heads, length, tiny.head_size)
            key, value = (net.project(f"layer{n}.cross", which, memory) for which in "kv")
            kept += [(f"cross_key_{n}", key, crossed), (f"cross_value_{n}", value, crossed)]
            x = net.cross(n, x, key, value, source_mask)
            net.seen[f"layer{n}.cross"] = (net.crossed, prompt, length)
        x = net.feed_forward(n, x)
    count = net.op("ReduceSum", net.op("Cast", mask, to=TensorProto.INT64), one, keepdims=1)
    last = net.op("Unsqueeze", net.op("Sub", count, one), net.constant([2], np.int64))
    last = net.op("Expand", last, net.constant([1, 1, tiny.d], np.int64))
    x = net.op("Squeeze", net.op("GatherElements", x, last, axis=1), one)
    net.output("logits", net.op("MatMul", net.norm(x), net.weight("head")), batch, tiny.vocabulary)
    for name, value, shape in kept:
        net.output(name, value, *shape)
    net.output_seen(batch)
    return net


def step_net(tiny: Tiny, half: bool) -> Net:
    net = Net(tiny, half)
    batch, room, length = (dims(tiny)[name] for name in ("batch", "cache", "source"))
    past, new = (batch, tiny.key_heads, room, tiny.head_size), (batch, tiny.key_heads, 1, tiny.head_size)
    token, position = net.input("token", "int64", batch, 1), net.input("position", "int64", batch, 1)
    past_mask = net.input("past_mask", "bool", batch, room)
    source_mask = net.input("source_mask", "bool", batch, length) if tiny.encoder else ""
    x = net.embed(token, position)
    kept = []
    for n in range(tiny.layers):
        block, inner = f"layer{n}.self", net.norm(x)
        key, value = net.project(block, "k", inner), net.project(block, "v", inner)
        kept += [(f"new_key_{n}", key), (f"new_value_{n}", value)]
        query = net.project(block, "q", inner)
        past_key, past_value = (net.every_head(net.input(f"past_{k}_{n}", "float32", *past)) for k in ("key", "value"))
        before = net.masked(net.scores(query, past_key), past_mask, [1, 2])
        weights = net.op("Softmax", net.op("Concat", before, net.scores(query, net.every_head(key)), axis=-1), axis=-1)
        ends = [net.constant([n], np.int64) for n in (0, -1, 2**31 - 1, 3)]
        of_past = net.op("MatMul", net.op("Slice", weights, ends[0], ends[1], ends[3]), past_value)
        of_new = net.op("Mul", net.op("Slice", weights, ends[1], ends[2], ends[3]), net.every_head(value))
        x = net.op("Add", x, net.join(block, net.op("Add", of_past, of_new)))
        if tiny.encoder:
            crossed = (batch, tiny.key_heads, length, tiny.head_size)
            key, value = (net.input(f"cross_{which}_{n}", "float32", *crossed) for which in ("key", "value"))
            x = net.cross(n, x, key, value, source_mask)
        x = net.feed_forward(n, x)
    x = net.op("Squeeze", x, net.constant([1], np.int64))
    net.output("logits", net.op("MatMul", net.norm(x), net.weight("head")), batch, tiny.vocabulary)
    for name, value in kept:
        net.output(name, value, *new)
    return net


def extend_net(tiny: Tiny, half: bool) -> Net:
    """As `step_net`, of several tokens a row."""
    net = Net(tiny, half)
    batch, room, length, count = (dims(tiny)[name] for name in ("batch", "cache", "source", "count"))
    past, new = (batch, tiny.key_heads, room, tiny.head_size), (batch, tiny.key_heads, count, tiny.head_size)
    token, position = net.input("token", "int64", batch, count), net.input("position", "int64", batch, 1)
    past_mask = net.input("past_mask", "bool", batch, room)
    source_mask = net.input("source_mask", "bool", batch, length) if tiny.encoder else ""
    number = net.places(token)
    x = net.embed(token, net.op("Add", position, number))
    axes = [net.constant([n], np.int64) for n in (0, 1, 3)]
    causal = net.op("LessOrEqual", net.op("Unsqueeze", number, axes[0]), net.op("Unsqueeze", number, axes[1]))
    begin, end = net.constant([0], np.int64), net.constant([2**31 - 1], np.int64)
    capacity = net.op("Slice", net.op("Shape", past_mask), axes[1], net.constant([2], np.int64))
    kept = []
    for n in range(tiny.layers):
        block, inner = f"layer{n}.self", net.norm(x)
        key, value = net.project(block, "k", inner), net.project(block, "v", inner)
        kept += [(f"new_key_{n}", key), (f"new_value_{n}", value)]
        query = net.project(block, "q", inner)
        past_key, past_value = (net.every_head(net.input(f"past_{k}_{n}", "float32", *past)) for k in ("key", "value"))
        before = net.masked(net.scores(query, past_key), past_mask, [1, 2])
        own = net.masked(net.scores(query, net.every_head(key)), causal, [])
        weights = net.op("Softmax", net.op("Concat", before, own, axis=-1), axis=-1)
        of_past = net.op("MatMul", net.op("Slice", weights, begin, capacity, axes[2]), past_value)
        of_new = net.op("MatMul", net.op("Slice", weights, capacity, end, axes[2]), net.every_head(value))
        x = net.op("Add", x, net.join(block, net.op("Add", of_past, of_new)))
        if tiny.encoder:
            crossed = (batch, tiny.key_heads, length, tiny.head_size)
            key, value = (net.input(f"cross_{which}_{n}", "float32", *crossed) for which in ("key", "value"))
            x = net.cross(n, x, key, value, source_mask)
        x = net.feed_forward(n, x)
    net.output("logits", net.op("MatMul", net.norm(x), net.weight("head")), batch, count, tiny.vocabulary)
    for name, value in kept:
        net.output(name, value, *new)
    return net


def dims(tiny: Tiny) -> dict[str, Any]:
    most = tiny.max_length
    sizes = {"batch": tiny.batch, "source": most, "prompt": most, "cache": most}
    sizes["count"] = min(8, most)
    return {name: dim(name, 1, min(2, size), size) for name, size in sizes.items()}


def manifest_of(tiny: Tiny) -> dict[str, Any]:
    """All but graphs and cases."""
    found = valid_manifest()
    return found | {"name": "tiny", "task": "translation" if tiny.encoder else "text-generation", "graphs": {}}


def asset_of(tiny: Tiny) -> dict[str, Any]:
    """assets/generation.json"""
    return {
        "encoder": "encoder" if tiny.encoder else None,
        "first": "first",
        "step": "step",
        **({"extend": "extend"} if tiny.extend else {}),
        "cache": [f"{kind}_{n}" for n in range(tiny.layers) for kind in ("key", "value")],
        "begin": tiny.begin if tiny.encoder else None,
        "stop": list(tiny.stop),
        "pad": 0,
        "max_length": tiny.max_length,
    }


def write_bundle(
    path: Path,
    tiny: Tiny,
    cases: Sequence[Mapping[str, Any]] = (),
    encoder: Callable[[Tiny, bool], Net] = encoder_net,
    **assets: Any,
) -> Path:
    """The bundle of a tiny model, fp32 and (with float16 borders) fp16. `assets` go to assets/NAME.json.

    cases     of manifest.json's `generation`, with arrays in place of the two paths
    encoder   makes the encoder's graph
    """
    manifest = manifest_of(tiny)
    nets = {"first": first_net, "step": step_net} | ({"encoder": encoder} if tiny.encoder else {})
    nets |= {"extend": extend_net} if tiny.extend else {}
    with BundleWriter(path) as writer:
        for name, make in nets.items():
            sides = make(tiny, False).save(writer.path(f"{name}.onnx"))
            make(tiny, True).save(writer.path(f"{name}.fp16.onnx"))
            tolerance = {"atol": 1e-5, "rtol": 2e-5}
            manifest["graphs"][name] = sides | {
                "opset": 17,
                "exporter": "dynamo",
                "precisions": {
                    "fp32": {"file": f"{name}.onnx", "data": [], "tolerance": tolerance},
                    "fp16": {
                        "file": f"{name}.fp16.onnx",
                        "data": [],
                        "tolerance": {"atol": 1e-2, "rtol": 1e-2},
                        "type": "fp16",
                        "half_io": True,
                    },
                },
                "cures": [],
                "stages": [],
                "consistency": [],
                "golden": [],
            }
        told = []
        for case in cases:
            files = {side: f"golden/{case['case']}.{side}.safetensors" for side in ("inputs", "outputs")}
            for side, file in files.items():
                writer.add_tensors(file, case[side])
            told.append({**case, **files})
        if told:
            manifest["generation"] = told
        manifest["assets"] = {}
        for name, value in {"generation": asset_of(tiny), **assets}.items():
            manifest["assets"][name] = f"assets/{name}.json"
            writer.add_json(f"assets/{name}.json", value)
        writer.commit(manifest)
    return path


def padded(rows: Sequence[Sequence[int]], pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(int64 [rows, longest] padded at the end, bool mask)"""
    longest = max(map(len, rows))
    tokens = np.array([[*row, *[pad] * (longest - len(row))] for row in rows], np.int64)
    return tokens, np.array([[n < len(row) for n in range(longest)] for row in rows])


def inputs_of(tiny: Tiny, prompts: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """What `Generator.generate` takes for these sources or prompts."""
    names = ("source", "source_mask") if tiny.encoder else ("tokens", "tokens_mask")
    return dict(zip(names, padded(prompts), strict=True))


def drawn_prompts(tiny: Tiny, lengths: Sequence[int], seed: int = 0) -> list[list[int]]:
    """Tokens that are neither padding nor stop tokens."""
    rng = np.random.default_rng(seed)
    return [rng.integers(3, tiny.vocabulary, length).tolist() for length in lengths]


def case_of(tiny: Tiny, prompts: Sequence[Sequence[int]], most: int, name: str = "padded") -> dict[str, Any]:
    """A case of manifest.json's `generation`, greedy, with arrays in place of paths, computed without a cache."""
    answers, scores, margin = [], [], np.inf
    for prompt in prompts:
        start = [tiny.begin] if tiny.encoder else list(prompt)
        answer = greedy_of(tiny, prompt, min(most, tiny.max_length - len(start)))
        logits = logits_of(tiny, [*start, *answer[:-1]], prompt)[len(start) - 1 :]
        ranked = np.sort(logits, 1)
        margin = min(margin, float((ranked[:, -1] - ranked[:, -2]).min()))
        log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        scores.append(log_probabilities[range(len(answer)), answer].mean())
        answers.append(answer)
    outputs = {
        "tokens": padded(answers)[0],
        "lengths": np.array([len(answer) for answer in answers]),
        "scores": np.array(scores, np.float32),
    }
    asked = {"beams": 1, "length_penalty": 1.0, "max_length": most, "margin": margin, "tolerance": 1e-4}
    return {"case": name, "inputs": inputs_of(tiny, prompts), "outputs": outputs, **asked}
