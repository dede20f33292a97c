"""Whether a picture can be written, asked before the work that it shows."""

from __future__ import annotations

from pathlib import Path

from ...errors import BackendError, UsageError
from ...files import check_file


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
