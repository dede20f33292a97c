"""How a command ends: one line on stderr, its exit code, and with --json one document on stdout."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest
from attn_runtime import __version__, errors
from attn_runtime.cli.options import NearestGroup, json_option, print_json, run_cli
from attn_runtime.errors import AttnError, ParityError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AttnError)]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """(exit code, stdout, stderr) of a program whose one command prints `told`, then does what it is given to do."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def invoke(*words: str, then: Callable[[], Any] = lambda: None, told: Any = None) -> tuple[int, str, str]:
        @click.group(cls=NearestGroup)
        def program() -> None:
            pass

        @program.command("do")
        @click.argument("what")
        @click.option("--prompt")
        @json_option
        def do(what: str, prompt: str | None, as_json: bool) -> None:
            if told is not None:
                print_json(told) if as_json else click.echo("text")
            then()

        with pytest.raises(SystemExit) as finished:
            run_cli(lambda: program, "program", words)
        return (int(finished.value.code or 0), *capsys.readouterr())

    yield invoke
    for number, handler in kept.items():
        signal.signal(number, handler)


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_document_with_its_code_and_a_line(kind: type[AttnError], run: Run) -> None:
    code, out, err = run("do", "it", "--json", then=raising(kind("x is 1; give 2", "and\nmore")))
    assert (code, err) == (kind.exit_code, "error: x is 1; give 2\nand\nmore\n")
    assert json.loads(out) == {
        "schema": "attn-answer/1", "tool": "program", "version": __version__, "command": "do", "ok": False,
        "exit_code": kind.exit_code, "result": None, "error": {
            "code": kind.exit_code, "kind": kind.__name__, "message": "x is 1; give 2", "found": "x is 1",
            "expected": None, "do": "give 2", "details": "and\nmore",
        },
    }  # fmt: skip


def test_without_json_stdout_is_the_text_alone(run: Run) -> None:
    assert run("do", "it", told={"a": 1}, then=raising(AttnError("no"))) == (1, "text\n", "error: no\n")


@pytest.mark.parametrize("told", [{"passed": False}, [1]])
def test_a_report_that_ends_in_an_error_is_one_document_with_both(told: Any, run: Run) -> None:
    code, out, _ = run("do", "it", "--json", told=told, then=raising(ParityError("off")))
    document = json.loads(out)
    assert code == document["error"]["code"] == 4 and document["result"] == told and document["ok"] is False


def test_what_ends_well_and_what_ends_so_without_an_error(run: Run) -> None:
    code, out, _ = run("do", "it", "--json", told={"a": 1})
    assert code == 0 and json.loads(out) == {
        "schema": "attn-answer/1", "tool": "program", "version": __version__, "command": "do", "ok": True, "exit_code": 0,
        "result": {"a": 1}, "error": None,
    }  # fmt: skip
    code, out, _ = run("do", "it", "--json", told={"a": 1}, then=lambda: click.get_current_context().exit(10))
    document = json.loads(out)
    assert (code, document["exit_code"], document["ok"], document["error"]) == (10, 10, False, None)


@pytest.mark.parametrize(
    ("words", "says", "do"),
    [
        (["do", "it", "--jsn", "--json"], "No such option", "--json"),
        (["do", "--json"], "Missing argument", "see program do --help"),
        (["--json", "do", "it"], "No such option", "see program --help"),
        (["doo", "--json"], 'unknown command "doo"', "did you mean do?"),
        (["do", "it", "--json", "--prompt"], "--prompt", "see program --help"),
    ],
)
def test_a_usage_error_is_one_too(words: list[str], says: str, do: str, run: Run) -> None:
    code, out, err = run(*words)
    error = json.loads(out)["error"]
    assert code == error["code"] == 2 and error["kind"] == "UsageError"
    assert says in error["message"] and do in error["do"] and err == f"error: {error['message']}\n"


@pytest.mark.parametrize("words", [["do", "--prompt", "--json"], ["do", "--jsn", "--", "--json"], ["do", "--jsn"]])
def test_json_that_is_no_option_asks_for_nothing(words: list[str], run: Run) -> None:
    if words[1] == "--prompt":
        words = ["do", "it", *words[1:]]
    code, out, err = run(*words, then=raising(AttnError("no")))
    assert code in (1, 2) and out == "" and err.startswith("error: ")


def test_an_interrupt_is_told_as_well(run: Run) -> None:
    code, out, err = run("do", "it", "--json", then=raising(KeyboardInterrupt()))
    assert (code, err) == (130, "error: interrupted\n")
    assert json.loads(out)["error"] | {"details": 0} == {
        "code": 130, "kind": "Interrupted", "message": "interrupted", "found": "interrupted",
        "expected": None, "do": None, "details": 0,
    }  # fmt: skip


def test_a_stop_from_outside_is_told_as_well(run: Run) -> None:
    code, out, err = run("do", "it", "--json", told={"a": 1}, then=lambda: signal.raise_signal(signal.SIGTERM))
    document = json.loads(out)
    assert (code, err, document["result"]["a"]) == (143, "error: stopped by SIGTERM\n", 1)
    assert (document["error"]["code"], document["error"]["message"]) == (143, "stopped by SIGTERM")


def test_a_bug_keeps_its_traceback_and_tells_too(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    @json_option
    def program(as_json: bool) -> None:
        raise RuntimeError("oops\x1b[31m")

    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: program, "program", ["--json"])
    told = capsys.readouterr()
    assert ended.value.code == 1 and json.loads(told.out)["error"]["kind"] == "RuntimeError"
    assert told.err.startswith("Traceback") and "\x1b" not in told.err and "RuntimeError: oops" in told.err


def test_help_is_text(run: Run) -> None:
    code, out, err = run("do", "--json", "--help")
    assert (code, err) == (0, "") and out.startswith("Usage: program do")


def test_who_may_read_a_path_is_not_clicks_to_say() -> None:
    """Its answer has exit code 2; whoever opens the path tells of it with the code of what it is."""
    from attn_runtime.cli.app import cli

    paths = [
        option.type
        for command in cli.commands.values()
        for option in command.params
        if isinstance(option.type, click.Path)
    ]
    assert len(paths) > 8 and not any(path.readable or path.exists for path in paths)
