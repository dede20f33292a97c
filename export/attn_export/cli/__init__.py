"""The command line `attn-export`: each command turns its options into one public call and prints what that returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__all__ = ["main"]


def main() -> None:
    """What the console script calls. Imports the commands only now, and ends well where it is stopped meanwhile."""
    from attn_runtime.cli.options import run_cli

    from .. import __version__

    run_cli(_load, "attn-export", version=__version__)


def _load() -> click.Command:
    from . import app

    return app.cli
