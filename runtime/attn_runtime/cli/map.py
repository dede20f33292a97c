"""`attn-run map`: a bundle over whole tables, and folders of pictures or recordings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..escape import printable
from .options import json_option, print_json, quiet_option, say, say_over, session_options, threads_option

if TYPE_CHECKING:
    from ..tasks.mapping import MapReport, Progress

# Imports of our own are inside the functions: --help must not wait for numpy.

#: Seconds between two lines of progress where they can't be written over.
_EVERY_S = 10.0


@click.command("map")
@click.argument("path", metavar="BUNDLE", type=click.Path(readable=False))
@click.argument("inputs", metavar="INPUT...", nargs=-1)
@click.option(
    "-o", "--output", required=True, metavar="FOLDER", type=click.Path(readable=False), help="Where Parquet files go."
)
@click.option(
    "--task",
    metavar="NAME",
    help="classify, detect, embed, generate, outputs, tag or transcribe.  [default: what the bundle is for]",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="[NAME=]COLUMN",
    help="Which column a text, picture, recording or input is in. Repeatable.",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="[NAME=]COLUMN[:TYPE]",
    help="A column to write beside the answers; TYPE is string, int64, float64 or bool. Repeatable.",
)
@click.option(
    "--delimiter", metavar="CHARACTER", help="What parts the columns of a CSV.  [default: a comma; of .tsv a tab]"
)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to write.")
@click.option("--of", metavar="OUTPUT", help="Which output is meant, of embed and outputs.")
@click.option("--pooling", metavar="mean|first|last", help="Of embed, for an output with a vector of each token.")
@click.option("--normalize", is_flag=True, help="Divide each embedding by its length.")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="The least probability of a box."
)
@click.option("--max-length", type=int, help="Most tokens of an answer, of a model that writes.")
@click.option("--truncate", is_flag=True, help="Cut a text that is too long; otherwise its row has an error.")
@click.option(
    "--batch", type=click.IntRange(1), metavar="ROWS", help="Most rows of a call.  [default: what the graph takes]"
)
@click.option("--part-rows", type=click.IntRange(1), metavar="ROWS", help="Rows of one file of the output.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes that each have the bundle open; with --ray actors.  [default: 1]",
)
@click.option("--ray", metavar="ADDRESS", help="A Ray cluster that is there, as in auto or HOST:6379.")
@click.option("--restart", is_flag=True, help="Remove what another run wrote into FOLDER.")
@click.option(
    "--allow-failed", default="0", show_default=True, metavar="N|P%", help="How many rows may have no answer."
)
@click.option(
    "--metrics",
    type=click.Path(readable=False),
    help="Write counters to this file, as Prometheus' node exporter reads them.",
)
@threads_option
@session_options
@quiet_option
@json_option
def map_command(
    path: str, inputs: tuple[str, ...], quiet: bool, as_json: bool, keep: tuple[str, ...], **options: Any
) -> None:
    """Answer every row of each INPUT, into Parquet files in FOLDER: what the bundle is for decides what is written.

    INPUT is a file of rows (.jsonl, .csv, .tsv, .txt, .parquet; the first four also .gz, .zst, .bz2, .lz4), a folder of them, or
    pictures or recordings and folders of those. The bundle is verified first. A row that can't be answered has its error in the
    column error, and ends nothing. The same command goes on where a run was killed.

    Exit code 16: all rows are written, and more than --allow-failed have no answer. Ctrl-C ends the run behind the part under
    way.
    """
    from .. import TaskOptions, map_rows

    names = ("top", "of", "pooling", "normalize", "threshold", "max_length", "truncate")
    asked = TaskOptions(**{name: options.pop(name) for name in names})
    told: dict[str, Any] = {} if quiet or as_json else {"on_progress": _progress()}
    done = map_rows(path, inputs, options=asked, keep=keep, check=False, **told, **options)
    if as_json:
        print_json(done.to_json())
    else:
        _print(done, quiet)
    if done.stopped:
        raise KeyboardInterrupt
    done.require()


def _progress() -> Callable[[Progress], None]:
    """On a terminal a line that is written over; elsewhere one every few seconds."""
    terminal, width, last = sys.stderr.isatty(), 0, time.monotonic()

    def tell(now: Progress) -> None:
        nonlocal width, last
        if terminal:
            width = say_over(_line(now), width)
        elif time.monotonic() - last >= _EVERY_S:
            last = time.monotonic()
            say(_line(now), err=True)

    return tell


def _line(now: Progress) -> str:
    failed = f", {now.failed:,} without an answer" if now.failed else ""
    left = "" if now.left is None else f", {now.left:,} left"
    seconds = "" if now.seconds_left is None else f" ({_duration(now.seconds_left)})"
    return f"{now.before + now.rows:,} rows{failed}, {now.rows_per_second:,.1f} rows/s{left}{seconds}"


def _duration(seconds: float) -> str:
    minutes, hours = divmod(round(seconds), 60)[0], int(seconds // 3600)
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"


def _print(done: MapReport, quiet: bool) -> None:
    if sys.stderr.isatty() and not quiet:
        say("", err=True)
    for source, row, error in done.errors if not quiet else ():
        say(f"note: {printable(source, 60)} row {row}: {printable(error)}", err=True)
    if not quiet:
        files = "file" if done.parts == 1 else "files"
        ended = "; the same command goes on from there" if done.stopped else ""
        say(
            f"{printable(done.output)}: {done.rows:,} rows in {done.parts:,} {files}, {done.failed:,} without an answer{ended}",
            f"{done.task}: {done.choice or 'nothing was left to do'}; {done.mapped:,} rows in {done.seconds:.1f} s, "
            f"{done.rows_per_second:,.1f} rows/s",
        )
