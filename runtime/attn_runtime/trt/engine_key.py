"""The key of an engine: what it was built from, with and for. Lies beside it as NAME.engine.json.

An engine is trusted only with its key: a key that differs from what is wanted names the fields, and the engine's own
sha256 in it tells a damaged file before any library reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import BundleError, EngineError
from ..files import find_problem, parse_json, read_json, shown
from .fused_attention import BlockFusion
from .machine import Machine
from .precision_audit import Audit
from .profiles import Profile

SCHEMA_VERSION = 1
#: A key of 65 536 attention blocks would not fit; nobody has them.
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class EngineKey:
    """The fields of engine.schema.json, which describes each; sizes in bytes, `seconds` of the build."""

    model: str
    file: str
    model_sha256: str
    graph: str | None
    precision: str
    type: str
    profiles: tuple[Profile, ...]
    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    os: str
    engine_sha256: str
    engine_size: int
    scratch: int | None
    workspace: int | None
    level: int | None
    tf32: bool
    audit: Audit
    attention: tuple[BlockFusion, ...]
    seconds: float
    created: str
    builder: str
    weak: bool = False

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **vars(self)}
        if not self.weak:  # as keys were written before there were weakly typed engines
            del told["weak"]
        told["profiles"] = [
            {name: dict(zip(("min", "opt", "max"), map(list, shapes), strict=True)) for name, shapes in one.items()}
            for one in self.profiles
        ]
        told["compute_capabilities"] = list(self.compute_capabilities)
        told["audit"] = self.audit.to_json()
        told["attention"] = [block.to_json() for block in self.attention]
        return told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EngineKey:
        """From JSON that fits the schema; `read_key` checks that it does."""
        fields = {name: value for name, value in data.items() if name != "schema_version"}
        fields["profiles"] = tuple(
            {name: (tuple(s["min"]), tuple(s["opt"]), tuple(s["max"])) for name, s in one.items()}
            for one in data["profiles"]
        )
        fields["compute_capabilities"] = tuple(data["compute_capabilities"])
        fields["audit"] = Audit.from_json(data["audit"])
        fields["attention"] = tuple(map(BlockFusion.from_json, data["attention"]))
        return cls(**fields)

    def to_bytes(self) -> bytes:
        """The key file's content. Raises EngineError where a field is not what the schema allows."""
        told = self.to_json()
        data = (json.dumps(told, indent=2, allow_nan=False) + "\n").encode()
        # Through the reader's own eyes: what it would refuse is not written.
        problem = find_problem(parse_json(data, "engine key"), schema(), schema())
        if problem or len(data) > _MOST_BYTES:
            raise EngineError(f"the engine's key can't be written: {problem or f'{len(data)} bytes'}")
        return data


@dataclass(frozen=True)
class Wanted:
    """What an engine must be for: one file of a model, on one machine."""

    model_sha256: str
    graph: str | None
    precision: str
    type: str
    machine: Machine


def mismatches(key: EngineKey, wanted: Wanted) -> list[tuple[str, str, str]]:
    """(field, wanted, found) for every field that keeps the engine of `key` from being used; empty when it fits.

    The GPU is left out where the machine has none.
    """
    machine = wanted.machine
    found = [
        (name, str(getattr(wanted, name)), str(getattr(key, name)))
        for name in ("graph", "precision", "type", "model_sha256")
        if getattr(wanted, name) != getattr(key, name)
    ]
    if key.flavour not in machine.flavours:
        found.append(("flavour", " or ".join(sorted(machine.flavours)) or "none is installed", key.flavour))
    elif machine.flavours[key.flavour] != key.version:
        found.append(("version", f"{key.flavour} {machine.flavours[key.flavour]}", f"{key.flavour} {key.version}"))
    if machine.os != key.os:
        found.append(("os", machine.os, key.os))
    capability = machine.compute_capability
    if capability is not None and capability not in key.compute_capabilities:
        found.append(("compute capability", capability, ", ".join(key.compute_capabilities)))
    return found


def mismatch_text(found: Sequence[tuple[str, str, str]]) -> str:
    """ "version (wanted rtx 1.8, found rtx 1.7); os (...)"; a hash is cut to what tells it apart."""

    def short(text: str) -> str:
        return text[:12] if len(text) == 64 else text

    return "; ".join(f"{field} (wanted {short(want)}, found {short(have)})" for field, want, have in found)


def read_key(path: Path) -> EngineKey:
    """The key in `path`. Raises EngineError where it is missing, damaged or of another schema version."""
    try:
        value = read_json(path, f"engine {path.name}", _MOST_BYTES)
    except BundleError as error:
        raise EngineError(str(error).rpartition("; ")[0] + "; build the engine again") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise EngineError(
            f"{path.name}: schema_version is {shown(version)}, this attn-runtime knows {SCHEMA_VERSION}; "
            "build the engine again"
        )
    problem = find_problem(value, schema(), schema())
    if problem:
        raise EngineError(f"{path.name}: {problem}; build the engine again")
    key = EngineKey.from_json(value)
    for profile in key.profiles:
        for name, (low, opt, high) in profile.items():
            if not len(low) == len(opt) == len(high) or any(map(_falls, low, opt, high)):
                raise EngineError(
                    f"{path.name}: profiles: {shown(name)}: got {shown([*map(list, (low, opt, high))])}, expected shapes of "
                    "one rank, min <= opt <= max; build the engine again"
                )
    return key


def _falls(low: int, opt: int, high: int) -> bool:
    return not low <= opt <= high


def model_digest(file: Path, sha256: Mapping[str, str]) -> str:
    """What identifies a model: the sha256 of its ONNX file, or of the list of all its files' where it has data files.

    `sha256` is file name -> hash, of the ONNX file and of every data file.
    """
    if len(sha256) == 1:
        return sha256[file.name]
    others = sorted(name for name in sha256 if name != file.name)
    lines = "".join(f"{sha256[name]}  {name}\n" for name in (file.name, *others))
    return hashlib.sha256(lines.encode()).hexdigest()


@lru_cache(maxsize=1)
def schema() -> Mapping[str, Any]:
    """The document engine.schema.json, as published."""
    loaded: Mapping[str, Any] = json.loads(Path(__file__).with_name("engine.schema.json").read_text(encoding="utf-8"))
    return loaded
