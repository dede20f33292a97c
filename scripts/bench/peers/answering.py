"""How a peer is asked: one JSON object a line on stdin, one answer a line on stdout, the first unasked, with its versions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any


class Told:
    """Where answers go. What libraries print, in Python or below it, goes to stderr instead."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def answer(self, **values: object) -> None:
        print(json.dumps(values), file=self._out, flush=True)

    def serve(
        self, handle: Callable[[dict[str, Any]], dict[str, Any]], packages: Sequence[str], **about: object
    ) -> None:
        """Say what this is, then answer until stdin ends."""
        self.answer(versions={name: version(name) for name in packages}, **about)
        for line in sys.stdin:
            self.answer(**handle(json.loads(line)))
