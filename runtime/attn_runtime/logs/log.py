"""What modules log with: `_log = Log(__name__)`, then `_log.info("opened %s", path)`.

It is `logging.getLogger(__name__)`, but for one thing: nothing is loaded for it. `logging` takes 6 ms to import, a twentieth of
the start of a process that runs a graph, and where nobody has imported it, nobody can have asked for records.
"""

from __future__ import annotations

import sys
from typing import Any


class Log:
    """The logger of a module. A record's text is made only where somebody wants it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logger: Any = None

    def debug(self, text: str, *values: object) -> None:
        self._note("debug", text, values)

    def info(self, text: str, *values: object) -> None:
        self._note("info", text, values)

    def warning(self, text: str, *values: object) -> None:
        self._note("warning", text, values)

    def error(self, text: str, *values: object) -> None:
        self._note("error", text, values)

    def _note(self, level: str, text: str, values: tuple[object, ...]) -> None:
        if self._logger is None:
            logging = sys.modules.get("logging")
            if logging is None:
                return
            package = logging.getLogger(self._name.partition(".")[0])
            if not any(isinstance(handler, logging.NullHandler) for handler in package.handlers):
                package.addHandler(logging.NullHandler())  # a library prints nothing, not even a warning
            self._logger = logging.getLogger(self._name)
        getattr(self._logger, level)(text, *values, stacklevel=3)
