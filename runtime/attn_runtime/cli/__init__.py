"""The command line `attn-run`: each command turns its options into one public call and prints what that returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    import click

    from .app import bench
    from .compile import BuildPrinter, build_options
    from .printers import print_diagnosis, print_passed_over

__all__ = ["BuildPrinter", "bench", "build_options", "main", "print_diagnosis", "print_passed_over"]


def main() -> None:
    """What the console script calls. Imports the commands only now, and ends well where it is stopped meanwhile."""
    from . import options

    options.run_cli(_load, "attn-run")


def _load() -> click.Command:
    from . import app

    return app.cli


__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "app": ["bench"],
        "compile": ["BuildPrinter", "build_options"],
        "printers": ["print_diagnosis", "print_passed_over"],
    },
)
