"""The image processor of a folder, as transformers makes it: its settings, and what it makes of pictures of ours.

Nothing is looked up by a processor's name. How a colour becomes a number is probed with plain pictures, and how a picture comes
into the tensor is told by what it makes of drawn ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from attn_runtime.escape import printable
from attn_runtime.preprocess import prepare
from numpy.typing import NDArray

from ...quiet import captured_output
from ...torchvision_import import ready_torchvision

if TYPE_CHECKING:
    from PIL.Image import Image

    from .. import SavedModel

#: transformers' two implementations of most processors. Pillow's is the one that is imitated, and so the one to be held to.
BACKENDS = ("pil", "torchvision")


@dataclass(frozen=True)
class Processor:
    """An image processor of transformers, by one of its backends."""

    library: Any
    backend: str

    @property
    def name(self) -> str:
        """As in preprocessor_config.json: without the backend."""
        return printable(type(self.library).__name__.removesuffix("Pil").removesuffix("Fast"))

    def setting(self, name: str) -> Any:
        return getattr(self.library, name, None)

    def size(self, name: str) -> dict[str, int]:
        """`size`, `crop_size` or `pad_size`: {"height": ..., "width": ...}, {"shortest_edge": ...} and so on; {} without one."""
        value = self.setting(name)
        if value is None:
            return {}
        if isinstance(value, int):
            return {"height": value, "width": value}
        return {key: int(side) for key, side in dict(value).items() if isinstance(side, int | float)}

    def own_settings(self) -> list[str]:
        """Those beyond what every processor has, which do something: "do_thumbnail=True"."""
        from transformers.processing_utils import ImagesKwargs

        own = getattr(getattr(self.library, "valid_kwargs", None), "__annotations__", {})
        return [
            f"{name}={printable(str(self.setting(name)), 40)}"
            for name in own
            if name not in ImagesKwargs.__annotations__ and self.setting(name)
        ]

    def make(self, picture: Image, **settings: Any) -> NDArray[np.float32] | None:
        """`picture` as the model's input, float32 [1, channels, height, width]; None for what has another form, or fails."""
        value = self._made(picture, settings)
        if value is None and "pad_size" in settings:
            # transformers 5.23: Mask2Former's takes no dict here, DETR's nothing else.
            from transformers.image_utils import SizeDict

            value = self._made(picture, settings | {"pad_size": SizeDict(**settings["pad_size"])})
        return value

    def _made(self, picture: Image, settings: Mapping[str, Any]) -> NDArray[np.float32] | None:
        try:
            with captured_output():
                made = self.library(images=[picture], return_tensors="pt", **settings)["pixel_values"]
                value = np.asarray(made, np.float32)
        except Exception:  # a setting that it does not take, or a picture that it can't make anything of
            return None
        return value if value.ndim == 4 and len(value) == 1 else None


def processors_of(saved: SavedModel) -> list[Processor]:
    """By each backend that can be imported here; none where the folder has no image processor."""
    described = saved.read_json("preprocessor_config.json") or saved.read_json("processor_config.json").get(
        "image_processor"
    )
    if not described:
        return []
    ready_torchvision()
    import transformers

    found: dict[type, Processor] = {}
    for backend in BACKENDS:
        try:
            with captured_output():
                library = transformers.AutoImageProcessor.from_pretrained(
                    saved.folder, backend=backend, config=saved.config, local_files_only=True, trust_remote_code=False
                )
        except Exception:  # another backend's class, a processor of sound, or one that this transformers does not know
            continue
        told = getattr(library, "backend", None)
        found[type(library)] = Processor(library, told if isinstance(told, str) else backend)
    return list(found.values())


# --- colours -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Colours:
    """Channel c of the tensor is factors[c] * value + offsets[c] of the picture's channel order[c], value 0..255."""

    factors: tuple[float, ...]
    offsets: tuple[float, ...]
    order: tuple[int, ...]


def colours_of(
    processor: Processor, channels: int, height: int, width: int, settings: Mapping[str, Any]
) -> Colours | None:
    """What the processor makes of plain colours; None where that is no factor and offset per channel."""
    plain = [[0] * channels, [100] * channels, *([255 * (k == c) for k in range(channels)] for c in range(channels))]
    made = [
        processor.make(picture_of(np.full((height, width, channels), colour, np.uint8)), **settings) for colour in plain
    ]
    seen = [value[0].astype(np.float64) for value in made if value is not None and value.shape[1] == channels]
    if len(seen) < len(plain):
        return None
    # In the middle, or in the corner where what is behind it is padding.
    places = ((seen[0].shape[1] // 2, seen[0].shape[2] // 2), (0, 0))
    return next((found for y, x in places if (found := _affine([value[:, y, x] for value in seen])) is not None), None)


def _affine(seen: Sequence[NDArray[np.float64]]) -> Colours | None:
    """Of what became of black, of a grey of 100, and of each channel at 255 alone."""
    black, grey, *single = seen
    slopes = np.stack([one - black for one in single], axis=1) / 255  # [of the tensor, of the picture]
    order = np.abs(slopes).argmax(axis=1)
    factors = slopes[np.arange(len(black)), order]
    if (factors <= 0).any() or not np.allclose(slopes.sum(axis=1), factors, rtol=1e-4, atol=0):
        return None
    if not np.allclose(grey, factors * 100 + black, rtol=1e-4, atol=1e-4):
        return None
    return Colours(tuple(factors.tolist()), tuple(black.tolist()), tuple(order.tolist()))


def difference(made: NDArray[np.float32], picture: Image, recipe: Mapping[str, Any]) -> float:
    """The largest of a value between a tensor that a library made of `picture` and what `recipe` makes of it."""
    ours = prepare(picture, recipe)
    return float("inf") if made.shape != ours.shape else float(np.abs(made - ours).max())


# --- pictures ------------------------------------------------------------------------------------------------------


def picture_of(pixels: NDArray[np.uint8]) -> Image:
    """Of uint8 [height, width, 1, 3 or 4]."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


#: height, width: small and large, of both directions, odd differences to even sizes, one pixel wide and high.
SHAPES = ((97, 131), (340, 223), (64, 64), (41, 1), (1, 38), (451, 640))


@lru_cache(maxsize=4)
def drawn_pictures(channels: int) -> tuple[Image, ...]:
    """Of each of SHAPES, uint8: slow waves as in a photograph, edges as in a text, and a patch of noise."""
    return tuple(picture_of(pixels) for pixels in _drawn(channels))


def _drawn(channels: int) -> Iterator[NDArray[np.uint8]]:
    for number, (height, width) in enumerate(SHAPES):
        rng = np.random.default_rng(number)
        y, x = np.mgrid[:height, :width]
        waves = [127 + 70 * np.sin(x / 29 + c + number) + 55 * np.cos(y / 17 - 2 * c) for c in range(channels)]
        pixels = np.clip(np.stack(waves, -1), 0, 255).astype(np.uint8)
        letters = ((x // 3 % 5 < 2) & (y // 7 % 2 == 0)) & (x > width // 3) & (y > height // 2)
        pixels[letters] = (0 if number % 2 else 255,) * channels
        noise = rng.integers(0, 256, (height // 4, width // 4, channels), dtype=np.uint8)
        pixels[: noise.shape[0], : noise.shape[1]] = noise
        yield pixels
