"""Attacks on a bundle that writes: what its asset and its generated cases claim of graphs, tensors and files.

As in make_hostile_bundles.py, everything that a naive reader would follow is really there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.writer import BundleWriter

from support.graphs.make_hostile_bundles import (
    Attack,
    content,
    dim,
    drop,
    edit,
    entry,
    gemm_model,
    tensors,
    valid_manifest,
)

ROWS, VOCABULARY = 3, 10
_BATCH, _PROMPT, _CACHE = dim("batch", 1, 2, 4), dim("prompt", 1, 2, 8), dim("cache", 1, 4, 16)
_COUNT = dim("count", 1, 2, 4)


def _fixed(size: int) -> dict[str, Any]:
    return dim(None, size, size, size)


def _tensor(name: str, dtype: str, *dims: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": list(dims)}


def _cached(name: str, entries: dict[str, Any]) -> list[dict[str, Any]]:
    return [_tensor(f"{name}_{kind}_0", "float32", _BATCH, _fixed(2), entries, _fixed(4)) for kind in ("key", "value")]


def generator_manifest() -> dict[str, Any]:
    """A decoder-only generator of one layer with two heads."""
    whole = valid_manifest()
    logits = _tensor("logits", "float32", _BATCH, _fixed(VOCABULARY))
    one = _fixed(1)
    several = _tensor("logits", "float32", _BATCH, _COUNT, _fixed(VOCABULARY))
    sides = {
        "first": (
            [_tensor("tokens", "int64", _BATCH, _PROMPT), _tensor("tokens_mask", "bool", _BATCH, _PROMPT)],
            [logits, *_cached("new", _PROMPT)],
        ),
        "step": (
            [
                _tensor("token", "int64", _BATCH, one),
                _tensor("position", "int64", _BATCH, one),
                _tensor("past_mask", "bool", _BATCH, _CACHE),
                *_cached("past", _CACHE),
            ],
            [logits, *_cached("new", one)],
        ),
        "extend": (
            [
                _tensor("token", "int64", _BATCH, _COUNT),
                _tensor("position", "int64", _BATCH, one),
                _tensor("past_mask", "bool", _BATCH, _CACHE),
                *_cached("past", _CACHE),
            ],
            [several, *_cached("new", _COUNT)],
        ),
    }
    fp32 = {"data": [], "tolerance": {"atol": 1e-6, "rtol": 2e-5}}
    graphs = {
        name: {
            "inputs": inputs,
            "outputs": outputs,
            "opset": 17,
            "exporter": "dynamo",
            "precisions": {"fp32": {"file": f"{name}.onnx", **fp32}},
            "cures": [],
            "stages": [],
            "consistency": [],
            "golden": [],
        }
        for name, (inputs, outputs) in sides.items()
    }
    case = {
        "case": "greedy",
        "inputs": "golden/generation.greedy.inputs.safetensors",
        "outputs": "golden/generation.greedy.outputs.safetensors",
        "beams": 1,
        "length_penalty": 1.0,
        "max_length": 4,
        "margin": 0.5,
        "tolerance": 1e-4,
    }
    return {**whole, "graphs": graphs, "generation": [case], "assets": {"generation": "assets/generation.json"}}


ASSET = {
    "encoder": None,
    "first": "first",
    "step": "step",
    "extend": "extend",
    "cache": ["key_0", "value_0"],
    "begin": None,
    "stop": [2],
    "pad": 0,
    "max_length": 12,
}


def make_generator_bundle(path: Path) -> Path:
    """A bundle that a reader takes. Its graphs compute something else than they claim, which only a session would see."""
    manifest = generator_manifest()
    with BundleWriter(path) as writer:
        for name in manifest["graphs"]:
            onnx.save(gemm_model(), writer.path(f"{name}.onnx"))
        (case,) = manifest["generation"]
        tokens = np.tile(np.arange(3, 8), (ROWS, 1))
        writer.add_tensors(case["inputs"], {"tokens": tokens, "tokens_mask": np.ones(tokens.shape, bool)})
        answers = {"tokens": np.full((ROWS, 4), 5), "lengths": np.full(ROWS, 4), "scores": np.zeros(ROWS, np.float32)}
        writer.add_tensors(case["outputs"], answers)
        writer.add_json("assets/generation.json", ASSET)
        writer.commit(manifest)
    return path


_CASE = ("generation", 0)
_STEP = ("graphs", "step")
_PAST_KEY = (*_STEP, "inputs", 3)
_EXTEND = ("graphs", "extend")


def _asset(**changed: Any) -> Any:
    import json

    return content("assets/generation.json", json.dumps({**ASSET, **changed}))


def _answers(**shapes: tuple[str, list[int], bytes]) -> Any:
    """The outputs file of the case with what it really has, but for `shapes`: (dtype, shape, data)."""
    whole: dict[str, tuple[str, list[int], bytes]] = {
        "tokens": ("I64", [ROWS, 4], bytes(8 * ROWS * 4)),
        "lengths": ("I64", [ROWS], np.full(ROWS, 4).tobytes()),
        "scores": ("F32", [ROWS], bytes(4 * ROWS)),
        **shapes,
    }
    header, data = {}, b""
    for name, (dtype, shape, part) in whole.items():
        header[name] = entry(shape, len(data) + len(part), dtype, len(data))
        data += part
    return content("golden/generation.greedy.outputs.safetensors", tensors(header, data))


ATTACKS: tuple[Attack, ...] = (
    # the manifest
    Attack("generation-empty", "generation", edit("generation", to=[])),
    Attack("generation-up", "expected a relative path", edit(*_CASE, "inputs", to="../outside/secret.json")),
    Attack("generation-unlisted", "is not listed in files", edit(*_CASE, "outputs", to="golden/other.safetensors")),
    Attack("generation-no-asset", "no asset generation", drop("assets", "generation")),
    Attack("generation-beams", "beams", edit(*_CASE, "beams", to=0)),
    Attack("generation-margin", "margin", edit(*_CASE, "margin", to=-1)),
    Attack("generation-twice", "two cases have one name", edit("generation", to=[generator_manifest()["generation"][0]] * 2)),
    # the asset
    Attack("asset-form", "expected", _asset(begin="BOS"), "generation"),
    Attack("asset-key", "surprise", _asset(surprise=1), "generation"),
    Attack("asset-no-graph", 'step is graph "steps", the bundle has first, step, extend', _asset(step="steps"), "generation"),
    Attack("asset-one-graph-twice", "name one graph twice", _asset(step="first"), "generation"),
    Attack("asset-no-tensor", 'graph first has no "new_key_7"', _asset(cache=["key_0", "value_0", "key_7"]), "generation"),
    Attack("asset-cache-twice", "one of them twice", _asset(cache=["key_0", "key_0"]), "generation"),
    Attack("asset-cache-partly", 'nobody gives its input "past_value_0"', _asset(cache=["key_0"]), "generation"),
    Attack("asset-token", "is token 10, the graphs have 10 tokens", _asset(stop=[VOCABULARY]), "generation"),
    Attack("asset-begin", "begin is given", _asset(begin=1), "generation"),
    # the graphs that it names
    Attack("cache-dtype", "differ in dtype, heads or head size", edit(*_PAST_KEY, "dtype", to="float16"), "generation"),
    Attack("cache-heads", "differ in dtype, heads or head size", edit(*_PAST_KEY, "dims", 1, to=_fixed(3)), "generation"),
    Attack("cache-rank", "expected float", edit(*_PAST_KEY, "dims", to=[_BATCH, _CACHE, _fixed(4)]), "generation"),
    Attack("cache-sizes", "different sizes", edit(*_PAST_KEY, "dims", 2, to=dim("other", 1, 4, 32)), "generation"),
    Attack("step-no-token", 'has no input "token"', edit(*_STEP, "inputs", 0, "name", to="id"), "generation"),
    Attack("step-token-dtype", "expected int64 of rank 2", edit(*_STEP, "inputs", 0, "dtype", to="int32"), "generation"),
    Attack("step-logits", "different numbers of tokens", edit(*_STEP, "outputs", 0, "dims", 1, to=_fixed(11)), "generation"),
    # the graph of several tokens
    Attack("extend-form", "extend", _asset(extend=3), "generation"),
    Attack("extend-no-graph", 'extend is graph "more"', _asset(extend="more"), "generation"),
    Attack("extend-has-a-part", "which has another part already", _asset(extend="step"), "generation"),
    Attack("extend-one-token", "expected 2, or more", edit(*_EXTEND, "inputs", 0, "dims", 1, to=_fixed(1)), "generation"),
    Attack("extend-many-tokens", "expected 2, or more",
           edit(*_EXTEND, "inputs", 0, "dims", 1, to=dim("other", 3, 3, 4)), "generation"),
    Attack("extend-no-position", 'has no input "position"', edit(*_EXTEND, "inputs", 1, "name", to="places"), "generation"),
    Attack("extend-positions", "expected the first position alone",
           edit(*_EXTEND, "inputs", 1, "dims", 1, to=_COUNT), "generation"),
    Attack("extend-rows", "different numbers of rows",
           edit(*_EXTEND, "inputs", 0, "dims", 0, to=dim("rows", 1, 2, 3)), "generation"),
    Attack("extend-asks-more", 'nobody gives its input "more"',
           edit(*_EXTEND, "inputs", 4, "name", to="more"), "generation"),
    Attack("extend-no-entries", 'has no "past_value_0"', drop(*_EXTEND, "inputs", 4), "generation"),
    Attack("extend-heads", "differ in dtype, heads or head size",
           edit(*_EXTEND, "outputs", 1, "dims", 1, to=_fixed(3)), "generation"),
    Attack("extend-cache", "other sizes of the cache",
           edit(*_EXTEND, "inputs", 3, "dims", 2, to=dim("other", 1, 4, 32)), "generation"),
    Attack("extend-logits", "expected logits: float[batch, count, vocabulary]",
           edit(*_EXTEND, "outputs", 0, "dims", to=[_BATCH, _fixed(VOCABULARY)]), "generation"),
    Attack("extend-vocabulary", "different numbers of tokens",
           edit(*_EXTEND, "outputs", 0, "dims", 2, to=_fixed(11)), "generation"),
    # what was written
    Attack("answers-dtype", "is int32 [3, 4]", _answers(tokens=("I32", [ROWS, 4], bytes(48))), "generation"),
    Attack("answers-rows", "expected one number", _answers(scores=("F32", [2], bytes(8))), "generation"),
    Attack("answers-long", "lengths of 5..5, and tokens has 4",
           _answers(lengths=("I64", [ROWS], np.full(ROWS, 5).tobytes())), "generation"),
    Attack("answers-terabyte", "no safetensors file",
           _answers(tokens=("I64", [2**20, 2**20], bytes(96))), "generation"),
)  # fmt: skip
