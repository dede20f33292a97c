"""--log-file and --log-level: before and behind a command, whatever becomes of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from attn_runtime.cli.app import cli
from attn_runtime.cli.options import run_cli


@pytest.fixture(autouse=True)
def own_levels() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in ("attn_runtime", "attn_models", "attn_export")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def invoke(*arguments: object) -> int:
    with pytest.raises(SystemExit) as finished:
        run_cli(lambda: cli, "attn-run", [str(a) for a in arguments])
    return int(finished.value.code or 0)


@pytest.mark.parametrize("before", [True, False])
def test_what_was_done_is_in_it(valid_bundle: Path, tmp_path: Path, before: bool) -> None:
    log = tmp_path / "a.log"
    options, command = ["--log-file", log, "--log-level", "debug"], ["verify", valid_bundle, "--backend", "ort"]
    assert invoke(*(options + command if before else command + options)) == 0
    told = log.read_text()
    for part in (
        "attn-run",
        "of attn-runtime 0.1.0",
        "opened",
        "ort on cpu",
        "case min",
        "ends with exit code 0",
    ):
        assert part in told
    assert told.count("of attn-runtime 0.1.0") == 1


def test_errors_and_bugs_are_in_it_with_what_explains_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "a.log"
    assert invoke("info", tmp_path / "none.attn", "--log-file", log) == 8
    monkeypatch.setattr("attn_runtime.tasks.info.describe", lambda _: 1 / 0)
    assert invoke("info", "x", "--log-file", log) == 1
    first, second = log.read_text().split("ends with exit code 8")
    assert "ERROR" in first and "BundleError: " in first and "Traceback" not in first
    assert "ZeroDivisionError: division by zero\\n" in second and "Traceback" in second
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--log-file", "missing/a.log", "info", "x.attn"], 11, "can't write the log missing/a.log"),
        (["info", "x.attn", "--log-file", "."], 11, "can't write the log"),
        (["info", "x.attn", "--log-level", "debug"], 2, "give --log-file"),
        (["--log-level", "debug", "info", "x.attn"], 2, "give --log-file"),
        (["info", "x.attn", "--log-file", "a.log", "--log-level", "loud"], 2, "'loud' is not one of"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(
    words: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(*words, "--json") == code
    out, err = capsys.readouterr()
    assert says in json.loads(out)["error"]["message"] and err.startswith("error: ") and len(err.splitlines()) == 1
