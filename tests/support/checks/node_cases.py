"""onnx's own tests of operators: each a model of one node, with inputs and the answers of its text."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest

from .once import once


class NodeCase(NamedTuple):
    """data_sets: (inputs, outputs) of each run, in the order of the graph's."""

    name: str
    model: onnx.ModelProto
    data_sets: list[tuple[Any, Any]]


def node_cases(factory: pytest.TempPathFactory) -> dict[str, NodeCase]:
    """By name. Made once for all processes of a run: to compute them takes ten seconds."""
    return _read(once(factory, "node-cases", _write) / "cases.pickle")


def _write(folder: Path) -> None:
    from onnx.backend.test.case.node import collect_testcases

    made = [tuple(NodeCase(case.name, case.model, case.data_sets)) for case in collect_testcases(None)]
    (folder / "cases.pickle").write_bytes(pickle.dumps(made))


@cache
def _read(file: Path) -> dict[str, NodeCase]:
    return {name: NodeCase(name, *rest) for name, *rest in pickle.loads(file.read_bytes())}
