"""Inputs as they are named; Parquet, pictures and recordings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attn_runtime.errors import AttnError, InputError, UsageError
from attn_runtime.tasks.mapping.rows import Done, Kept, Layout, Need, Part, Place, array_of, find_sources

TEXT = (Need("text", "text", ("text",)),)
PICTURE = (Need("picture", "file", ("picture", "image", "file", "path")),)
X = Need("x", "tensor", ("x",), dtype="float32", shape=(2, 3))


def read(path: Path, needs: Any = TEXT, kept: Any = (), done: Any = (), most: int = 100) -> list[Part]:
    (source,) = find_sources([str(path)], needs)
    layout = Layout(needs, {}, kept)
    source.check(layout)
    return list(source.read(0, layout, Done(done), most))


def values(parts: list[Part], column: str) -> list[Any]:
    return [value for part in parts for value in part.rows[column].to_pylist()]


# --- what is named ------------------------------------------------------------------------------------------------------


def test_a_folder_is_its_tables_or_its_pictures(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv.gz", "_skip.jsonl", ".hidden.csv", "readme.md"):
        (tmp_path / name).touch()
    assert [Path(s.name).name for s in find_sources([str(tmp_path)], TEXT)] == ["a.csv.gz", "b.jsonl"]
    (tmp_path / "in").mkdir()
    for name in ("z.PNG", "in/y.jpg", ".x.png", "in/w.wav"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="holds 2 pictures and 2 tables"):
        find_sources([str(tmp_path)], PICTURE)
    for name in ("b.jsonl", "a.csv.gz"):
        (tmp_path / name).unlink()
    (source,) = find_sources([str(tmp_path)], PICTURE)
    assert source.files == ("in/y.jpg", "z.PNG")
    one, two = str(tmp_path / "z.PNG"), str(tmp_path / "in/y.jpg")
    (named,) = find_sources([one, two], PICTURE)
    assert named.files == (one, two)


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (["no.jsonl"], InputError, "no such file"),
        (["fifo.jsonl"], InputError, "not a regular file, but a FIFO"),
        (["x.xlsx"], UsageError, r"of no form that is known by its name; expected one that ends in .jsonl"),
        (["a.parquet.gz"], UsageError, "of no form"),
        (["empty"], InputError, "holds no tables"),
        (["a.jsonl", "a.jsonl"], UsageError, "named twice"),
    ],
)
def test_what_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], error: type[AttnError], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.jsonl")
    for name in ("x.xlsx", "a.jsonl", "a.parquet.gz"):
        Path(name).touch()
    Path("empty").mkdir()
    with pytest.raises(error, match=told):
        find_sources(given, TEXT)


def test_a_file_that_was_changed_has_another_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("x" * 200_000)
    before = find_sources([str(file)], TEXT)[0].mark
    os.utime(file, ns=(1, 1))
    assert find_sources([str(file)], TEXT)[0].mark != before
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.png").write_text("x")
    marks = [find_sources([str(tmp_path / "p")], PICTURE)[0].mark]
    (tmp_path / "p/a.png").write_text("yy")
    marks.append(find_sources([str(tmp_path / "p")], PICTURE)[0].mark)
    (tmp_path / "p/b.png").write_text("x")
    marks.append(find_sources([str(tmp_path / "p")], PICTURE)[0].mark)
    assert len({str(mark) for mark in marks}) == 3


# --- Parquet ------------------------------------------------------------------------------------------------------------


def test_parquet_is_read_by_parts_and_keeps_its_types(tmp_path: Path) -> None:
    texts = pa.array([str(n) if n != 5 else None for n in range(10)]).dictionary_encode()
    when = pa.array(range(10), pa.timestamp("us"))
    pq.write_table(pa.table({"text": texts, "when": when, "n": range(10)}), tmp_path / "a.parquet", row_group_size=4)
    kept = (Kept("at", "when"), Kept("n", "n", "string"))
    done = [Place(0, 0, 4, False), Place(0, 5, 6, False)]
    parts = read(tmp_path / "a.parquet", kept=kept, done=done, most=3)
    assert [(p.place.first, p.place.stop, p.place.last) for p in parts] == [
        (4, 5, False),
        (6, 7, False),
        (7, 8, False),
        (8, 10, True),
    ]
    assert values(parts, "need:text") == ["4", "6", "7", "8", "9"] == values(parts, "n")
    assert parts[0].rows["at"].type == pa.timestamp("us") and parts[0].total == 10
    parts = read(tmp_path / "a.parquet")
    assert values(parts, "error") == [None] * 5 + ["text is null"] + [None] * 4
    assert sum(len(part.place) for part in parts) == 10 and parts[-1].place.last


def test_parquet_without_rows_or_with_another_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    (part,) = read(tmp_path / "empty.parquet")
    assert part.place == Place(0, 0, 0, True)
    pq.write_table(pa.table({"text": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="column text is int64, expected texts"):
        read(tmp_path / "a.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing else")
    with pytest.raises(InputError, match="no Parquet file"):
        read(tmp_path / "bad.parquet")


def test_a_damaged_parquet_file_is_told_in_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [str(n) * 50 for n in range(5000)]}), tmp_path / "a.parquet", compression="zstd")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[20:2000] = b"\xff" * 1980
    (tmp_path / "a.parquet").write_bytes(bytes(data))
    with pytest.raises(InputError, match="can't be read") as caught:
        read(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.list_(pa.int32())), pa.list_(pa.float32(), 6)])
def test_tensors_of_parquet_and_of_jsonl_are_the_same(tmp_path: Path, kind: pa.DataType) -> None:
    nested = pa.types.is_list(kind) and pa.types.is_list(kind.value_type)
    row = [[1, 2, 3], [4, 5, 6]] if nested else [1, 2, 3, 4, 5, 6]
    pq.write_table(pa.table({"x": pa.array([row, None], kind)}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text('{"x": [[1, 2, 3], [4, 5, 6]]}\n{"x": null}\n')
    for name in ("a.parquet", "a.jsonl"):
        (part,) = read(tmp_path / name, (X,))
        first, second = part.rows["need:x"].to_pylist()
        np.testing.assert_array_equal(array_of(first, X), np.arange(1, 7, dtype=np.float32).reshape(2, 3))
        assert second is None and part.rows["error"].to_pylist() == [None, "x is null"]


# --- pictures -----------------------------------------------------------------------------------------------------------


def test_pictures_of_a_folder_and_of_tables(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.png").write_bytes(b"one")
    (tmp_path / "p/b.png").mkdir()
    (tmp_path / "p/c.png").symlink_to("/dev/zero")
    parts = read(tmp_path / "p", PICTURE)
    assert [row and row["content"] for row in values(parts, "need:picture")] == [b"one", None]
    assert values(parts, "error") == [None, "picture c.png: can't be read: is not a regular file, but a device"]

    both = [{"bytes": b"two", "path": "x.png"}, {"bytes": None, "path": "p/a.png"}, None]
    pq.write_table(pa.table({"image": both}), tmp_path / "a.parquet")
    parts = read(tmp_path / "a.parquet", PICTURE)
    assert [row and row["content"] for row in values(parts, "need:picture")] == [b"two", b"one", None]
    assert [row and row["file"] for row in values(parts, "need:picture")] == ["x.png", "p/a.png", None]
    pq.write_table(pa.table({"image": [b"three"]}), tmp_path / "b.parquet")
    assert values(read(tmp_path / "b.parquet", PICTURE), "need:picture") == [{"file": None, "content": b"three"}]

    (tmp_path / "a.jsonl").write_text(
        '{"path": "p/a.png"}\n{"path": "-"}\n{"path": "/dev/stdin"}\n{"path": 5}\n{"path": "no"}\n'
    )
    parts = read(tmp_path / "a.jsonl", PICTURE)
    assert [row and row["content"] for row in values(parts, "need:picture")] == [b"one", None, None, None, None]
    told = values(parts, "error")
    assert "no such file" in told[1].lower() and "can't be read" in told[2] and "is int, expected a path" in told[3]
