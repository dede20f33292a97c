"""What both command lines share: how an error ends the process, and how a misspelt command is answered.

Imports click and nothing heavy, so that --help answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ..errors import AttnError, OutputError, UsageError
from ..suggest import did_you_mean

_INTERRUPTED = 128 + 2  # as a shell tells of SIGINT
_BROKEN_PIPE = 128 + 13

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


class NearestGroup(click.Group):
    """A click group that names the nearest command to a misspelt one."""

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


def run_cli(command: click.Command, prog_name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `command` and end the process.

    An AttnError is printed as one line ``error: ...`` on stderr, followed by its `details`, and gives the exit code;
    click's own complaints are printed alike and give 2. Ctrl-C gives 130, a reader that went away 141; anything else is
    a bug of ours, with its traceback and 1. Where a shell asks for completions, they are all that is printed.
    """
    if instruction := os.environ.get(variable := completion_variable(prog_name)):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(command, {}, prog_name, variable, instruction))
    # A stop from outside, or a terminal that goes away, ends like Ctrl-C: what is half written is removed on the way.
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        with contextlib.suppress(ValueError):  # not the main thread: nothing to set
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        code = _invoke(command, prog_name, list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered goes nowhere; without this, Python complains once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _complain(f"can't write to stdout: {error.strerror}", OutputError.exit_code)
    sys.exit(code)


def _invoke(command: click.Command, prog_name: str, arguments: list[str]) -> int:
    try:
        with command.make_context(prog_name, arguments) as context:
            command.invoke(context)
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except AttnError as error:
        return _complain(str(error), error.exit_code, getattr(error, "details", ""))
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            click.echo(error.format_message(), err=True)
            return error.exit_code
        return _complain(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", _INTERRUPTED)
    return 0


def _complain(message: str, code: int, details: str = "") -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    if details:
        click.echo(details, err=True)
    return code


def picture_file(context: click.Context, option: click.Parameter, file: str | None) -> str | None:
    """The callback of --plot: what can't be written is told before the work that it would show."""
    if file is not None:
        from ..tasks.plots import check_plot

        check_plot(file)
    return file


def print_json(value: Any) -> None:
    """One JSON document on stdout; a NaN or infinity is a bug, since JSON has neither."""
    import json

    click.echo(json.dumps(value, indent=2, allow_nan=False))
