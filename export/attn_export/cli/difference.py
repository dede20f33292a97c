"""`attn-export diff`: what two bundles differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from attn_runtime.cli.options import json_option, print_json, quiet_option, say

_PATH = click.Path(readable=False, path_type=Path)


@click.command("diff")
@click.argument("a", metavar="BUNDLE", type=_PATH)
@click.argument("b", metavar="[BUNDLE]", type=_PATH, required=False)
@click.option("--precision", metavar="NAME", help="Of the first bundle.  [default: fp32 where there is one]")
@click.option("--against", metavar="NAME", help="Of the second one, or of the first alone.  [default: the same]")
@click.option("--graph", help="This graph alone.  [default: all that both have]")
@click.option(
    "--cases",
    default="golden",
    show_default=True,
    metavar="golden|N",
    help="What both are run on: golden cases of the first, or N drawn in ranges of both.",
)
@click.option("--seed", default=0, show_default=True, help="Draws the cases.")
@click.option(
    "--rtol", type=float, help="Error allowed between the answers, of max|first|.  [default: the wider recorded one]"
)
@click.option("--plot", type=_PATH, help="Draw errors over their limits, and nodes by operator.")
@quiet_option
@json_option
def diff_command(a: Path, b: Path | None, quiet: bool, as_json: bool, **options: Any) -> None:
    """Tell what two bundles, or two precisions of one, differ in: inputs, nodes, weights, precisions, errors, answers.

    Exit code 0 where their answers to the same cases are equal within the tolerance, whatever else differs; 15 where they are
    not, or could not be compared.
    """
    from .. import Console, diff

    found = diff(a, b, console=Console(quiet or as_json), **options)
    if as_json:
        print_json(found.to_json())
    else:
        say(*str(found).split("\n"))
    found.require()
