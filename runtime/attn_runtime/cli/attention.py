"""attn-run attention: what a model looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..escape import printable
from .options import json_option, picture_file, place_options, print_json, quiet_option, say, verbose_option
from .printers import print_passed_over

if TYPE_CHECKING:
    from ..tasks import AttentionMaps

# Imports of our own are inside the functions: --help must not wait for numpy.

_KINDS = {"words": "words", "grid": "cells", "frames": "frames", "index": "entries"}


def _cell(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"got {text!r}, expected ROW,COLUMN of a cell as in 3,5")
    return int(parts[0]), int(parts[1])


def _npz(context: click.Context, option: click.Parameter, output: str | None) -> str | None:
    if output is not None and not output.endswith(".npz"):
        raise UsageError(f"output {output}: expected a file NAME.npz")
    if output is not None:
        from ..files import check_file

        check_file(Path(output))
    return output


@click.command("attention")
@click.argument("path", type=click.Path(readable=False))
@click.argument("given", metavar="INPUT")
@click.option(
    "--plot", type=click.Path(readable=False), callback=picture_file, help="Write a picture of it, as in attention.png."
)
@click.option("--layer", metavar="N|PATTERN", help="Which layers: a number, or a regular expression in their names.")
@click.option("--head", default="mean", show_default=True, metavar="N|mean|all", help="Which heads.")
@click.option(
    "--query",
    callback=_cell,
    metavar="ROW,COL",
    help="Of an image model, the cell that looks.  [default: the class token, or the mean of all]",
)
@click.option("--max-length", type=int, help="Of a model that writes, most tokens of the answer.")
@click.option("-o", "--output", type=click.Path(readable=False), callback=_npz, help="Write every map to this .npz.")
@place_options
@quiet_option
@verbose_option
@json_option
def attention(
    path: str,
    given: str,
    plot: str | None,
    layer: str | None,
    head: str,
    query: tuple[int, int] | None,
    output: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """What the bundle PATH looked at in INPUT: an image, a recording, a text, or an .npz of inputs.
    INPUT - is stdin.

    The bundle must have been exported with --with-attention.
    """
    from .. import attention_maps

    maps = attention_maps(path, given, stdin=True, **options)
    summary = maps.to_json(layer)
    if plot is not None:
        _draw(maps, plot, layer=layer, head=head, query=query)
    if output is not None:
        maps.save(output, layer)
    if as_json:
        print_json(summary)
    else:
        _print(summary, quiet)
        print_passed_over(maps, verbose)


def _draw(maps: AttentionMaps, file: str, **chosen: Any) -> None:
    from ..tasks.plots import plot_attention

    plot_attention(maps, file, **chosen)


def _print(summary: dict[str, Any], quiet: bool) -> None:
    from ..text_format import columns

    say(printable(summary["title"]))
    for note in () if quiet else summary["notes"]:
        say(f"note: {printable(note)}")
    rows = [("layer", "module", "heads", "queries", "keys", "most weight")]
    for m in summary["maps"]:
        name = f"{m['graph']} {m['module'] or m['output']}"
        most = m["most"]
        queries, keys = (f"{m[many]} {_KINDS[m[one]['kind']]}" for many, one in (("queries", "query"), ("keys", "key")))
        told = printable(f"{most['weight']:.1%} {most['told']}")
        rows.append((str(m["layer"]), printable(name), str(m["heads"]), queries, keys, told))
    say(*columns(rows).split("\n"))
    if not quiet:
        say(summary["choice"])
