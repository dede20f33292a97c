"""What both command lines share: how an error ends the process, and how a misspelt command is answered.

Imports click and nothing heavy, so that --help answers at once.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from .. import __version__
from ..errors import AttnError, UsageError, did_you_mean
from ..escape import printable, printable_text
from ..logs import Log
from ..ort import limit_openmp
from .process import ReaderGoneError, StoppedError, end_on_signals, into_nothing, open_streams

_BROKEN_PIPE = 128 + 13
_LINE_END = re.compile("\r\n|\r|\n")
_JSON = "attn_runtime.cli.json"  # in a context's meta: the _JsonAnswer of this run
_LEVEL = "attn_runtime.cli.log_level"
_log = Log(__name__)


def _note_json(context: click.Context, option: click.Parameter, as_json: bool) -> bool:
    if (answer := context.meta.get(_JSON)) is not None:
        answer.wanted, answer.command = as_json, _command_of(context)
    return as_json


def _command_of(context: click.Context) -> str:
    """As it is typed behind the program's name: "deploy triton"."""
    return context.command_path.partition(" ")[2]


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_note_json,
    help="Print one JSON document instead of text; an error too.",
)
_QUIET = "Print the answer alone, where there is one, and errors."
quiet_option = click.option("--quiet", "-q", is_flag=True, help=_QUIET)
#: For a command that prints nothing but its answer.
quiet_already_option = click.option("--quiet", "-q", is_flag=True, expose_value=False, help=_QUIET)
verbose_option = click.option(
    "--verbose", "-v", is_flag=True, help="Tell on stderr why other backends and devices were passed over."
)


def _threads(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{printable(text, 80)!r} is no whole number and not auto.") from None


threads_option = click.option(
    "--threads",
    type=_threads,
    metavar="INTEGER|auto",
    help="Threads that one node may use on the CPU; auto takes as many as there are cores that nobody else wants at the time.",
)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose where a bundle runs, and in which precision."""
    for option in (
        click.option("--precision", help="Which of the bundle's precisions; fp32 where there is one."),
        click.option("--backend", help="Which backend; attn-run doctor lists them. Chosen when left out."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--cache",
            type=click.Path(readable=False),
            metavar="FOLDER",
            help="Keep there what is made of each graph for this machine; the next time it opens in half the time.",
        ),
    ):
        command = option(command)
    return command


def session_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those, and which graph."""
    return place_options(click.option("--graph", help="Which graph of a bundle that has several.")(command))


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those of a command that runs one graph and prints what it answers."""
    for option in (json_option, verbose_option, quiet_option, session_options, threads_option):
        command = option(command)
    return command


def _note_level(context: click.Context, option: click.Parameter, level: str | None) -> None:
    if level is not None:
        context.meta[_LEVEL] = level


def _open_log(context: click.Context, option: click.Parameter, file: str | None) -> None:
    level = context.meta.get(_LEVEL)
    if file is not None:
        from ..logs import open_log

        open_log(file, level or "info")
        _log.info("%s of attn-runtime %s, Python %s on %s", context.command_path, *_versions())
        context.meta[_LEVEL] = None
    elif level is not None and not isinstance(context.command, click.Group):
        raise UsageError("--log-level: there is no log; give --log-file with it")


def _versions() -> tuple[str, str, str]:
    import platform

    return __version__, platform.python_version(), platform.platform()


def _add_log_options(command: click.Command) -> None:
    """--log-file and --log-level, which are taken before and behind a command's name."""
    if any(param.name == "log_file" for param in command.params):
        return
    command.params += [
        click.Option(
            ["--log-level"], type=click.Choice(["debug", "info", "warning", "error"]), is_eager=True, expose_value=False,
            callback=_note_level, help="How much --log-file gets.  [default: info]",
        ),
        click.Option(
            ["--log-file"], type=click.Path(readable=False), metavar="FILE", expose_value=False,
            callback=_open_log, help="Append to FILE what is done and why, a line each.",
        ),
    ]  # fmt: skip


class NearestGroup(click.Group):
    """A click group that names the nearest command to a misspelt one. It and its commands write a log where they are asked to."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        _add_log_options(self)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        _add_log_options(cmd)
        super().add_command(cmd, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        # A shell that asks for completions is told of none.
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            raise UsageError(f'unknown command "{name}"; {did_you_mean(name, known)}available: {", ".join(known)}')
        return super().resolve_command(ctx, args)


def completion_variable(prog_name: str) -> str:
    """The environment variable through which a shell asks for completions, named as click names it."""
    return f"_{prog_name}_COMPLETE".replace("-", "_").upper()


def completion_epilog(prog_name: str) -> str:
    """The last lines of --help."""
    variable = completion_variable(prog_name)
    return f'\b\nCompletion in bash; zsh and fish alike:\n  eval "$({variable}=bash_source {prog_name})"'


def run_cli(
    load: Callable[[], click.Command],
    prog_name: str,
    arguments: Sequence[str] | None = None,
    version: str = __version__,
) -> NoReturn:
    """Run the command that `load` imports, and end the process.

    An AttnError is printed as one line ``error: ...`` on stderr, followed by its `details`, and gives the exit code;
    click's own complaints are printed alike and give 2. Ctrl-C gives 130, SIGTERM 143, a reader that went away 141; anything
    else is a bug of ours, with its traceback and 1. With --json each of them is in the one document on stdout too, as
    "error". Where a shell asks for completions, they are all that is printed.
    """
    if instruction := os.environ.get(variable := completion_variable(prog_name)):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(load(), {}, prog_name, variable, instruction))
    open_streams()
    limit_openmp(sleeping=True)
    words = list(sys.argv[1:] if arguments is None else arguments)
    answer = _JsonAnswer(words, prog_name, version)
    asked_to_end = end_on_signals(lambda number: _stopped(answer, number))
    if "ATTN_LOG_FILE" in os.environ:  # of the command that started this one
        from ..logs import open_log_of_parent

        open_log_of_parent()
    try:
        code = _invoke(load, prog_name, words, answer, asked_to_end)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGoneError):
        into_nothing(sys.stdout)
        into_nothing(sys.stderr)
        code = _BROKEN_PIPE
    except AttnError as error:  # stdout can't be written
        into_nothing(sys.stdout)
        code = _complain(error)
    _log.info("ends with exit code %d", code)
    from ..logs import close_log

    if not close_log():
        say("note: the log is not whole: its file could not be written", err=True)
    sys.exit(code)


def _invoke(
    load: Callable[[], click.Command],
    prog_name: str,
    words: list[str],
    answer: _JsonAnswer,
    asked_to_end: Callable[[], int | None],
) -> int:
    try:
        command = load()
        with command.make_context(prog_name, list(words)) as context:
            context.meta[_JSON] = answer
            command.invoke(context)
    except click.exceptions.Exit as finished:
        answer.end(finished.exit_code)
        return finished.exit_code
    except AttnError as error:
        if number := asked_to_end():
            return _stopped(answer, number)
        _complain(error)
        return answer.fail(error.to_json())
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            click.echo(error.format_message(), err=True)
            return error.exit_code
        told = UsageError(error.format_message())
        _complain(told)
        at = getattr(error, "ctx", None)
        answer.command = answer.command or (_command_of(at) if at is not None else "") or None
        see = f"see {prog_name if at is None else at.command_path} --help"
        parts = told.to_json()
        return answer.fail(parts | {"code": error.exit_code, "do": parts["do"] or see})
    except (KeyboardInterrupt, click.Abort):
        return _stopped(answer, signal.SIGINT)
    except StoppedError as stopped:
        return _stopped(answer, int(str(stopped.code)) - 128)
    except (SystemExit, ReaderGoneError):
        raise
    except BaseException as bug:  # of ours, or of a model's code, which may raise anything
        if number := asked_to_end():
            return _stopped(answer, number)
        from traceback import format_exception

        trace = format_exception(bug)
        _log.error("%s", "".join(trace))
        for text in trace:
            say(*text.rstrip("\n").split("\n"), err=True)
        return answer.fail(_outcome(1, type(bug).__name__, f"a bug of {prog_name}'s: {bug}"))
    answer.end()
    return 0


def _stopped(answer: _JsonAnswer, number: int) -> int:
    name = signal.Signals(number).name
    kind, message = ("Interrupted", "interrupted") if name == "SIGINT" else ("Stopped", f"stopped by {name}")
    _log.error("%s", message)
    say(f"error: {message}", err=True)
    return answer.fail(_outcome(128 + number, kind, message))


def _complain(error: AttnError) -> int:
    details = getattr(error, "details", "")
    _log.error("%s: %s%s", type(error).__name__, error, f"\n{details}" if details else "")
    say(f"error: {error}", *(details.split("\n") if details else ()), err=True)
    return error.exit_code


def _outcome(code: int, kind: str, message: str) -> dict[str, Any]:
    """As AttnError.to_json, for what is none."""
    return AttnError(message).to_json() | {"code": code, "kind": kind}


class _JsonAnswer:
    """The one document of a run with --json (answer.schema.json). It is printed at the end, when it is known how that was.

    `wanted` is what was parsed; until the command's own options are, --json among the words decides.
    """

    def __init__(self, words: Sequence[str], tool: str, version: str) -> None:
        options = words[: words.index("--")] if "--" in words else words
        self.wanted = any(word.partition("=")[0] == "--json" for word in options)
        self.command: str | None = None
        self._tool, self._version = tool, version
        self._value: Any = None
        self._there = False

    def keep(self, value: Any) -> None:
        self._value, self._there = value, True

    def end(self, code: int = 0) -> None:
        """Print what was kept, where something was."""
        if self._there:
            self._print(code, None)

    def fail(self, error: dict[str, Any]) -> int:
        """The same with the error. Its exit code: that stays, where stdout can't be written either."""
        try:
            if self.wanted:
                self._print(int(error["code"]), error)
            sys.stdout.flush()
        except (AttnError, ReaderGoneError):
            into_nothing(sys.stdout)
        return int(error["code"])

    def _print(self, code: int, error: dict[str, Any] | None) -> None:
        import json

        document = {
            "schema": "attn-answer/1", "tool": self._tool, "version": self._version, "command": self.command,
            "ok": code == 0, "exit_code": code, "result": self._value, "error": error,
        }  # fmt: skip
        click.echo(json.dumps(document, indent=2, allow_nan=False))


def say(*lines: str, err: bool = False) -> None:
    """Print each as one line, without anything in it that a terminal acts on. All that the command lines say goes through
    here, but for JSON, which is ASCII, and the answers of a generator."""
    for line in lines:
        click.echo(printable(line, None), err=err)


def say_over(text: str, width: int = 0) -> int:
    """Print on stderr in the place of the last such text, which was `width` characters wide. The width of this one."""
    text = printable(text, None)
    click.echo(f"\r{text.ljust(width)}" if text else f"\r{' ' * width}\r", err=True, nl=False)
    return len(text)


def say_as_it_is(text: str, newline: bool = True) -> None:
    """Print the answer that was asked for, byte for byte."""
    # With colour, or click takes out of a pipe what looks like a terminal's colours.
    click.echo(text, nl=newline, color=True)


def clean(text: str) -> str:
    """What a model wrote, as it is printed: on a terminal without what that acts on, elsewhere as it is."""
    return printable_text(text) if sys.stdout is not None and sys.stdout.isatty() else text


def say_line_as_it_is(text: str) -> None:
    """Print what a model wrote on one line, whatever the tokenizer makes of it."""
    say_as_it_is(clean(_LINE_END.sub(" ", text)))


def picture_file(context: click.Context, option: click.Parameter, file: str | None) -> str | None:
    """The callback of --plot: what can't be written is told before the work that it would show."""
    if file is not None:
        from ..tasks.plots import check_plot

        check_plot(file)
    return file


def print_json(value: Any) -> None:
    """The result of the command, for the one JSON document on stdout at its end; a NaN or infinity is a bug, since JSON has
    neither."""
    context = click.get_current_context()
    answer = context.meta.get(_JSON)
    if answer is not None:
        answer.keep(value)
        return
    # Called as a function of click's, without `run_cli`.
    alone = _JsonAnswer((), context.find_root().info_name or "", __version__)
    alone.command = _command_of(context)
    alone.keep(value)
    alone.end()
