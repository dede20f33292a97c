"""attn-export models: what is built in, how large it is, and the line that trains it."""

from __future__ import annotations

from typing import Any

import click
from attn_runtime.cli.options import json_option, print_json, quiet_already_option, say


@click.command("models")
@quiet_already_option
@json_option
def models(as_json: bool) -> None:
    """List the built-in models: name, task, parameters, graphs, and the command that trains each."""
    from .. import built_in_models

    rows = built_in_models()
    if as_json:
        print_json(rows)
    else:
        _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    from attn_runtime.text_format import columns

    titles = ("model", "task", "parameters", "trained by", "")
    shown = [
        (row["name"], row["task"], f"{row['parameters'] / 1e6:.2f} M", row["train"] or "(not here)", row["summary"])
        for row in rows
    ]
    say(*columns([titles, *shown]).split("\n"))
