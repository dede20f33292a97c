"""Samples in a folder, and those that are stacked in an .npz."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.precision.calibration import sample_files
from attn_export.precision.calibration.sample_files import folder_samples, stacked_samples
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from safetensors.numpy import save_file

BATCH = Dim("batch", 1, 2, 4)
X = TensorSpec("x", "float32", (BATCH, Dim.fixed(3)))
PAIR = TensorSpec("pair", "int64", (Dim("rows", 2, 2, 8),))
DRAWN = np.random.default_rng(0).standard_normal((6, 3), dtype=np.float32)
COUNTED = np.arange(12)


# --- a folder -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_names_and_other_files_are_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x=DRAWN[:1])
    np.savez_compressed(tmp_path / "c.npz", x=DRAWN[1:2])
    save_file({"x": DRAWN[2:3]}, tmp_path / "a.safetensors")
    (tmp_path / "README.txt").write_text("how these were drawn")
    count, read = folder_samples(tmp_path, "model")
    assert count == 3
    for _ in range(2):
        found = dict(read())
        assert list(found) == ["a.safetensors", "b.npz", "c.npz"]
        np.testing.assert_array_equal(np.concatenate([v["x"] for v in found.values()]), DRAWN[[2, 0, 1]])


def test_a_folder_in_it_that_is_called_as_the_graph_is_meant(tmp_path: Path) -> None:
    for graph, rows in (("text", 2), ("image", 1)):
        (tmp_path / graph).mkdir()
        for row in range(rows):
            np.savez(tmp_path / graph / f"{row}.npz", x=DRAWN[row])
    assert [folder_samples(tmp_path, graph)[0] for graph in ("text", "image")] == [2, 1]


def spoilt(write: Callable[[Path], Any], name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write(folder / name)

    return make


def objects(path: Path) -> None:
    np.savez(path, x=np.array([{}], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, "there is no .npz and no .safetensors file in it"),
        (lambda folder: os.mkfifo(folder / "a.npz"), "is not a regular file, but a FIFO"),
        (spoilt(lambda path: path.write_bytes(b"PK\3\4 no archive"), "a.npz"), "a.npz: can't be read as .npz"),
        (spoilt(objects, "a.npz"), "a.npz: can't be read as .npz: Object arrays cannot be loaded"),
        (spoilt(lambda path: np.save(path.open("wb"), DRAWN), "a.npz"), "it holds one array without a name"),
        (spoilt(lambda path: path.write_bytes(b"\xff" * 64), "a.safetensors"), "can't be read as .safetensors"),
    ],
)
def test_a_bad_folder_is_refused(make: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match="--calibrate ") as refused:
        list(folder_samples(tmp_path, "model")[1]())
    assert says in str(refused.value)


# --- an .npz ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_with_an_axis_more_hold_a_sample_in_each_place_of_the_first(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "all.npz", x=DRAWN.reshape(3, 2, 3), pair=COUNTED.reshape(3, 4))
    count, read = stacked_samples(tmp_path / "all.npz", [X, PAIR])
    assert count == 3
    for _ in range(2):
        found = [arrays for _, arrays in read()]
        np.testing.assert_array_equal([f["x"] for f in found], DRAWN.reshape(3, 2, 3))
        np.testing.assert_array_equal([f["pair"] for f in found], COUNTED.reshape(3, 4))


def test_arrays_of_as_many_axes_are_cut_into_the_smallest_that_the_graph_takes(tmp_path: Path) -> None:
    """As ModelOpt's --calibration_data has them: concatenated along the first axis, each by its own size there."""
    np.savez(tmp_path / "all.npz", x=DRAWN, pair=COUNTED)
    count, read = stacked_samples(tmp_path / "all.npz", [X, PAIR])
    found = dict(read())
    assert count == len(found) == 6
    np.testing.assert_array_equal(found["sample 4"]["x"], DRAWN[4:5])
    np.testing.assert_array_equal(found["sample 4"]["pair"], [8, 9])


def test_what_lies_behind_the_sample_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((1000, 1, 3), np.float32)
    np.savez(tmp_path / "all.npz", x=rows)
    taken = []
    frombuffer = np.frombuffer

    def counting(found: bytes, dtype: Any) -> Any:
        taken.append(len(found))
        return frombuffer(found, dtype)

    monkeypatch.setattr(sample_files.np, "frombuffer", counting)
    samples = stacked_samples(tmp_path / "all.npz", [X])[1]()
    next(samples)
    next(samples)
    assert taken == [12, 12]


def short(path: Path) -> None:
    """A sound archive of an array whose header claims more rows than there are."""
    held = io.BytesIO()
    np.save(held, DRAWN.reshape(6, 1, 3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", held.getvalue().replace(b"'shape': (6, 1, 3)", b"'shape': (9, 1, 3)"))


@pytest.mark.parametrize(
    ("save", "says"),
    [
        (lambda path: np.savez(path, x=DRAWN), "it holds the arrays x; expected x, pair"),
        (
            lambda path: np.savez(path, x=DRAWN, pair=COUNTED, z=DRAWN),
            "it holds the arrays x, pair, z; expected x, pair",
        ),
        (lambda path: np.savez(path, x=DRAWN, pair=COUNTED[:6]), "different numbers of samples: x 6, pair 3"),
        (lambda path: np.savez(path, x=DRAWN, pair=COUNTED[:5]), "pair has 5 rows, expected a multiple of 2"),
        (lambda path: np.savez(path, x=DRAWN[0, 0], pair=COUNTED), "x has shape [], expected 3 axes"),
        (lambda path: np.savez(path, x=DRAWN[None, None], pair=COUNTED), "x has shape [1, 1, 6, 3], expected 3 axes"),
        (lambda path: np.savez(path, x=np.asfortranarray(DRAWN), pair=COUNTED), "save numpy.ascontiguousarray of it"),
        (lambda path: np.savez(path, x=np.array([{}], object), pair=COUNTED), "x holds Python objects"),
        (lambda path: path.write_bytes(b"PK\3\4"), "can't be read as .npz"),
    ],
)
def test_a_bad_npz_is_refused_before_the_first_sample(save: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    save(tmp_path / "all.npz")
    with pytest.raises(UsageError, match="--calibrate .*all.npz: ") as refused:
        stacked_samples(tmp_path / "all.npz", [X, PAIR])
    assert says in str(refused.value)


def test_an_npz_that_ends_early_is_refused_where_it_does(tmp_path: Path) -> None:
    short(tmp_path / "all.npz")
    count, read = stacked_samples(tmp_path / "all.npz", [X])
    samples = read()
    assert count == 9
    with pytest.raises(UsageError, match="all.npz, sample 6: can't be read: x ends early"):
        list(samples)


def test_another_file_is_refused_by_its_suffix(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", DRAWN)
    with pytest.raises(UsageError, match=r"got suffix .npy, expected FILE.npz, or a folder of samples"):
        stacked_samples(tmp_path / "x.npy", [X])
