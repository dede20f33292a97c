"""JSONL, CSV and plain texts: a bad row spoils no other."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from attn_runtime.errors import InputError, UsageError
from attn_runtime.tasks.mapping.rows import Done, Kept, Layout, Need, Part, Place
from attn_runtime.tasks.mapping.rows import lines as lines_module
from attn_runtime.tasks.mapping.rows.line_files import read_lines_of

TEXT = Layout((Need("text", "text", ("text",)),), {}, (Kept("id", "id"),))
ALONE = Layout((Need("text", "text", ("text",)),), {})


def read(path: Path, layout: Layout = TEXT, done: Done | None = None, most: int = 100) -> list[Part]:
    forms = {"jsonl": "jsonl", "csv": "csv", "tsv": "csv", "txt": "txt"}
    form = next(forms[word] for word in path.name.split(".") if word in forms)
    return list(read_lines_of(0, path, form, layout, done or Done(), most))


def rows(parts: list[Part]) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for part in parts for row in part.rows.to_pylist()]


def test_every_kind_of_bad_line_of_jsonl(tmp_path: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"text": "a", "id": 1}\r', b"", b"nope", b"[1]", b'{"text": null}', b'{"id": 5}', b'{"text": "\xff"}',
        b'{"text": ["a"]}', b'{"text": "\\ud800"}', b"[" * 100_000, b'{"text": "", "id": "x"}', b'{"text": "b", "id": {"a": 1}}',
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found = rows(read(tmp_path / "a.jsonl"))
    assert found[0] == ("a", "1", None) and found[-1] == ("b", '{"a": 1}', None) and found[-2] == ("", "x", None)
    told = [row[2] for row in found[1:-2]]
    for error, part in zip(told, ["no JSON", "is list in JSON", "is null", "has no text; it has id", "no UTF-8", "is a list",
                                  "no UTF-8", "too many levels"], strict=True):  # fmt: skip
        assert part in error and "\n" not in error


def test_a_line_that_never_ends_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 50)
    monkeypatch.setattr(lines_module, "_CHUNK", 16)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "' + b"x" * 500 + b'"}\n{"text": "b"}\n' + b"y" * 500)
    found = rows(read(tmp_path / "a.jsonl", ALONE))
    assert [row[0] for row in found] == ["a", None, "b", None]
    assert "MiB" in found[1][1] and "MiB" in found[3][1]


def test_a_csv_has_quotes_line_ends_in_them_and_rows_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfid,text\n1,"a, ""b""\nc"\n\n2\n3,x,y\n,last\n5,\xff\n')
    found = rows(read(tmp_path / "a.csv"))
    assert found[0] == ('a, "b"\nc', "1", None) and found[3] == ("last", "", None)
    assert found[1][2] == "has 1 fields, expected 2" and found[2][2] == "has 3 fields, expected 2"
    assert found[4][2] == "text is no UTF-8 text"


@pytest.mark.parametrize(
    ("name", "content", "layout", "error", "told"),
    [
        ("a.csv", b"body;id\nx;1\n", TEXT, UsageError, 'parted by ";": try --delimiter'),
        ("a.csv", b"text,text\n", ALONE, UsageError, "two columns text"),
        ("a.csv", b"a,b\nx,y\n", ALONE, UsageError, "no column text; it has a, b"),
        ("a.jsonl", b'{"body": "x", "b": 1}\n', ALONE, UsageError, "no column text; it has body, b"),
        ("a.jsonl", b"x\n" * 100, ALONE, InputError, "none of its first 100 lines"),
        ("a.txt", b"x\n", TEXT, UsageError, "no columns"),
        ("a.jsonl.gz", b"x", ALONE, InputError, "can't be read"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 5000, mtime=0)[:-100], ALONE, InputError, "can't be read"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(
    tmp_path: Path, name: str, content: bytes, layout: Layout, error: type[Exception], told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=told):
        read(tmp_path / name, layout)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("zst", lambda d: bytes(pa.compress(d, "zstd", asbytes=True)))],
)
def test_compressed(tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    content = b"".join(b'{"text": "%d", "id": %d}\n' % (n, n) for n in range(1000))
    (tmp_path / f"a.jsonl.{suffix}").write_bytes(compress(content))
    parts = read(tmp_path / f"a.jsonl.{suffix}", most=300)
    assert [row[:2] for row in rows(parts)] == [(str(n), str(n)) for n in range(1000)]
    assert [len(part.place) for part in parts] == [300, 300, 300, 100]
    assert [part.place.last for part in parts] == [False] * 3 + [True]
    assert parts[-1].total == 1000


def test_tabs_another_delimiter_and_texts(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\n1\ta,b\n")
    (tmp_path / "a.csv").write_text("id;text\n1;a,b\n")
    (tmp_path / "a.txt").write_bytes(b"a,b\r\n\n\xff\n")
    assert rows(read(tmp_path / "a.tsv")) == [("a,b", "1", None)]
    assert rows(read(tmp_path / "a.csv", Layout(TEXT.needs, {}, TEXT.kept, ";"))) == [("a,b", "1", None)]
    assert rows(read(tmp_path / "a.txt", ALONE)) == [("a,b", None), (None, "text is no UTF-8 text")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_an_empty_file_is_a_part_without_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"" if name != "a.csv" else b"text\n")
    (part,) = read(tmp_path / name, ALONE)
    assert part.place == Place(0, 0, 0, True) and part.rows.num_rows == 0


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_what_is_done_is_passed_over(tmp_path: Path, form: str) -> None:
    head, line = ("text,id\n", "{n},{n}\n") if form == "csv" else ("", '{{"text": "{n}", "id": {n}}}\n')
    (tmp_path / f"a.{form}").write_text(head + "".join(line.format(n=n) for n in range(10)))
    done = Done([Place(0, 2, 4, False), Place(0, 7, 8, False)])
    parts = read(tmp_path / f"a.{form}", done=done, most=2)
    assert [(p.place.first, p.place.stop, p.place.last) for p in parts] == [
        (0, 2, False), (4, 6, False), (6, 7, False), (8, 10, True),
    ]  # fmt: skip
    assert [row[0] for row in rows(parts)] == [*list("014568"), "9"]


def test_the_types_of_a_part_do_not_depend_on_its_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": null}\n{"text": "a", "id": 1.5}\n')
    first, second = read(tmp_path / "a.jsonl", most=1)
    assert first.rows.schema == second.rows.schema
