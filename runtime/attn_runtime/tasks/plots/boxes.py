"""What was found in a picture, drawn over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BackendError
from ...escape import plot_text
from ...preprocess import load_picture
from ..pictures import Detected
from .picture_file import write_plot

#: Inches of the longer side; matplotlib makes it larger for neither a larger picture nor a screen.
_INCHES = 8.0


def plot_boxes(found: Detected, file: str | Path) -> None:
    """Write the picture that `found` is of, with its boxes, to `file`.

    Raises InputError where it can't be read any more, BackendError when matplotlib is not installed, UsageError for a suffix
    that matplotlib does not know, OutputError when `file` can't be written.
    """
    write_plot(file, lambda: draw_boxes(found, load_picture(found.given)))


def draw_boxes(found: Detected, picture: NDArray[np.uint8]) -> Any:
    """`picture`, uint8 [height, width, 3], with the boxes as a matplotlib Figure."""
    try:
        import matplotlib.figure
        from matplotlib.patches import Rectangle
    except ImportError as error:
        raise BackendError("--plot needs matplotlib; pip install matplotlib") from error
    longer = max(found.height, found.width)
    size = max(_INCHES * found.width / longer, 1.0), max(_INCHES * found.height / longer, 1.0)
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    # Pixel 0 reaches from 0 to 1, as in a box.
    axes.imshow(picture, extent=(0, found.width, found.height, 0))
    axes.set_axis_off()
    for box in found.boxes:
        colour = f"C{box.index % 10}"
        size = box.right - box.left, box.bottom - box.top
        axes.add_patch(Rectangle((box.left, box.top), *size, fill=False, edgecolor=colour, linewidth=2))
        said = f"{box.probability:.0%}"
        style: dict[str, Any] = {"color": "white", "backgroundcolor": colour, "fontsize": 9, "va": "bottom"}
        axes.text(box.left, box.top, plot_text(f"{box.label} {said}"), clip_on=True, **style)
    return figure
