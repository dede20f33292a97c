"""`attn-run classify`: what texts, recordings or pictures are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..escape import printable
from .options import json_option, print_json, quiet_option, say, verbose_option
from .printers import print_passed_over

if TYPE_CHECKING:
    from ..tasks import Classification

# Imports of our own are inside the functions: --help must not wait for numpy.


@click.command("classify")
@click.argument("path", metavar="BUNDLE", type=click.Path(readable=False))
@click.argument("inputs", metavar="INPUT...", nargs=-1)
@click.option(
    "--file",
    type=click.Path(readable=False),
    help="A UTF-8 file of further texts, one a line; or a recording, a picture. - is stdin.",
)
@click.option("--pair", "pairs", multiple=True, metavar="TEXT", help="The second text of a pair, one for each INPUT.")
@click.option("--truncate", is_flag=True, help="Cut a text that is too long; otherwise it is refused.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to print.")
@click.option("--threads", type=int, help="Threads that one node may use on the CPU.")
@click.option("--precision", help="Which of the bundle's precisions; fp32 where there is one.")
@click.option("--graph", help="Which graph of a bundle that has several.")
@click.option("--backend", help="Which backend; attn-run doctor lists them. Chosen when left out.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@quiet_option
@verbose_option
@json_option
def classify_command(
    path: str, inputs: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool, **options: Any
) -> None:
    """Classify each INPUT: a text, a WAV file or a picture, whichever the bundle takes. INPUT - is stdin: texts, a
    line each, or one file.

    What is done to fit an input to the model (another rate, stereo, unknown words) is said on stderr. Exit code 7: an
    input is empty, damaged or too long.
    """
    from .. import classify

    done = classify(path, inputs, stdin=True, **options)
    if as_json:
        print_json(done.to_json())
    else:
        _print(done, quiet)
        print_passed_over(done, verbose)


def _print(done: Classification, quiet: bool) -> None:
    for found in done.inputs:
        for note in () if quiet else found.notes:
            say(f"note: {printable(found.given, 60)}: {printable(note)}", err=True)
    say(*_lines(done, quiet))


def _lines(done: Classification, quiet: bool) -> Iterator[str]:
    from ..text_format import columns

    rows = []
    for found in done.inputs:
        form = ".4g" if done.scores == "none" else ".1%"
        cells = [f"{printable(guess.label)} {guess.probability:{form}}" for guess in found.guesses]
        rows.append([*cells, printable(found.given, 100)])
    yield from columns(rows).split("\n")
    if quiet:
        return
    batches = "batch" if done.calls == 1 else "batches"
    yield f"{done.choice}; {done.calls} {batches}, {done.seconds * 1000:.2f} ms"
