"""Runs over real files on this machine: every form, bad rows, and being killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attn_runtime import RowsError, TaskOptions, map_rows
from attn_runtime.errors import InputError, OutputError, ParityError, UsageError
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.spec import Dim
from attn_runtime.tasks.mapping.progress import Progress, metrics_text
from PIL import Image
from support.command_lines.json_answers import answer_of
from support.golden.proven import proven
from support.models.small_classifiers import pictures, recordings, texts

WORDS = {"good": "praise", "bad": "blame", "odd": "wonder"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return proven(texts(tmp_path_factory.mktemp("map") / "t.attn"))


def said(number: int) -> str:
    return " ".join([list(WORDS)[number % 3]] * (1 + number % 5))


def jsonl(path: Path, rows: int) -> Path:
    path.write_text("".join(json.dumps({"text": said(n), "id": n}) + "\n" for n in range(rows)))
    return path


def read(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder).to_pylist()
    return sorted(rows, key=lambda row: (row["source"], row["row"]))


def map_command(bundle: Path, given: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "attn_runtime", "map", str(bundle), str(given), "-o", str(out), *options]


def check(folder: Path, rows: int, sources: int = 1) -> None:
    """Each row once, with its answer."""
    found = read(folder)
    assert len(found) == rows * sources
    for number, row in enumerate(found):
        assert row["row"] == number % rows and row["error"] is None
        assert row["label"] == WORDS[said(row["row"]).split()[0]]


# --- forms --------------------------------------------------------------------------------------------------------------


def test_several_files_of_several_forms_are_one_table(bundle: Path, tmp_path: Path) -> None:
    rows = [{"text": said(n), "id": n} for n in range(10)]
    jsonl(tmp_path / "a.jsonl", 10)
    (tmp_path / "b.csv").write_text("id,text\n" + "".join(f"{r['id']},{r['text']}\n" for r in rows))
    pq.write_table(pa.table({"text": [r["text"] for r in rows], "id": range(10)}), tmp_path / "c.parquet")
    given = [str(tmp_path / name) for name in ("a.jsonl", "b.csv", "c.parquet")]
    report = map_rows(bundle, given, tmp_path / "out", keep=["key=id:int64"], part_rows=4, options=TaskOptions(top=1))
    assert (report.rows, report.failed, report.parts, report.mapped, report.task) == (30, 0, 9, 30, "classify")
    check(tmp_path / "out", 10, 3)
    assert [row["key"] for row in read(tmp_path / "out")] == [*range(10)] * 3
    table = pq.read_table(tmp_path / "out")
    assert table.column_names == ["source", "row", "key", "label", "score", "top", "notes", "error"]
    assert len({pq.read_schema(p) for p in (tmp_path / "out").glob("*.parquet")}) == 1
    with pytest.raises(
        UsageError, match=r"keep: id is int64 and string in these inputs; say what to keep it as, as in id:string"
    ):
        map_rows(bundle, given, tmp_path / "other", keep=["id"])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["pictures", "recordings"])
def test_folders_of_pictures_and_of_recordings(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if kind == "pictures":
        bundle = proven(pictures(tmp_path / "b.attn"))
        for n, colour in enumerate(("red", "lime", "blue")):
            Image.new("RGB", (5, 5), colour).save(folder / f"{n}.png")
        (folder / "3.png").write_bytes(b"nothing")
        labels = ["red", "green", "blue", None]
    else:
        bundle = proven(recordings(tmp_path / "b.attn"))
        for n, level in enumerate((0.9, 0.0, 0.5)):
            write_wav(folder / f"{n}.wav", pa.array([level] * 300).to_numpy().astype("float32"), 1000)
        (folder / "3.wav").write_bytes(b"nothing")
        labels = ["sound", "silence", "sound", None]
    report = map_rows(bundle, [folder], tmp_path / "out", part_rows=3, check=False)
    rows = read(tmp_path / "out")
    assert [row["label"] for row in rows] == labels
    assert [row["file"][:1] for row in rows] == list("0123")
    assert report.failed == 1 and "3." in rows[3]["error"] and "(piped)" not in rows[3]["error"]
    with pytest.raises(UsageError, match="have no columns"):
        map_rows(bundle, [folder], tmp_path / "other", keep=["id"])


def test_rows_without_an_answer_end_nothing(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\nnope\n{"text": ""}\n{"text": null}\n{"text": "bad"}\n')
    with pytest.raises(
        RowsError, match="3 of 5 rows have no answer, expected 0 at most; see the column error"
    ) as caught:
        map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out")
    assert caught.value.exit_code == 16
    rows = read(tmp_path / "out")
    assert [row["label"] for row in rows] == ["praise", None, None, None, "blame"]
    assert [bool(row["error"]) for row in rows] == [False, True, True, True, False]
    for allowed in (3, "3", "60%"):
        report = map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out", allow_failed=allowed)
        assert report.mapped == 0 and report.failed == 3
    for allowed in (2, "59%"):
        with pytest.raises(RowsError):
            map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out", allow_failed=allowed)
    for wrong in (-1, "x", "101%", True):
        with pytest.raises(UsageError, match="allow_failed"):
            map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out", allow_failed=wrong)


def test_an_empty_input_is_done(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    report = map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out")
    assert (report.rows, report.parts) == (0, 1)
    assert pq.read_table(tmp_path / "out").column_names[-1] == "error"
    assert map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out").choice == ""  # nothing is opened again


# --- the proof ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bundle_that_does_not_answer_as_pytorch_did_answers_no_row(tmp_path: Path, workers: int) -> None:
    wrong = proven(texts(tmp_path / "t.attn"), wrong=0.1)
    with pytest.raises(ParityError):
        map_rows(wrong, [jsonl(tmp_path / "a.jsonl", 3)], tmp_path / "out", workers=workers)
    assert not list((tmp_path / "out").glob("*.parquet"))


# --- going on -----------------------------------------------------------------------------------------------------------


def test_a_changed_input_option_or_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", 3)
    map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out")
    with pytest.raises(OutputError, match="begun with other options"):
        map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out", options=TaskOptions(top=1))
    other = proven(texts(tmp_path / "t.attn", Dim("batch", 1, 2, 9)))
    with pytest.raises(OutputError, match="begun with other bundle"):
        map_rows(other, [tmp_path / "a.jsonl"], tmp_path / "out")
    jsonl(tmp_path / "a.jsonl", 4)
    with pytest.raises(OutputError, match="begun with other inputs"):
        map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out")
    assert len(read(tmp_path / "out")) == 3
    # How it is run may change: with other batches, parts and workers the rows are the same.
    assert map_rows(other, [tmp_path / "a.jsonl"], tmp_path / "out", restart=True, batch=2, part_rows=1).parts == 4


def test_a_column_that_is_not_there_costs_nothing_that_is_done(bundle: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", 3)
    map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out")
    with pytest.raises(UsageError, match="no column body"):
        map_rows(bundle, [tmp_path / "a.jsonl"], tmp_path / "out", columns=["body"], restart=True)
    check(tmp_path / "out", 3)


def test_a_damaged_input_keeps_what_was_read_of_it(bundle: Path, tmp_path: Path) -> None:
    import gzip

    rows = "".join(
        json.dumps({"text": said(n), "more": random.Random(n).randbytes(500).hex()}) + "\n" for n in range(3000)
    )
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows.encode())[:-2000])
    with pytest.raises(InputError, match="can't be read"):
        map_rows(bundle, [tmp_path / "a.jsonl.gz"], tmp_path / "out", part_rows=100)
    found = read(tmp_path / "out")
    assert [row["row"] for row in found] == [*range(len(found))] and len(found) >= 1000


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_point_and_started_again_each_row_is_written_once(
    bundle: Path, tmp_path: Path, workers: int
) -> None:
    """A process is killed once some files are there, a random number of them, and the last run is let finish."""
    given, out, draw = jsonl(tmp_path / "a.jsonl", 1500), tmp_path / "out", random.Random(workers)
    command = map_command(bundle, given, out, "--part-rows=20", "--quiet", f"--workers={workers}", "--keep=id:int64")
    for _ in range(2):
        wanted = len(list(out.glob("*.parquet"))) + draw.randint(1, 20)
        process = subprocess.Popen(command)
        while process.poll() is None and len(list(out.glob("*.parquet"))) < wanted:
            time.sleep(draw.uniform(0, 0.01))
        process.kill()
        process.wait()
    assert 0 < len(list(out.glob("*.parquet"))) < 75, "the runs were killed in between"
    done = {p.name: p.stat().st_mtime_ns for p in out.glob("*.parquet")}
    assert subprocess.run(command).returncode == 0
    check(out, 1500)
    assert [row["id"] for row in read(out)] == [*range(1500)]
    assert all((out / name).stat().st_mtime_ns == at for name, at in done.items()), "what is done is left alone"
    assert not [p.name for p in out.iterdir() if p.name[0] == "."], "nothing is left of what was killed"


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_a_run_behind_the_part_under_way(bundle: Path, tmp_path: Path, workers: int) -> None:
    given, out = jsonl(tmp_path / "a.jsonl", 20000), tmp_path / "out"
    command = map_command(bundle, given, out, "--part-rows=50", "--json", f"--workers={workers}")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(out.glob("*.parquet")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=60)
    document = answer_of(printed)
    answer = document["result"]
    assert process.returncode == 130 and document["error"]["kind"] == "Interrupted" and "interrupted" in told
    assert answer["stopped"] and 0 < answer["rows"] < 20000
    assert len(read(out)) == answer["rows"] == 50 * answer["parts"]


# --- what is told -------------------------------------------------------------------------------------------------------


def test_progress_and_metrics(bundle: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    given = [jsonl(tmp_path / "a.jsonl", 1000), jsonl(tmp_path / "b.jsonl", 600)]
    map_rows(bundle, given, tmp_path / "out", part_rows=400, on_progress=told.append, metrics=tmp_path / "m.prom")
    assert [now.rows for now in told] == [400, 800, 1000, 1400, 1600]
    assert [now.left for now in told][:3] == [None] * 3 and told[-1].left == 0
    assert told[-2].left == pytest.approx(
        200, abs=120
    )  # by the bytes that were read; a hundred rows are looked at first
    assert all(now.rows_per_second > 0 for now in told) and told[-1].seconds_left == 0
    lines = (tmp_path / "m.prom").read_text().splitlines()
    assert (
        "attn_map_rows_total 1600" in lines
        and "attn_map_rows_failed_total 0" in lines
        and "attn_map_rows_left 0" in lines
    )
    assert "# TYPE attn_map_rows_total counter" in lines
    again: list[Progress] = []
    map_rows(bundle, given, tmp_path / "out", on_progress=again.append)
    assert again == []
    assert "rows_left" not in metrics_text(Progress(1, 0, 0, 1.0, None))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"batch": 0}, "batch: got 0, expected 1 or more"),
        ({"workers": 1.5}, "workers: got 1.5"),
        ({"delimiter": ",,"}, "delimiter"),
        ({"task": "x"}, "task"),
        ({"columns": "text"}, "strings in a list"),
        ({"on_progress": 5}, "on_progress"),
        ({"keep": ["label=id"]}, "a column label is written already"),
    ],
)
def test_what_is_asked_wrongly(bundle: Path, tmp_path: Path, wrong: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        map_rows(bundle, [jsonl(tmp_path / "a.jsonl", 1)], tmp_path / "out", **wrong)
    with pytest.raises(UsageError, match="nothing to map"):
        map_rows(bundle, [], tmp_path / "out")
    assert not os.path.lexists(tmp_path / "out")
