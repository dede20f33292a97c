"""The folder of a run: what is done is told by its files; what does not belong together is refused."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attn_runtime.errors import OutputError
from attn_runtime.tasks.mapping.output_folder import output_folder
from attn_runtime.tasks.mapping.rows import Place

RUN: dict[str, Any] = {
    "bundle": {"sha256": "a"},
    "options": {"task": "embed", "top": 3},
    "inputs": [{"name": "x", "size": 1}],
}
TABLE = pa.table({"row": [0, 1], "error": pa.array([None, "bad"])})


def test_what_is_written_is_done_and_counted(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out", RUN, restart=False) as folder:
        assert folder.counted() == (0, 0) and not folder.all_done
        assert folder.write(Place(0, 0, 2, False), TABLE) == 1
    with output_folder(tmp_path / "out", RUN, restart=False) as folder:
        assert folder.counted() == (2, 1) and folder.parts == 1 and not folder.all_done
        folder.write(Place(0, 2, 4, True), TABLE)
        assert folder.all_done
    assert pq.read_table(tmp_path / "out").num_rows == 4  # the file of the run is passed over
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "_run.json", "part-00000-000000000000-000000000002.parquet", "part-00000-000000000002-000000000004-end.parquet",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "value", "told"),
    [
        ("bundle", {"sha256": "b"}, 'bundle: sha256 was "a", is "b"'),
        ("options", {"task": "tag", "top": 3}, 'options: task was "embed", is "tag"'),
        ("inputs", [{"name": "x", "size": 2}], "inputs: x: size was 1, is 2"),
        ("inputs", [{"name": "x", "size": 1}, {"name": "y", "size": 1}], "inputs: was "),
    ],
)
def test_another_run_is_refused_with_what_differs(tmp_path: Path, topic: str, value: Any, told: str) -> None:
    with output_folder(tmp_path / "out", RUN, restart=False) as folder:
        folder.write(Place(0, 0, 2, True), TABLE)
    with pytest.raises(OutputError, match=f"begun with other {topic}; begin anew with --restart") as caught:
        output_folder(tmp_path / "out", {**RUN, topic: value}, restart=False).__enter__()
    assert told in caught.value.details
    for restart in (True, True, False):
        with output_folder(tmp_path / "out", {**RUN, topic: value}, restart=restart) as folder:
            assert folder.parts == (0 if restart else 1)
            if restart:
                folder.write(Place(0, 0, 2, True), TABLE)


def test_a_run_that_wrote_no_part_holds_no_other_back(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out", RUN, restart=False):
        pass
    other = {**RUN, "options": {"task": "tag", "top": 3}}
    with output_folder(tmp_path / "out", other, restart=False) as folder:
        folder.write(Place(0, 0, 2, True), TABLE)
    with pytest.raises(OutputError, match="begun with other options"):
        output_folder(tmp_path / "out", RUN, restart=False).__enter__()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    for restart in (False, True):
        with pytest.raises(OutputError, match=r"holds mine\.txt, which no run wrote"):
            output_folder(tmp_path, RUN, restart).__enter__()
    with pytest.raises(OutputError, match="does not exist"):
        output_folder(tmp_path / "no" / "out", RUN, False).__enter__()
    with pytest.raises(OutputError, match="is no folder"):
        output_folder(tmp_path / "mine.txt", RUN, False).__enter__()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "_run.json").write_text("{")
    with pytest.raises(OutputError, match="choose another folder"):
        output_folder(tmp_path / "broken", RUN, False).__enter__()


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out", RUN, restart=False) as folder:
        folder.write(Place(0, 0, 2, False), TABLE)
    left = tmp_path / "out" / f".{Place(0, 0, 2, False).file}.tmp-1-00000000"
    left.mkdir()
    with output_folder(tmp_path / "out", RUN, restart=False) as folder:
        assert not left.exists() and folder.parts == 1


def test_a_second_run_does_not_wait(tmp_path: Path) -> None:
    with (
        output_folder(tmp_path / "out", RUN, restart=False),
        pytest.raises(OutputError, match="another run is at work there"),
    ):
        output_folder(tmp_path / "out", RUN, restart=False).__enter__()


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(table: pa.Table, path: Path, **options: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with output_folder(tmp_path / "out", RUN, restart=False) as folder:
        monkeypatch.setattr(pq, "write_table", full)
        with pytest.raises(OutputError, match="No space left on device"):
            folder.write(Place(0, 0, 2, True), TABLE)
        assert folder.parts == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["_run.json"]


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out", RUN, restart=False) as folder:
        folder.write(Place(0, 0, 2, True), TABLE)
        (tmp_path / "out" / Place(0, 0, 2, True).file).write_bytes(b"x")
        with pytest.raises(OutputError, match="part-00000.*remove it, and its rows are answered again"):
            folder.counted()
