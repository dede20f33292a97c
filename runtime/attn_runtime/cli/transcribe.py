"""`attn-run transcribe`: what is said in recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import (
    json_option,
    place_options,
    print_json,
    quiet_option,
    say,
    say_line_as_it_is,
    threads_option,
    verbose_option,
)
from .printers import print_notes, print_passed_over

if TYPE_CHECKING:
    from ..tasks.transcription import Transcription

# Imports of our own are inside the functions: --help must not wait for numpy.


@click.command("transcribe")
@click.argument("path", metavar="BUNDLE", type=click.Path(readable=False))
@click.argument("recordings", metavar="RECORDING...", nargs=-1)
@click.option("--max-length", type=int, help="Most tokens of a window's answer, of a model that writes token by token.")
@click.option("--beams", type=int, help="Answers that are followed at once, of such a model.  [default: 1]")
@click.option("--language", help="What is spoken, as in de, of a model that is told.  [default: the bundle's]")
@click.option("--task", help="transcribe or translate, of a model that does both.  [default: the bundle's]")
@threads_option
@place_options
@quiet_option
@verbose_option
@json_option
def transcribe_command(
    path: str,
    recordings: tuple[str, ...],
    max_length: int | None,
    beams: int | None,
    language: str | None,
    task: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Write what is said in each RECORDING, a WAV file of any length or - for stdin; a line each.

    What is done to fit a recording to the model (another rate, stereo) is said on stderr. Exit code 7: a recording is
    missing or damaged.
    """
    from .. import GenerateOptions, transcribe

    begin = {name: value for name, value in (("language", language), ("task", task)) if value is not None}
    given = (("max_length", max_length), ("beams", beams), ("begin", begin or None))
    asked: dict[str, Any] = {name: value for name, value in given if value is not None}
    done = transcribe(path, recordings, GenerateOptions(**asked) if asked else None, **options)
    if as_json:
        print_json(done.to_json())
    else:
        _print(done, quiet)
        print_passed_over(done, verbose)


def _print(done: Transcription, quiet: bool) -> None:
    print_notes(done.recordings, quiet)
    for one in done.recordings:
        say_line_as_it_is(one.text)
    if not quiet:
        heard, windows = (
            sum(values) for values in zip(*((r.seconds, r.windows) for r in done.recordings), strict=True)
        )
        say(f"{done.choice}; {heard:.1f} s in {windows} windows, {done.seconds * 1000:.2f} ms", err=True)
