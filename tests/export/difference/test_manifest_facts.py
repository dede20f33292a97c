"""What a manifest says, as facts of a name each; what it may say of any kind of bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attn_export.difference import manifest_facts as facts
from attn_runtime.bundle import Bundle, Graph, Precision
from attn_runtime.compare import Tolerance
from attn_runtime.spec import Dim, TensorSpec, Values
from support.bundles.compared_bundles import write_bundle
from support.graphs.make_hostile_bundles import make_valid_bundle


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Something in every field of the manifest."""
    return Bundle.open(make_valid_bundle(tmp_path_factory.mktemp("facts") / "valid.attn"))


def test_of_the_model(valid: Bundle) -> None:
    told = facts.model_facts(valid)
    assert told["source"] == "module gemm:build" and told["weights from"] == f"gemm.safetensors {'0' * 12}"
    assert told["version of torch"] == "2.13.0" and told["licence"] == "apache-2.0"
    assert told["repository of huggingface"] == "org/gemm" and told["config features"] == "16"
    assert not any(key.startswith("files") or "created" in key for key in told)


def test_of_a_graph_and_its_precisions(valid: Bundle) -> None:
    graph: Graph = valid.graphs["model"]
    told = facts.graph_facts(valid.manifest["graphs"]["model"], graph)
    assert told["opset"] == 17 and told["patch frozen-parameters"] == "made 1 parameter a constant"
    assert any(key.startswith("golden case ") for key in told)
    kept = facts.precision_facts(graph)
    half = "fp16, for tensorrt only, float16 inputs and outputs, limit 0.001 + 0.005 to 0.01 of max, 1 attention block"
    assert kept["half"] == half
    assert kept["half: in fp32 encoder.norm"] == "overflow: Pow"


def test_of_tensors() -> None:
    specs = [
        TensorSpec("a", "int64", (Dim("n", 1, 2, 4),), low=0, high=50),
        TensorSpec(
            "b", "float32", (Dim("n", 3, 3, 3), Dim.fixed(2)), "heights", "m", values=Values("uniform", low=0, high=2)
        ),
    ]
    assert facts.tensor_facts(specs, "input") == {
        "input a": "int64[n=1:2:4] from 0 below 50",
        "input b": "float32[n=3, 2] ~ uniform(0, 2) (heights, m)",
    }


def test_nodes_that_stay_in_fp32_are_told_by_module_and_reason() -> None:
    def kept(node: str, module: str, reason: str) -> dict[str, Any]:
        return {"node": node, "operator": node.title(), "module": module, "reason": reason}

    nodes = kept("pow", "norm", "a"), kept("mul", "norm", "a"), kept("add", "norm", "b"), kept("exp", "", "c")
    entry = Precision(Path("m"), (), Tolerance(), kept=nodes)
    told = facts.chosen_facts(entry)
    assert told["in fp32 norm"] == "a: Pow, Mul; b: Add" and told["in fp32 exp"] == "c: Exp"


def test_engines(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "a.attn")
    assert facts.engine_facts(Bundle.open(path)) == {}
    (path / "engines").mkdir()
    (path / "engines" / "model.fp32.rtx.engine.json").write_text("{")
    (told,) = facts.engine_facts(Bundle.open(path)).items()
    assert told[0] == "model.fp32.rtx.engine" and str(told[1]).startswith("can't be judged: ")


def test_sizes(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "a.attn", int8=True)
    assert list(facts.size_facts(Bundle.open(path))) == ["precision fp32", "precision int8", "whole bundle"]
    assert json.dumps(facts.size_facts(Bundle.open(path)))
