"""attn-export models: what is built in, how large it is, and the line that trains it; what was tried of other libraries."""

from __future__ import annotations

from typing import Any

import click
from attn_runtime.cli.options import json_option, print_json, quiet_already_option, say


@click.command("models")
@click.argument("word", required=False)
@click.option("--hf", "library", flag_value="transformers", help="List the surveyed classes of transformers instead.")
@click.option("--timm", "library", flag_value="timm", help="List the surveyed models of timm instead.")
@quiet_already_option
@json_option
def models(word: str | None, library: str | None, as_json: bool) -> None:
    """List the built-in models: name, task, parameters, graphs, and the command that trains each.

    With --hf or --timm, the models that were tried, each a small one with drawn weights: the stage that it reached, and what
    stood in the way. WORD chooses those that have it in their class, type or auto class.
    """
    from .. import list_models

    found = list_models(library, word)
    if as_json:
        print_json(found)
    elif library is None:
        _print(found)
    else:
        _print_surveyed(found)


def _print(rows: list[dict[str, Any]]) -> None:
    from attn_runtime.text_format import columns

    titles = ("model", "task", "parameters", "trained by", "")
    shown = [
        (row["name"], row["task"], f"{row['parameters'] / 1e6:.2f} M", row["train"] or "(not here)", row["summary"])
        for row in rows
    ]
    say(*columns([titles, *shown]).split("\n"))


def _print_surveyed(found: dict[str, Any]) -> None:
    from attn_runtime.text_format import columns

    titles = ("class", "model type", "auto class", "reached", "")
    shown = [
        (
            one["class"],
            one["model_type"],
            one["auto_class"],
            one["passed"][-1] if one["passed"] else "nothing",
            f"{one['failed']}: {one['cause']}" if one["failed"] else "",
        )
        for one in found["models"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    say(*columns([titles, *shown]).split("\n"), f"{len(shown)} of {found['tried']} that were tried, with {versions}")
