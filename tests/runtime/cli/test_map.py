"""attn-run map: what it prints, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from attn_runtime.cli import options
from attn_runtime.cli.app import cli
from support.command_lines.json_answers import answer_of
from support.golden.proven import proven
from support.models.small_classifiers import texts


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return proven(texts(tmp_path_factory.mktemp("map") / "t.attn"))


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        options.run_cli(lambda: cli, "attn-run", ["map", *map(str, words)])
    printed = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.out, printed.err


def test_a_table_and_what_is_told_of_it(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("body;id\ngood;1\n;2\nbad \x1b[31m bad;3\n")
    given = (
        bundle,
        tmp_path / "a.csv",
        "-o",
        tmp_path / "out",
        "--column",
        "body",
        "--keep",
        "id:int64",
        "--delimiter",
        ";",
    )
    code, out, err = run(capsys, *given, "--top", 1)
    assert code == 16
    assert "3 rows in 1 file, 1 without an answer" in out and " on cpu, fp32; 3 rows in " in out
    assert 'row 1: text "": is empty' in err and "1 of 3 rows have no answer, expected 0 at most" in err
    assert [row["label"] for row in pq.read_table(tmp_path / "out").to_pylist()] == ["praise", None, "blame"]
    code, out, err = run(capsys, *given, "--top", 1, "--allow-failed", "50%")
    assert code == 0 and "nothing was left to do" in out and not err
    assert run(capsys, *given, "--top", 1, "--allow-failed", "1", "--quiet") == (0, "", "")
    code, out, err = run(capsys, *given, "--top", 2)
    assert code == 11 and "begun with other options" in err and "top was 1, is 2" in err


def test_json_has_the_report_and_the_error(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("good\ngood good good good good good good good good\n")
    code, out, _ = run(capsys, bundle, tmp_path / "a.txt", "-o", tmp_path / "out", "--json")
    answer = answer_of(out)
    told = answer["result"]
    assert code == answer["exit_code"] == 16 and answer["error"]["kind"] == "RowsError"
    assert (told["rows"], told["failed"], told["task"], told["stopped"]) == (2, 1, "classify", False)
    assert told["errors"][0]["row"] == 1 and "has 9 tokens" in told["errors"][0]["error"]
    assert run(capsys, bundle, tmp_path / "a.txt", "-o", tmp_path / "two", "--truncate", "--json")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("no.jsonl", "-o", "out"), 7, "there is no such file"),
        (("-o", "out"), 2, "nothing to map"),
        (("a.jsonl",), 2, "--output"),
        (("a.jsonl", "-o", "out", "--task", "tagg"), 2, "did you mean tag"),
        (("a.jsonl", "-o", "out", "--allow-failed", "many"), 2, "expected a number of rows, or a share"),
        (("a.jsonl", "-o", "no/out"), 11, "does not exist"),
    ],
)
def test_mistakes(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], code: int, told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text('{"text": "good"}\n')
    found, out, err = run(capsys, bundle, *words)
    assert (found, out) == (code, "") and told in err and err.count("\n") == 1
    assert not Path("out").exists()


def test_without_pyarrow(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    (tmp_path / "a.txt").write_text("good\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = run(capsys, bundle, tmp_path / "a.txt", "-o", tmp_path / "out")
    assert code == 10 and "pip install pyarrow" in err
