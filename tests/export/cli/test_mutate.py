"""`attn-export verify --mutate`: what is printed, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.spec import Dim, TensorSpec
from support.command_lines.json_answers import result_of
from support.graphs.mutated import bundle

B = Dim("B", 1, 2, 4)
W = np.random.default_rng(0).standard_normal((4, 4), dtype=np.float32)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A bundle whose gate is shut, so that some mutants survive."""
    text = "(float[B, 4] x) => (float[B, 4] y) { p = MatMul(x, w) q = Mul(p, gate) y = Add(x, q) }"
    specs = [TensorSpec(name, "float32", (B, Dim.fixed(4))) for name in ("x", "y")]
    return bundle(tmp_path / "net.attn", text, {"w": W, "gate": np.zeros(1, np.float32)}, specs[:1], specs[1:])


def test_the_score_and_the_survivors_are_told_and_fail_nothing(net: Path, attn_export: Callable) -> None:
    ran = attn_export("verify", net, "--mutate", 8, "--seed", 1)
    assert ran.code == 0 and ran.out == ""
    lines = ran.err.splitlines()
    assert lines[0].startswith("replay ")
    assert lines[1].startswith("mutate ") and " caught" in lines[1] and "equivalent" in lines[1]
    assert [line for line in lines if line.startswith("equivalent: weight: MatMul MatMul_0: w: ")]
    assert [line for line in lines if line.startswith("note ") and "gate is all 0" in line]


def test_json(net: Path, attn_export: Callable) -> None:
    ran = attn_export("verify", net, "--mutate", 3, "--json", "--quiet")
    assert ran.code == 0 and ran.err == ""
    found = result_of(ran.out)
    assert found["replay"]["passed"] and found["mutation"]["made"] == len(found["mutation"]["mutants"]) == 3


def test_without_it_nothing_is_said_of_mutants(net: Path, attn_export: Callable) -> None:
    ran = attn_export("verify", net, "--json")
    assert ran.code == 0 and "mutate" not in ran.err and "mutation" not in result_of(ran.out)


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_that_is_none(net: Path, attn_export: Callable, count: str) -> None:
    ran = attn_export("verify", net, "--mutate", count)
    assert ran.code == 2 and "--mutate" in ran.err


def test_a_plain_file_has_no_golden_cases(net: Path, attn_export: Callable) -> None:
    ran = attn_export("verify", net / "model.onnx", "some:source", "--mutate", "3")
    assert ran.code == 2 and "model.onnx is a plain ONNX file" in ran.err and len(ran.err.splitlines()) == 1
