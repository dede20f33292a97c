"""`attn-run classify`: what texts, recordings or pictures are. `attn-run detect`: what is where in a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..escape import printable
from .options import picture_file, print_json, run_options, say
from .printers import print_notes, print_passed_over, run_line

if TYPE_CHECKING:
    from ..tasks import Classification
    from ..tasks.pictures import Detection

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
@run_options
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
    print_notes(done.inputs, quiet)
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
    yield run_line(done)


@click.command("detect")
@click.argument("path", metavar="BUNDLE", type=click.Path(readable=False))
@click.argument("inputs", metavar="PICTURE...", nargs=-1)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="The least probability of a box that is told.",
)
@click.option(
    "--plot",
    type=click.Path(readable=False),
    callback=picture_file,
    help="Draw the boxes of one picture, as in boxes.png.",
)
@run_options
def detect_command(
    path: str, inputs: tuple[str, ...], plot: str | None, quiet: bool, verbose: bool, as_json: bool, **options: Any
) -> None:
    """Find things in each PICTURE: a line for each, with its box in pixels from the upper left corner.

    Of models that answer as DETR does. Exit code 7: a picture is missing or damaged.
    """
    from .. import detect

    if plot is not None and (len(inputs) != 1 or inputs[0] == "-"):
        raise UsageError(f"--plot draws over one picture of a file, got {', '.join(map(printable, inputs)) or 'none'}")
    done = detect(path, inputs, **options)
    if plot is not None:
        from ..tasks.plots import plot_boxes

        plot_boxes(done.inputs[0], plot)
    if as_json:
        print_json(done.to_json())
    else:
        say(*_box_lines(done, quiet))
        print_passed_over(done, verbose)


def _box_lines(done: Detection, quiet: bool) -> Iterator[str]:
    from ..text_format import columns

    rows = [["probability", "class", "left", "top", "right", "bottom", "picture"]]
    for found in done.inputs:
        for box in found.boxes:
            edges = [f"{edge:.1f}" for edge in (box.left, box.top, box.right, box.bottom)]
            rows.append([f"{box.probability:.1%}", printable(box.label), *edges, printable(found.given, 100)])
    if len(rows) > 1:
        yield from columns(rows).split("\n")
    if quiet:
        return
    for found in done.inputs:
        if not found.boxes:
            yield f"{printable(found.given, 100)}: nothing from {done.threshold:.0%} on; --threshold takes less"
    yield run_line(done)
