"""`attn-export report`: a bundle as one page to look at."""

from __future__ import annotations

from pathlib import Path

import click
from attn_runtime.cli.options import json_option, print_json, quiet_option, say
from attn_runtime.escape import printable
from attn_runtime.text_format import bytes_text


@click.command("report")
@click.argument("path", metavar="BUNDLE", type=click.Path(readable=False, path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(readable=False, path_type=Path), help="The page, NAME.html."
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="TEXT|FILE",
    help="Show this text, picture, recording or .npz, and what the model looks at in it; repeatable.  [default: a golden case]",
)
@quiet_option
@json_option
def report_command(path: Path, output: Path, inputs: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Write one page about BUNDLE that needs no network: what was proven, precisions, engines, sizes, times, and a viewer of what
    the model looks at, of a bundle exported with --with-attention.
    """
    from .. import report

    written = report(path, output, inputs=inputs)
    if as_json:
        print_json(written.to_json())
    elif not quiet:
        for note in written.notes:
            say(f"note: {printable(note)}")
        maps = f"{written.maps} attention map{'' if written.maps == 1 else 's'} to look at"
        say(f"{printable(written.file, None)}: {bytes_text(written.size)}, {maps}")
