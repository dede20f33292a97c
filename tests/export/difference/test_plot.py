"""What `diff --plot` draws: errors over their limits case by case, and nodes by operator."""

from __future__ import annotations

import math
from pathlib import Path

from attn_export import diff
from attn_export.difference.plot import HERE, draw_difference, error_series, operator_rows
from support.bundles.compared_bundles import write_bundle


def test_what_is_drawn(tmp_path: Path) -> None:
    plot = tmp_path / "d.png"
    bundles = write_bundle(tmp_path / "a.attn"), write_bundle(tmp_path / "b.attn", gain=1.5, identity=True, fails=True)
    found = diff(*bundles, plot=plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    cases, series = error_series(found.graphs[0])
    assert cases == ["max", "min"]
    recorded = [series[f"{side} from PyTorch, as recorded"] for side in "AB"]
    assert [round(values[0], 3) for values in recorded] == [0.1, 2.0] and all(math.isnan(v[1]) for v in recorded)
    assert all(value > 1 for value in series[HERE])
    assert operator_rows(found.graphs[0]) == [("Identity", 0, 1), ("MatMul", 2, 2), ("Relu", 1, 1)]
    figure = draw_difference(found)
    left, right = figure.axes
    assert left.get_title(loc="left") == "graph model: answers differ" and right.get_title(loc="left").startswith(
        "3 nodes"
    )
    assert [label.get_text() for label in left.get_xticklabels()] == cases
    assert left.get_ylim()[0] < 0.1 and left.get_ylim()[1] > 1000


def test_equal_answers_have_a_place(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "a.attn")
    found = diff(bundle, bundle)
    assert error_series(found.graphs[0])[1][HERE] == [1e-6, 1e-6]
    assert draw_difference(found).axes[0].get_ylim()[0] < 1e-6


def test_graphs_of_other_inputs_are_drawn_too(tmp_path: Path) -> None:
    bundles = write_bundle(tmp_path / "a.attn"), write_bundle(tmp_path / "b.attn", input="pixels")
    found = diff(*bundles)
    assert HERE not in error_series(found.graphs[0])[1]
    assert draw_difference(found).axes[0].get_title(loc="left") == "graph model: answers not compared"
