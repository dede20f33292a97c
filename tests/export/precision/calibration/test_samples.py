"""Samples, wherever they come from: checked, one at a time, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.precision.calibration import Samples, named_samples, open_samples, samples_of_files
from attn_runtime.bundle import Bundle, Graph, write_tensors
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.spec import Dim, TensorSpec
from support.graphs.make_graphs import brightness_classifier

X = TensorSpec("x", "float32", (Dim("batch", 1, 2, 4), Dim.fixed(3)))
IDS = TensorSpec("ids", "int64", (Dim("batch", 1, 2, 4),), low=0, high=10)


def graph(*inputs: TensorSpec) -> Graph:
    """One of a bundle without golden cases."""
    return Graph("model", "net.attn", inputs, (), {}, (), files=None)  # type: ignore[arg-type]


def sample(rows: int = 1, **others: Any) -> dict[str, Any]:
    return {"x": np.ones((rows, 3), np.float32), "ids": np.zeros(rows, np.int64), **others}


def good() -> Iterator[dict[str, Any]]:
    yield from (sample(rows) for rows in (1, 4, 2))


def nothing() -> list[dict[str, Any]]:
    return []


WRONG = {
    "no_dict": ([1.0], "got a list, expected a dict of the inputs x, ids"),
    "missing": ({"x": np.ones((1, 3), np.float32)}, "missing input ids"),
    "unknown": (sample(mask=np.ones(1)), "unknown input mask"),
    "wide": (sample(x=np.ones((1, 3))), "got float64 [1, 3]; expected dtype float32"),
    "long": (sample(5), "dim batch allows 1..4"),
    "uneven": (sample(2, ids=np.zeros(1, np.int64)), "dim batch is 1 here and 2"),
    "beyond": (sample(ids=np.full(1, 10)), "got values 10..10, expected 0..9; widen the range, or mend the sample"),
}
for _name, (_sample, _) in WRONG.items():
    globals()[_name] = [sample(), _sample]


@pytest.mark.parametrize("name", WRONG)
def test_a_sample_that_is_not_what_the_graph_declares_is_named(name: str) -> None:
    samples = open_samples(f"{__name__}:{name}", graph(X, IDS))
    with pytest.raises(UsageError, match=f"--calibrate .*test_samples:{name}, sample 1: ") as refused:
        list(samples)
    assert WRONG[name][1] in str(refused.value)


def test_a_function_gives_samples_of_any_sizes_that_are_declared() -> None:
    samples = open_samples(f"{__name__}:good", graph(X, IDS))
    assert (samples.source, samples.count) == (f"{__name__}:good", None)
    for _ in range(2):
        assert [one["x"].shape[0] for one in samples] == [1, 4, 2]


def test_files_are_named_by_their_last_part(tmp_path: Path) -> None:
    folder = tmp_path / "calib"
    folder.mkdir()
    np.savez(folder / "0.npz", **sample(2))
    np.savez(tmp_path / "all.npz", **sample(4))
    found = [open_samples(str(path), graph(X, IDS)) for path in (folder, tmp_path / "all.npz")]
    assert [(s.source, s.count) for s in found] == [("folder calib", 1), ("all.npz", 4)]
    assert [len(list(s)) for s in found] == [1, 4]
    np.savez(folder / "1.npz", **sample(5))
    with pytest.raises(UsageError, match="--calibrate folder calib, 1.npz: .*dim batch allows 1..4"):
        list(open_samples(str(folder), graph(X, IDS)))


def test_a_plain_graph_has_named_samples_too(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    np.savez(tmp_path / "0.npz", **sample(2))
    assert [
        len(list(named_samples(str(tmp_path), (X, IDS)))),
        len(list(named_samples(f"{__name__}:good", (X, IDS)))),
    ] == [1, 3]


def test_samples_are_read_when_they_are_asked_for() -> None:
    begun = []

    def read() -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(3):
            begun.append(number)
            yield str(number), sample()

    samples = iter(Samples("here", 3, read))
    assert begun == []
    next(samples)
    assert begun == [0]


def test_without_samples_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no golden inputs to calibrate with; give some with --calibrate FOLDER"):
        open_samples(None, graph(X))
    with pytest.raises(UsageError, match="there are no inputs to calibrate with; give some with --calibrate FOLDER"):
        samples_of_files([], [X])
    with pytest.raises(UsageError, match=r"test_samples:nothing: there are no samples in it, expected at least one"):
        list(open_samples(f"{__name__}:nothing", graph(X)))
    np.savez(tmp_path / "none.npz", x=np.ones((0, 3), np.float32))
    with pytest.raises(UsageError, match=r"none.npz: there are no samples in it, expected at least one"):
        list(open_samples(str(tmp_path / "none.npz"), graph(X)))


@pytest.mark.parametrize("given", ["nowhere", "nowhere.npz", "no\0where", ":", "module:", ""])
def test_what_is_none_of_the_three_is_refused(given: str) -> None:
    with pytest.raises(
        UsageError, match="there is no such file or folder; expected FOLDER, FILE.npz or package.module"
    ):
        open_samples(given, graph(X))


def test_the_golden_inputs_are_the_default(tmp_path: Path) -> None:
    bundle = Bundle.open(brightness_classifier(tmp_path / "net.attn"))
    samples = open_samples(None, bundle.graph())
    cases = list(bundle.graph().cases(None))
    assert (samples.source, samples.count) == ("the golden inputs", len(cases))
    for _ in range(2):
        for one, case in zip(samples, cases, strict=True):
            assert list(one) == ["image"]
            np.testing.assert_array_equal(one["image"], case.inputs["image"])
    file = bundle.graph().golden[0].inputs
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError):
        list(open_samples(None, bundle.graph()))


def test_a_case_of_fp32_alone_is_no_sample_of_another_type(tmp_path: Path) -> None:
    """At a hundred times the usual inputs ranges would be a hundred times too wide."""
    whole = Bundle.open(brightness_classifier(tmp_path / "net.attn")).graph()
    from dataclasses import replace

    first, *others = whole.golden
    marked = replace(whole, golden=(replace(first, types=("fp32",)), *others))
    counts = [open_samples(None, marked, type).count for type in (None, "int8", "fp32")]
    assert counts == [len(others), len(others), len(others) + 1]


def test_the_drawn_inputs_of_a_plain_file(tmp_path: Path) -> None:
    for rows in (1, 3):
        write_tensors(tmp_path / f"{rows}.safetensors", {"x": np.ones((rows, 3), np.float32)})
    paths = [tmp_path / "1.safetensors", tmp_path / "3.safetensors"]
    samples = samples_of_files(paths, [X])
    assert (samples.source, samples.count) == ("the drawn inputs", 2)
    assert [one["x"].shape for one in samples] == [(1, 3), (3, 3)] == [one["x"].shape for one in samples]
