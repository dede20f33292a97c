"""Which mutants are drawn, and what is written of one."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.mutation import Mutants
from attn_runtime.errors import BundleError
from onnx import external_data_helper
from support.graphs.mutated import graph

TEXT = """(float[B, 4] x) => (float[B, 4] y) {
    a = MatMul(x, u) b = Add(a, c) d = Relu(b) e = MatMul(d, v) f = Tanh(e) y = Softmax<axis = -1>(f)
}"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal((4, 4), dtype=np.float32) for n in ("u", "v")}
    return graph(tmp_path / "g.onnx", TEXT, {**weights, "c": np.arange(4, dtype=np.float32)})


def test_every_family_and_every_node_comes_before_one_comes_twice(net: Path) -> None:
    mutants = Mutants(net)
    first = list(islice(mutants.draw(3), 2 * len(mutants.families)))
    assert set(Counter(s.mutant.family for s in first[: len(mutants.families)]).values()) == {1}
    by_family: dict[str, list[str]] = {}
    for site in mutants.draw(3):
        by_family.setdefault(site.mutant.family, []).append(site.change.place or site.mutant.node)
    assert set(by_family["weight"][:2]) == {"u", "v"}
    assert set(by_family["activation"][:3]) == {"Relu_2", "Tanh_4", "Softmax_5"}


def test_the_seed_decides(net: Path) -> None:
    def drawn(seed: int) -> list[str]:
        return [str(s.mutant) for s in Mutants(net).draw(seed)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert sorted(drawn(1)) == sorted(drawn(2)) and len(set(drawn(1))) == len(drawn(1))


def test_each_mutant_is_a_graph_of_its_own(net: Path, tmp_path: Path) -> None:
    mutants, before = Mutants(net), net.read_bytes()
    for site in mutants.draw(0):
        mutants.write(site, tmp_path / "m.onnx")
        onnx.checker.check_model(str(tmp_path / "m.onnx"))
        assert (tmp_path / "m.onnx").read_bytes() != before
    assert net.read_bytes() == before


def test_the_module_is_told(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, 4] x) => (float[B, 4] y) { y = Relu(x) }")
    model = onnx.load(file)
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'head', 'head.act', 'relu']")
    onnx.save(model, file)
    site = next(Mutants(file, "encoder").draw(0))
    assert (site.mutant.module, site.mutant.graph) == ("head.act", "encoder")
    assert str(site.mutant).startswith("activation: encoder: Relu Relu_0 (head.act): ReLU ")


def test_external_weights_stay_where_they_are(net: Path, tmp_path: Path) -> None:
    model = onnx.load(net)
    external_data_helper.convert_model_to_external_data(model, location="g.data", size_threshold=0)
    onnx.save(model, net)
    mutants = Mutants(net)
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "m.onnx"
    mutants.write(next(s for s in mutants.draw(0) if s.mutant.what == "u: negated"), target)
    written = onnx.load(target, load_external_data=False)
    outside = {t.name for t in written.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL}
    assert outside == {"v", "c"} and list(target.parent.iterdir()) == [target]


def test_no_model(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError):
        Mutants(tmp_path / "g.onnx")
