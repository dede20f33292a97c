"""The weights of sites as integers or 8-bit floats, rounded once: a graph's every form is written from these numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from attn_runtime.child_process import ChildProcess
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from safetensors.numpy import load_file, save_file

from .rounding import Blocks, fp8, quantise
from .sites import Site

#: What each kind of weight is in ONNX.
ELEMENTS = {"int8": TensorProto.INT8, "int4": TensorProto.INT4, "fp8": TensorProto.FLOAT8E4M3FN}


@dataclass(frozen=True)
class Weights:
    """What was rounded, by `key`. Two sites of one weight (a head tied to its embedding) have one.

    kind    "int8", "int4" or "fp8"
    block   rows of [K, N] that share a scale; None for one per column
    hashes  of what each was in float32, as `weight_hash` has it
    """

    kind: str
    block: int | None
    found: dict[str, Blocks]
    hashes: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, kind: str, block: int | None) -> Weights:
        """What `round_here` wrote."""
        arrays = load_file(path)
        found: dict[str, Blocks] = {}
        for name in arrays:
            if name.endswith("/q"):
                q, scales = arrays[name], arrays[f"{name[:-2]}/scales"]
                if kind == "fp8":
                    q = q.view(ml_dtypes.float8_e4m3fn)
                found[name[:-2]] = Blocks(q, scales, block or q.shape[0])
        hashes = {name[: -len("/hash")]: arrays[name].tobytes() for name in arrays if name.endswith("/hash")}
        return cls(kind, block, found, hashes)

    def of(self, site: Site) -> Blocks:
        return self.found[key(site)]

    def bytes_of(self, site: Site) -> int:
        """What the weight takes on disk: its numbers and one float32 per scale."""
        blocks = self.of(site)
        return -(-blocks.q.size * (4 if self.kind == "int4" else 8) // 8) + 4 * blocks.scales.size


def key(site: Site) -> str:
    return f"{site.weight}|{'NK' if site.stored_nk else 'KN'}"


def round_weights(
    source: Path,
    sites: Sequence[Site],
    kind: str,
    block: int | None,
    method: str,
    moments: Mapping[str, Path],
    target: Path,
    isolated: ChildProcess,
    before: Sequence[Path] = (),
) -> Weights:
    """Round the weights of `sites` by `method`; `moments` are the second moments of activations, by tensor, where it needs them.

    A weight that lies in one of the files `before`, as they were written for other graphs of the model, is taken from there:
    graphs that share a weight share what it was rounded to. Raises TaskFailed for a weight that is not finite.
    """
    isolated.run(
        "attn_export.precision.quantised.weights:round_here",
        "rounding weights",
        source=str(source),
        sites=[site.to_json() for site in sites],
        kind=kind,
        block=block,
        method=method,
        moments={name: str(path) for name, path in moments.items()},
        target=str(target),
        before=[str(path) for path in before],
    )
    return Weights.read(target, kind, block)


def round_here(
    source: str,
    sites: list[dict[str, Any]],
    kind: str,
    block: int | None,
    method: str,
    moments: dict[str, str],
    target: str,
    before: list[str],
) -> dict[str, Any]:
    """The task of the child process."""
    found: dict[str, NDArray[Any]] = {}
    known = {hash_: one for path in before for hash_, one in _by_hash(load_file(path)).items()}
    stored = {t.name: t for t in onnx.load(source, load_external_data=False).graph.initializer}
    for site in (Site.from_json(entry) for entry in sites):
        if f"{key(site)}/q" in found:
            continue
        matrix = as_matrix(numpy_helper.to_array(stored[site.weight], str(Path(source).parent)), site)
        hash_ = _hash(matrix)
        found[f"{key(site)}/hash"] = np.frombuffer(hash_, np.uint8)
        if hash_ in known:
            found[f"{key(site)}/q"], found[f"{key(site)}/scales"] = known[hash_]
            continue
        moment, samples = None, None
        if site.activation in moments:
            measured = load_file(moments[site.activation])
            moment, samples = measured["moments"], int(measured["rows"][0])
        # A table is looked up in: there is no product whose error could be made up for. A convolution's activation is not what
        # its weight is multiplied with, which are windows of it.
        taken = "clip" if method == "gptq" and not has_moments(site) else method
        bits, name = 4 if kind == "int4" else 8, f"weight {site.weight} of node {site.node}"
        blocks = fp8(matrix, name) if kind == "fp8" else quantise(matrix, bits, block, taken, moment, samples, name)
        found[f"{key(site)}/q"] = np.ascontiguousarray(blocks.q).view(np.uint8 if kind == "fp8" else np.int8)
        found[f"{key(site)}/scales"] = np.ascontiguousarray(blocks.scales)
    save_file(found, target)
    return {}


def weight_hash(source: Path, site: Site) -> bytes:
    """The SHA-256 of the weight in float32 as [K, N]: graphs of a model share a weight where these are equal."""
    stored = {t.name: t for t in onnx.load(source, load_external_data=False).graph.initializer}
    return _hash(as_matrix(numpy_helper.to_array(stored[site.weight], str(source.parent)), site))


def _hash(matrix: NDArray[np.float32]) -> bytes:
    # With its shape: weights of zeros or ones have the same bytes in any.
    return hashlib.sha256(str(matrix.shape).encode() + np.ascontiguousarray(matrix).tobytes()).digest()


def has_moments(site: Site) -> bool:
    """Whether the rows of its activation are what its weight is multiplied with."""
    return bool(site.activation) and site.operator != "Conv"


def _by_hash(arrays: Mapping[str, NDArray[Any]]) -> dict[bytes, tuple[NDArray[Any], NDArray[Any]]]:
    names = [name[: -len("/hash")] for name in arrays if name.endswith("/hash")]
    return {arrays[f"{n}/hash"].tobytes(): (arrays[f"{n}/q"], arrays[f"{n}/scales"]) for n in names}


def as_matrix(stored: NDArray[np.float32], site: Site) -> NDArray[np.float32]:
    """[K, N] of a weight as it is stored."""
    return stored.reshape(site.n, site.k).T if site.stored_nk else stored.reshape(site.k, site.n)


def as_stored(matrix: NDArray[Any], site: Site, shape: Sequence[int]) -> NDArray[Any]:
    """The reverse: [K, N] in the shape that the weight is stored in."""
    return np.ascontiguousarray(matrix.T if site.stored_nk else matrix).reshape(tuple(shape))
