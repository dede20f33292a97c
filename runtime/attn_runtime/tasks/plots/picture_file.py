"""The file of a picture: whether it can be written, asked before the work that it shows, and writing it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import BackendError, UsageError
from ...escape import plotting
from ...files import check_file, write_whole


def check_plot(file: str | Path) -> None:
    """Raises BackendError when matplotlib is not installed, UsageError for a suffix that it does not know, OutputError
    where no file can be put at `file`.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise BackendError("--plot needs matplotlib; pip install matplotlib") from error
    known = FigureCanvasBase.get_supported_filetypes()
    if (suffix := Path(file).suffix.removeprefix(".")) not in known:
        raise UsageError(f"plot {file}: got suffix {suffix or '(none)'}, expected one of {', '.join(sorted(known))}")
    check_file(Path(file))


@plotting()
def write_plot(file: str | Path, draw: Callable[[], Any], dpi: int = 150) -> None:
    """Write the matplotlib Figure that `draw` returns, whole or not at all. Raises what `check_plot` does, before it is drawn."""
    check_plot(file)
    figure = draw()
    write_whole(Path(file), lambda path: figure.savefig(path, dpi=dpi))
