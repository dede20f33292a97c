"""The files that were asked for, checked before the work and written behind it, also where it ended with an error."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import AttnError
from ...files import check_file, write_file

if TYPE_CHECKING:
    from .verify_report import VerifyReport


@dataclass(frozen=True)
class ReportFiles:
    """Where to write each form; None writes none. Raises OutputError where a file can't be put there."""

    junit: Path | None
    markdown: Path | None

    @classmethod
    def checked(cls, junit: str | os.PathLike[str] | None, markdown: str | os.PathLike[str] | None) -> ReportFiles:
        files = cls(*(None if file is None else Path(file) for file in (junit, markdown)))
        for file in filter(None, (files.junit, files.markdown)):
            check_file(file)
        return files

    def write(self, found: VerifyReport | AttnError, name: str) -> None:
        """`found` of the bundle `name`. What was there is replaced whole, or stays; OutputError where it can't be."""
        if self.junit is not None:
            from .junit import junit_of

            write_file(self.junit, junit_of(found, name))
        if self.markdown is not None:
            from .markdown import markdown_of

            write_file(self.markdown, markdown_of(found, name).encode())
