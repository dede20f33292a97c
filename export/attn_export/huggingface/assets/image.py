"""How a picture becomes the model's input: assets/image.json, made of the settings of a folder's image processor.

The settings suggest recipes; the processor itself, on pictures of ours, says which of them is right. So that a recipe is
written is a measurement, and the largest difference stands in it. What no recipe gives is named, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from attn_runtime.spec import TensorSpec
from numpy.typing import NDArray

from .image_processor import Colours, Processor, colours_of, difference, drawn_pictures, processors_of

if TYPE_CHECKING:
    from .. import SavedModel

#: In steps of a picture's 0..255. Pillow's own backend is imitated but for float32's rounding.
LIMIT_PIL = 0.02
#: torchvision 0.28 rounds as Pillow did before 13, which makes tall pictures lower before it makes them narrower: up to 16 where
#: a bicubic overshoots on noise, 1 or 2 elsewhere. Another place or another filter is off by more than 50 there.
LIMIT_TORCHVISION = 20.0
#: Larger than any side of a picture that a model takes whole. Some processors give numbers of pixels by the names of sides.
MOST_SIDE = 3000

#: Pillow's numbers.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}

Recipe = dict[str, Any]


@dataclass(frozen=True)
class _Way:
    """How the processor is called, so that its tensor is of the graph's size, and what a user must know of that."""

    settings: Mapping[str, Any]
    note: str = ""


class _Made:
    """What the processor makes of the drawn pictures, each made once, when it is asked for."""

    def __init__(self, judge: Processor, settings: Mapping[str, Any], channels: int) -> None:
        self.pictures = drawn_pictures(channels)
        self._judge, self._settings = judge, settings
        self._known: dict[int, NDArray[np.float32] | None] = {}

    def of(self, number: int) -> NDArray[np.float32] | None:
        if number not in self._known:
            self._known[number] = self._judge.make(self.pictures[number], **self._settings)
        return self._known[number]

    def shape_of(self, number: int) -> tuple[int, ...]:
        made = self.of(number)
        return () if made is None else made.shape

    def worst(self, number: int, recipe: Recipe) -> float:
        """The largest difference from what `recipe` makes of that picture; 0 of one that the processor itself can't make."""
        made = self.of(number)
        return 0.0 if made is None else difference(made, self.pictures[number], recipe)

    @property
    def count(self) -> int:
        """Of the pictures that were made."""
        return sum(self.of(number) is not None for number in range(len(self.pictures)))


def image_size(saved: SavedModel) -> tuple[int, int] | None:
    """(height, width) of the pictures that the folder's processor makes, else of its config; None where neither tells.

    Of a processor whose pictures keep their shape, the size that holds them: what does not fill it is padded.
    """
    for processor in processors_of(saved):
        for name, on in (("pad_size", "do_pad"), ("crop_size", "do_center_crop"), ("size", "do_resize")):
            size = processor.size(name) if processor.setting(on) else {}
            edge = size.get("shortest_edge", size.get("longest_edge", 0))
            height = size.get("height", size.get("max_height", edge))
            width = size.get("width", size.get("max_width", edge))
            if 0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE:
                return height, width
    config = saved.config
    for holder in (config, getattr(config, "vision_config", None), getattr(config, "backbone_config", None)):
        told = holder.get("image_size") if isinstance(holder, dict) else getattr(holder, "image_size", None)
        if isinstance(told, int):
            return told, told
        if isinstance(told, list | tuple) and len(told) == 2:
            return int(told[0]), int(told[1])
    return None


def image_assets(saved: SavedModel, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """{"image.json": the recipe for the graph's picture}; {} where the graph takes none or the folder has no image processor.

    Where no recipe gives what the processor gives it is {} as well, and a note says which settings were in the way. A
    recipe's `held_to` has, by each backend that is installed, the largest difference of a value of the tensor.
    """
    pictures = [spec for spec in inputs if len(spec.dims) == 4 and spec.dtype == "float32"]
    if len(pictures) != 1 or any(dim.dynamic for dim in pictures[0].dims[1:]):
        return {}
    (spec,) = pictures
    channels, height, width = (dim.opt for dim in spec.dims[1:])
    processors = processors_of(saved)
    if not processors or channels not in (1, 3, 4):
        return {}
    judge = processors[0]
    limit = LIMIT_PIL if judge.backend == "pil" else LIMIT_TORCHVISION
    for way in _ways(judge, height, width):
        made = _Made(judge, way.settings, channels)
        # Of two shapes of a picture; the others are asked for when a recipe passed these.
        if any(made.of(n) is None or made.shape_of(n) != (1, channels, height, width) for n in (0, 1)):
            continue
        colours = colours_of(judge, channels, height, width, way.settings)
        if colours is None or (recipe := _right_one(judge, spec, way, colours, made, limit)) is None:
            continue
        recipe["held_to"] = [_held(processor, recipe, way) for processor in processors]
        if way.note:
            saved.notes.append(way.note)
        _note_distance(saved, recipe, colours)
        return {"image.json": recipe}
    saved.notes.append(_refusal(judge, height, width))
    return {}


def _refusal(judge: Processor, height: int, width: int) -> str:
    own = judge.own_settings()
    blamed = ", ".join(own) if own else f"size={judge.size('size') or None}"
    return (
        f"no image.json: none that can be written makes the {height} x {width} input that {judge.name} makes of a picture "
        f"({blamed}); give arrays, or --assets FOLDER with an image.json of your own"
    )


# --- what is asked of the processor --------------------------------------------------------------------------------


def _ways(judge: Processor, height: int, width: int) -> Iterator[_Way]:
    yield _Way({})
    size, whole = judge.size("size"), {"height": height, "width": width}
    longest = size.get("longest_edge")
    if longest and judge.setting("do_resize") is not False:
        most = min(longest, height, width)
        within: dict[str, Any] = {"size": size | {"longest_edge": most}, "pad_size": whole, "do_pad": True}
        if shortest := size.get("shortest_edge"):
            within["size"]["shortest_edge"] = min(shortest, most)
        yield _Way(
            within,
            f"pictures are made to fit into {most} x {most} and padded to {height} x {width}, without a mask: the graph takes "
            f"one size, {judge.name} makes a longer side of up to {longest}"
            + ("" if most == longest else "; another --dim or --input changes it"),
        )
    stretched: dict[str, Any] = {"size": whole, "do_center_crop": False, "do_pad": False}
    if judge.setting("keep_aspect_ratio"):
        stretched["keep_aspect_ratio"] = False
    yield _Way(
        stretched,
        f"pictures are stretched to {height} x {width}, the one size of the graph; {judge.name} keeps their shape",
    )


# --- recipes -------------------------------------------------------------------------------------------------------


def _right_one(
    judge: Processor, spec: TensorSpec, way: _Way, colours: Colours, made: _Made, limit: float
) -> Recipe | None:
    """The first recipe that makes of the drawn pictures what the processor makes, to `limit` steps of 0..255."""
    plain = _plain(judge, spec, colours)
    if plain is None:
        return None
    most = limit * min(colours.factors)
    for recipe in _placed(plain, judge, way):
        if all(made.worst(number, recipe) <= most for number in range(len(made.pictures))):
            return recipe
    return None


def _plain(judge: Processor, spec: TensorSpec, colours: Colours) -> Recipe | None:
    """A recipe with all but the place of the picture."""
    channels, height, width = (dim.opt for dim in spec.dims[1:])
    resample = judge.setting("resample")
    number = getattr(resample, "value", resample)
    name = "bilinear" if number is None else _FILTERS.get(number, number)
    if name not in _FILTERS.values():
        return None
    straight = tuple(range(channels))
    turned = (2, 1, 0, *straight[3:])
    if colours.order not in (straight, turned[:channels]):
        return None
    recipe: Recipe = {"input": spec.name, "height": height, "width": width, "channels": channels, "resize": name}
    scale, mean, std = _as_set(judge, channels)
    factors, offsets = np.asarray(colours.factors), np.asarray(colours.offsets)
    if not (np.allclose(scale / std, factors, rtol=1e-4) and np.allclose(-mean / std, offsets, rtol=1e-4, atol=1e-4)):
        # What else it does to the values (an offset, a second division) is in what it made of plain colours.
        scale, mean, std = 1.0, -offsets / factors, 1 / factors
    recipe |= {"scale": scale, "mean": mean.tolist(), "std": std.tolist()}
    if colours.order != straight:
        recipe["channel_order"] = "bgr"
    return recipe


def _as_set(judge: Processor, channels: int) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    scale = float(judge.setting("rescale_factor") or 1.0) if judge.setting("do_rescale") else 1.0
    mean, std = np.zeros(channels), np.ones(channels)
    if judge.setting("do_normalize"):
        try:
            mean = np.broadcast_to(np.asarray(judge.setting("image_mean"), float), channels).copy()
            std = np.broadcast_to(np.asarray(judge.setting("image_std"), float), channels).copy()
        except (TypeError, ValueError):  # of another number of channels; then the colours tell
            pass
    return scale, mean, std


def _placed(plain: Recipe, judge: Processor, way: _Way) -> Iterator[Recipe]:
    """`plain` with each way to fit that the settings suggest, the likeliest first."""
    padded = {"place": "top_left", "fill": _nothing(plain)}
    for fit in _fits(plain, judge, way):
        yield plain | fit
        yield plain | fit | {"place": "center_rounded"}
        yield plain | fit | {"place": "top_left"}
        yield plain | fit | padded
        if (
            fit.get("fit") == "edges"
        ):  # detectors take whole patches: of which size is a setting, or stands in their code
            for multiple in dict.fromkeys((judge.setting("size_divisor") or 32, 16, 32)):
                for rounding in ("down", "up"):
                    yield plain | fit | padded | {"multiple": multiple, "multiple_rounding": rounding}


def _nothing(plain: Recipe) -> list[float]:
    """The colour that becomes 0 in the tensor."""
    colour: list[float] = [mean / plain["scale"] for mean in plain["mean"]]
    return colour[::-1] if plain.get("channel_order") == "bgr" else colour


def _fits(plain: Recipe, judge: Processor, way: _Way) -> Iterator[Recipe]:
    size = way.settings.get("size", judge.size("size"))
    if judge.setting("do_resize") is False:
        yield {"fit": "none"}
        return
    shortest, longest = size.get("shortest_edge"), size.get("longest_edge")
    if "height" in size and "width" in size:
        to = (
            {}
            if (size["height"], size["width"]) == (plain["height"], plain["width"])
            else _sides(size["height"], size["width"])
        )
        yield to
        yield {"fit": "inside", **to}
        yield {"fit": "inside", "rounding": "nearest", **to}
    elif shortest and longest:
        yield {"fit": "edges", "shortest_edge": shortest, "longest_edge": longest}
    elif shortest:
        yield {"fit": "shortest_edge", "shortest_edge": shortest}
        share = judge.setting("crop_pct")
        if isinstance(share, float) and 0 < share <= 1:
            yield {"fit": "shortest_edge", "shortest_edge": int(shortest / share)}
        yield {} if shortest == plain["height"] == plain["width"] else _sides(shortest, shortest)
    elif longest:
        yield {"fit": "inside", "rounding": "nearest", **_sides(longest, longest)}
        yield {"fit": "inside", **_sides(longest, longest)}
    elif "max_height" in size and "max_width" in size:
        yield {"fit": "inside", **_sides(size["max_height"], size["max_width"])}


def _sides(height: int, width: int) -> Recipe:
    return {"fit_height": height, "fit_width": width}


# --- what was measured ---------------------------------------------------------------------------------------------


def _held(processor: Processor, recipe: Recipe, way: _Way) -> dict[str, Any]:
    made = _Made(processor, way.settings, recipe["channels"])
    worst = max(made.worst(number, recipe) for number in range(len(made.pictures))) if made.count else float("inf")
    told = worst if np.isfinite(worst) else None
    return {"processor": processor.name, "backend": processor.backend, "worst": told, "pictures": max(made.count, 1)}


def _note_distance(saved: SavedModel, recipe: Recipe, colours: Colours) -> None:
    for held in recipe["held_to"]:
        steps = None if held["worst"] is None else held["worst"] / min(colours.factors)
        limit = LIMIT_PIL if held["backend"] == "pil" else LIMIT_TORCHVISION
        if steps is None or steps > limit:
            far = "makes no input of that size" if steps is None else f"differs by up to {steps:.1f} of 255"
            saved.notes.append(
                f"image.json: {held['processor']} by {held['backend']} {far}; image.json is as Pillow resizes"
            )
