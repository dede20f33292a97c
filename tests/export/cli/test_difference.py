"""`attn-export diff` on the command line: what it prints, as text and as JSON, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_export.cli.app import cli
from attn_runtime.cli.options import run_cli
from support.bundles.compared_bundles import write_bundle
from support.command_lines.json_answers import answer_of, result_of


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: cli, "attn-export", ["diff", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_bundle(Path("a.attn"), int8=True)
    write_bundle(Path("b.attn"), gain=2)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "a.attn", "a.attn", "-q")[1].endswith("no differences\n")
    code, out, err = ran(capsys, "a.attn", "b.attn", "--quiet", "--plot", "d.svg")
    assert code == 15 and err.startswith("error: a.attn, fp32 and b.attn, fp32: their answers differ")
    assert "weights: 1 differ, 1 the same" in out and Path("d.svg").read_text().count("<path") > 10
    code, out, err = ran(capsys, "a.attn", "--against", "int8")
    assert code == 0 and "fp32 beside int8" in out and "diff " in err
    assert ran(capsys, "a.attn")[0] == 2 and ran(capsys, "a.attn", "c.attn")[0] == 8


@pytest.mark.usefixtures("folder")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "a.attn", "b.attn", "--json")
    answer = answer_of(out)
    told = answer["result"]
    assert code == 15 and answer["error"]["kind"] == "DifferenceError" and told["agree"] is False
    assert told["graphs"][0]["answers"]["checks"][0]["output"] == "y"
    code, out, _ = ran(capsys, "a.attn", "--against", "int8", "--cases", 3, "--json")
    told = result_of(out)
    assert code == 0
    assert [check["case"] for check in told["graphs"][0]["answers"]["checks"]] == ["drawn-0", "drawn-1", "drawn-2"]
