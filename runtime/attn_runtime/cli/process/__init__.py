"""What the process of a command is given: its streams, and signals that end it."""

from .signals import StoppedError, end_on_signals
from .streams import ReaderGoneError, into_nothing, open_streams

__all__ = ["ReaderGoneError", "StoppedError", "end_on_signals", "into_nothing", "open_streams"]
