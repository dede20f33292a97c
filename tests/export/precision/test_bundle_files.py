"""A precision in a bundle of several graphs: what it has in common with fp32 lies there once, and stays when it goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_export.precision.bundle_files import write_precision
from attn_runtime.backends import native
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.sizes import precision_sizes
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from support.quantised.two_graphs import BIG, DOWN, OWN, rounded, stored, two_graphs


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return two_graphs(tmp_path / "two.attn")


def write(bundle: Path, tmp_path: Path, name: str, bits: int = 6) -> set[str]:
    """Write the precision; the names of the data files that are there then."""
    write_precision(bundle, Bundle.open(bundle), name, rounded(bundle, tmp_path, name, bits=bits))
    return {path.name for path in bundle.glob("*.data")}


def test_what_fp32_has_is_referred_to_and_not_stored_again(bundle: Path, tmp_path: Path) -> None:
    before = (bundle / "weights.data").read_bytes()
    assert write(bundle, tmp_path, "cut") == {"weights.data", "weights.cut.data"}
    assert (bundle / "weights.data").read_bytes() == before
    assert (bundle / "weights.cut.data").stat().st_size == BIG.nbytes
    for graph, down in (("left", DOWN), ("right", OWN)):
        found = stored(bundle / f"{graph}.cut.onnx")
        assert found["big"][0] == "weights.cut.data" and np.abs(found["big"][1] - BIG).max() == pytest.approx(
            2**-7, 1e-2
        )
        assert found["down"][0] == "weights.data" and np.array_equal(found["down"][1], down)
    entry = Bundle.open(bundle).manifest["graphs"]["left"]["precisions"]["cut"]
    assert sorted(entry["data"]) == ["weights.cut.data", "weights.data"]
    assert verify(bundle, precision="cut").passed and verify(bundle).passed
    size = precision_sizes(Bundle.open(bundle))["cut"]
    assert size.shared == {"fp32": DOWN.nbytes + OWN.nbytes}


@pytest.mark.parametrize("backend", ["ort", "native"])
def test_both_readers_take_a_graph_with_two_data_files(bundle: Path, tmp_path: Path, backend: str) -> None:
    if backend == "native" and (problem := native.why_unavailable()):
        pytest.skip(problem)
    write(bundle, tmp_path, "cut")
    assert verify(bundle, backend, "cpu", precision="cut").passed
    x = np.random.default_rng(2).standard_normal((3, 96)).astype(np.float32)
    with open_session(bundle, "cpu", backend, graph="right", precision="cut") as session:
        np.testing.assert_allclose(
            session.run({"x": x})["y"], x @ (np.round(BIG * 64) / 64) @ OWN, rtol=1e-3, atol=1e-3
        )


def test_what_is_replaced_takes_no_file_along_that_others_name(bundle: Path, tmp_path: Path) -> None:
    write(bundle, tmp_path, "cut")
    write(bundle, tmp_path, "cut", bits=5)
    write(bundle, tmp_path, "other")
    assert verify(bundle, precision="other").passed
    write_precision(bundle, Bundle.open(bundle), "cut", {"left": [], "right": []})
    assert {path.name for path in bundle.glob("*.data")} == {"weights.data", "weights.other.data"}
    assert not list(bundle.glob("*.cut.onnx"))
    assert verify(bundle, precision="fp32").passed and verify(bundle, precision="other").passed


def test_without_new_weights_there_is_no_file_and_an_old_one_goes(bundle: Path, tmp_path: Path) -> None:
    write(bundle, tmp_path, "cut")
    assert write(bundle, tmp_path, "cut", bits=0) == {"weights.data"}
    assert {*Bundle.open(bundle).manifest["files"]}.isdisjoint({"weights.cut.data"})
    assert verify(bundle, precision="cut").passed and verify(bundle).passed


def test_nothing_changes_when_the_proof_fails(bundle: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}

    def refuse(staged: Bundle) -> None:
        assert verify(staged.path, precision="cut").passed
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write_precision(bundle, Bundle.open(bundle), "cut", rounded(bundle, tmp_path, "cut"), refuse)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
