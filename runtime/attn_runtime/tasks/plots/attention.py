"""Pictures of what a model looked at: words by words, cells over the picture, seconds under the recording.

Every panel is one head (or the mean of the heads) of one layer. The query is on the y axis and the key on the x axis; where a
query or a key is a cell of a picture, the map is laid over the picture instead, for one query.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BackendError, UsageError
from ...escape import plot_text
from .. import AttentionMap, AttentionMaps, Axis
from .picture_file import write_plot

#: More cannot be told apart on one page.
MOST_PANELS = 48
_MOST_INCHES = 26  # of a page's width
_COLOURS = "viridis"


def plot_attention(
    found: AttentionMaps,
    file: str | Path,
    *,
    layer: str | None = None,
    head: str = "mean",
    query: tuple[int, int] | None = None,
) -> None:
    """Write a picture of the maps to `file`, in the format of its suffix (.png, .svg, .pdf).

    layer   see `AttentionMaps.chosen`
    head    "mean", "all" or a number
    query   (row, column) of the cell that looks; without it the entry in front of the grid (a class token), and the mean over
            all cells where there is none

    Raises BackendError when matplotlib is not installed, UsageError for a choice that there is not or a suffix that
    matplotlib does not know, OutputError when `file` can't be written.
    """
    write_plot(file, lambda: draw(found, layer=layer, head=head, query=query))


def draw(
    found: AttentionMaps, *, layer: str | None = None, head: str = "mean", query: tuple[int, int] | None = None
) -> Any:
    """The picture as a matplotlib Figure; see `plot_attention`."""
    try:
        import matplotlib.figure
    except ImportError as error:
        raise BackendError("--plot needs matplotlib; pip install matplotlib") from error
    maps = found.chosen(layer, None if head == "all" else head)
    panels = [
        (m, number, f"head {number}" if head == "all" else "mean of heads" if head == "mean" else f"head {head}")
        for m in maps
        for number in range(m.weights.shape[0])
    ]
    if len(panels) > MOST_PANELS:
        raise UsageError(f"{len(panels)} maps on one picture; at most {MOST_PANELS}: choose with --layer and --head")
    if query is not None and not any(m.query.kind == "grid" for m in maps):
        raise UsageError("--query ROW,COL: no map has queries that are cells of a picture")
    shown = found.picture is not None and any(m.key.kind == "grid" for m in maps)  # by itself, in front
    count = len(panels) + shown
    width, height = (max(sizes) for sizes in zip(*(_inches(m, found) for m, _, _ in panels), strict=True))
    each = {m.weights.shape[0] for m in maps}
    if head == "all" and len(each) == 1 and not shown:
        columns = each.pop()  # a layer a row
    else:
        columns = count if count <= 4 else math.ceil(math.sqrt(count * 1.4))
    columns = max(1, min(columns, int(_MOST_INCHES // width)))
    rows = math.ceil(count / columns)
    # A Figure of its own, not pyplot: no display is looked for and no global state is left.
    figure = matplotlib.figure.Figure(figsize=(width * columns + 0.3, height * rows + 0.6), layout="constrained")
    figure.suptitle(plot_text(found.title))
    grid = figure.add_gridspec(rows, columns)
    if shown:
        _picture(figure.add_subplot(grid[0, 0]), found)
    for place, (m, number, which) in enumerate(panels, start=int(shown)):
        twins = [other for other in maps if other.module == m.module]
        name = f"{m.graph + ' ' if len(twins) > 1 else ''}{m.module or m.output}, {which}"
        _panel(figure, grid[place // columns, place % columns], m, m.weights[number], name, found, query)
    return figure


def _picture(axes: Any, found: AttentionMaps) -> None:
    axes.imshow(found.picture, interpolation="nearest", extent=_pixels(found.picture))
    axes.set_title("the picture", fontsize=9)
    axes.set_xlabel("column, pixels", fontsize=8)
    axes.set_ylabel("row, pixels", fontsize=8)
    axes.tick_params(labelsize=7)


def _pixels(picture: Any) -> tuple[float, float, float, float]:
    """Left, right, bottom and top: row 0 is at the top, and a pixel is as wide as from its number to the next."""
    return (0.0, float(picture.shape[1]), float(picture.shape[0]), 0.0)


def _panel(
    figure: Any,
    place: Any,
    m: AttentionMap,
    weights: Any,
    name: str,
    found: AttentionMaps,
    query: tuple[int, int] | None,
) -> None:
    """Draw one map [queries, keys] into a place of the figure's grid."""
    if m.key.kind == "grid":
        axes = figure.add_subplot(place)
        row, who = _of_one_query(m.query, weights, query)
        _over_picture(figure, axes, row, m.key, found.picture)
        axes.set_title(f"{plot_text(name)}\nquery: {plot_text(who)}", fontsize=9)
        if query is not None and m.query.kind == "grid":
            _outline(axes, query, m.query, found.picture)
        return
    heat, beside = None, []
    if m.key.kind == "frames" and found.samples is not None and found.rate:
        parts = place.subgridspec(2, 1, height_ratios=(1, 3 if len(weights) > 4 else 1), hspace=0.05)
        wave = figure.add_subplot(parts[0])
        heat = figure.add_subplot(parts[1], sharex=wave)
        seconds = np.arange(len(found.samples)) / found.rate
        wave.plot(seconds, found.samples, linewidth=0.5, color="0.3")
        wave.set_ylabel("wave", fontsize=8)
        wave.tick_params(labelbottom=False, labelsize=7)
        wave.set_title(plot_text(name), fontsize=9)
        beside = [wave]
    else:
        heat = figure.add_subplot(place)
        heat.set_title(plot_text(name), fontsize=9)
    left, right = _span(m.key, weights.shape[1])
    top, bottom = _span(m.query, weights.shape[0])
    drawn = heat.imshow(
        weights, extent=(left, right, bottom, top), aspect="auto", interpolation="nearest", cmap=_COLOURS, vmin=0
    )
    _ticks(heat.xaxis, m.key, weights.shape[1])
    _ticks(heat.yaxis, m.query, weights.shape[0])
    heat.set_xlabel(f"key: {plot_text(m.key.what)}", fontsize=8)
    heat.set_ylabel(f"query: {plot_text(m.query.what)}", fontsize=8)
    _bar(figure, drawn, [heat, *beside])


def _of_one_query(axis: Axis, weights: NDArray[Any], query: tuple[int, int] | None) -> tuple[NDArray[Any], str]:
    """The weights of the query that is asked for, [keys], and what it is called."""
    if query is not None and axis.kind == "grid":
        return weights[axis.cell(*query)], f"cell in row {query[0]}, column {query[1]}"
    if axis.kind == "grid" and axis.skip:
        return weights[0], "class token"
    return weights.mean(0), "mean of all" if len(weights) > 1 else "the only one"


def _over_picture(figure: Any, axes: Any, row: NDArray[Any], key: Axis, picture: NDArray[np.uint8] | None) -> None:
    """Lay the weights of one query over the picture: the more weight, the less is seen through."""
    cells = row[key.skip :].reshape(key.rows, key.columns)
    extent = _pixels(cells if picture is None else picture)
    most = float(cells.max()) or 1.0
    drawn = axes.imshow(cells, extent=extent, cmap="inferno", vmin=0, vmax=most, interpolation="nearest")
    _bar(figure, drawn, [axes])
    if picture is not None:
        # After the bar, which has the colours as they are. The picture below is dim and grey, the weights are not.
        drawn.set(alpha=0.15 + 0.7 * cells / most, zorder=2)
        grey = picture.astype(np.float32).mean(-1) / 255
        axes.imshow(0.6 * grey, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="nearest", zorder=1)
    unit = "pixels" if picture is not None else "cells"
    axes.set_xlabel(f"key: column, {plot_text(unit)}", fontsize=8)
    axes.set_ylabel(f"key: row, {plot_text(unit)}", fontsize=8)
    axes.tick_params(labelsize=7)


def _outline(axes: Any, query: tuple[int, int], grid: Axis, picture: NDArray[np.uint8] | None) -> None:
    """A frame around the cell that looks."""
    from matplotlib.patches import Rectangle

    height, width = picture.shape[:2] if picture is not None else (grid.rows, grid.columns)
    tall, wide = height / grid.rows, width / grid.columns
    corner = (query[1] * wide, query[0] * tall)
    axes.add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor="cyan", linewidth=1.5))


def _bar(figure: Any, drawn: Any, axes: list[Any]) -> None:
    bar = figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("weight", fontsize=8)


def _span(axis: Axis, size: int) -> tuple[float, float]:
    """Where the first entry begins and the last one ends."""
    return (0.0, size * axis.seconds) if axis.kind == "frames" else (-0.5, size - 0.5)


def _ticks(on: Any, axis: Axis, size: int) -> None:
    on.axes.tick_params(axis=on.axis_name, labelsize=7)
    if axis.kind == "words":
        every = max(1, math.ceil(size / 60))
        labels = [plot_text(word) for word in axis.labels[::every]]
        on.set_ticks(range(0, size, every), labels)
        if on.axis_name == "x":
            for label in on.get_ticklabels():
                label.set(rotation=60, ha="right", va="top", rotation_mode="anchor")
    elif axis.kind != "frames":
        on.set_ticks(range(0, size, max(1, math.ceil(size / 12))))


def _inches(m: AttentionMap, found: AttentionMaps) -> tuple[float, float]:
    """Width and height of a panel that can be read."""
    queries, keys = m.weights.shape[1:]
    if m.key.kind == "grid":
        height, width = found.picture.shape[:2] if found.picture is not None else (m.key.rows, m.key.columns)
        return 3.4, min(max(2.5 * height / width, 1.6), 6.0) + 0.8
    if m.key.kind == "frames":
        return 4.2, 4.2 if queries > 4 else 2.8
    letters = [max((len(word) for word in a.labels), default=3) * 0.065 for a in (m.query, m.key)]
    step = [0.24 if a.kind == "words" else 0.04 for a in (m.key, m.query)]
    return (
        min(max(1.6 + letters[0] + step[0] * keys, 3.2), 15.0),
        min(max(1.2 + letters[1] * 0.87 + step[1] * 0.85 * queries, 2.6), 13.0),
    )
