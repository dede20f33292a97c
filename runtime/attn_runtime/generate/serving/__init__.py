"""Requests that join and leave a running generator between the steps of its rows.

turns    who has the graphs: one after the other, in the order in which they asked
request  one request: its tokens as they come, its answer
server   the thread that reads prompts and takes steps while there are requests
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .request import Prompt, Request, RequestLimits
    from .server import Server
    from .turns import Turns

__all__ = ["Prompt", "Request", "RequestLimits", "Server", "Turns"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "request": ["Prompt", "Request", "RequestLimits"],
        "server": ["Server"],
        "turns": ["Turns"],
    },
)
