"""The command line `attn-export`: each command turns its options into one public call and prints what that returns."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """What the console script calls. Imports the commands only now."""
    from . import app

    app.main()
