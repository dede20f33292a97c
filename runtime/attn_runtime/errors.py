"""One class per kind of failure, each with its own process exit code.

A message is one line: what was found, what was expected, what is available, what to do next. The command lines
print it without a traceback and exit with `exit_code`; 1 stays for a bug of ours, 2 is click's own usage error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .escape import message as one_line


class AttnError(Exception):
    """Base of every failure that is the input's, the machine's or the model's, and not a bug.

    `details` is printable, of several lines, and may be shown below the message; most errors have none.
    """

    exit_code = 1

    def __str__(self) -> str:
        """The message, in one line and without what a terminal acts on: where nobody catches it, a traceback prints it."""
        return one_line(super().__str__())

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class UsageError(AttnError):
    """An unknown name or option, or a value that does not parse."""

    exit_code = 2


class CaptureError(AttnError):
    """PyTorch could not turn the module into the graph that was asked for."""

    exit_code = 3


class ParityError(AttnError):
    """A graph's answers are not PyTorch's. `details` is a printable table of the worst elements.

    `sizes` are those of the cases that failed, where sizes are known.
    """

    exit_code = 4

    def __init__(self, message: str, details: str = "", sizes: Sequence[Mapping[str, int]] = ()) -> None:
        super().__init__(message, details)
        self.sizes = sizes


class PrecisionError(AttnError):
    """An engine computes in another precision than the one asked for. `details` lists its layers."""

    exit_code = 5


class FusionError(AttnError):
    """Attention was asked to be fused and is not. `details` lists the blocks, with why and what would fuse them."""

    exit_code = 6


class InputError(AttnError):
    """A tensor has a wrong name, dtype, rank or size for the graph it was given to."""

    exit_code = 7


class BundleError(AttnError):
    """A bundle or a graph file is missing, damaged, hostile, or of an unknown schema version."""

    exit_code = 8


class CheckpointError(AttnError):
    """A checkpoint is missing, unsafe to load, damaged, or does not fit the module."""

    exit_code = 9


class BackendError(AttnError):
    """No backend can run this graph on the device that was asked for."""

    exit_code = 10


class OutputError(AttnError):
    """The output can't be written, or writing it would destroy something that is not ours."""

    exit_code = 11


class StageError(AttnError):
    """A child process crashed or ran over its time limit."""

    exit_code = 12


class PassError(AttnError):
    """A pass broke its contract: it changed what it promised to keep."""

    exit_code = 13


class EngineError(AttnError):
    """An engine can't be built, or the one there is damaged, of another model, or made for another machine."""

    exit_code = 14
