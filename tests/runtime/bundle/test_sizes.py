"""What precisions take: by the places that graphs name, not by the files that these lie in."""

from __future__ import annotations

from pathlib import Path

from attn_export.precision.bundle_files import write_precision
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.sizes import file_bytes, precision_sizes
from support.quantised.two_graphs import BIG, DOWN, OWN, rounded, two_graphs


def test_a_place_counts_once_whichever_graphs_and_precisions_name_it(tmp_path: Path) -> None:
    path = two_graphs(tmp_path / "two.attn")
    for name in ("cut", "cut-trt"):
        write_precision(path, Bundle.open(path), name, rounded(path, tmp_path, name))
    opened = Bundle.open(path)
    sizes = precision_sizes(opened)
    models = {name: sum(g.precisions[name].file.stat().st_size for g in opened.graphs.values()) for name in sizes}
    weights = BIG.nbytes + DOWN.nbytes + OWN.nbytes
    assert list(sizes) == ["fp32", "cut", "cut-trt"]
    assert {name: size.bytes - models[name] for name, size in sizes.items()} == dict.fromkeys(sizes, weights)
    common = DOWN.nbytes + OWN.nbytes
    assert [size.shared for size in sizes.values()] == [{}, {"fp32": common}, {"fp32": common, "cut": common}]
    left = opened.graph("left").precisions["cut"]
    assert file_bytes([left]) == left.file.stat().st_size + BIG.nbytes + DOWN.nbytes
    assert sizes["cut"].to_json() == {"bytes": sizes["cut"].bytes, "shared": {"fp32": common}}


def test_a_graph_with_its_weights_inside_is_its_file(valid_bundle: Path) -> None:
    sizes = precision_sizes(Bundle.open(valid_bundle))
    assert sizes["fp32"].bytes == (valid_bundle / "model.onnx").stat().st_size and not sizes["ext"].shared
    ext = (valid_bundle / "model.ext.onnx").stat().st_size + (valid_bundle / "model.ext.onnx.data").stat().st_size
    assert sizes["ext"].bytes == ext
