"""How a model is run with a cache: what the probe found out, as the views need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .encoder_inputs import EncoderInputs

#: What a cache may call its length in a step, in the order in which it is tried:
#:   row   the position of every row, a Place of int64 [B, 1]
#:   same  the position of all rows, a Place of no dims: models that compute one place for a batch
#:   size  the number of places before the last, an int
#:   left  the same, of a cache that is moved so that the new entry is the last one, as transformers pads
LENGTHS = ("row", "same", "size", "left")


class Convention(NamedTuple):
    """What a model wants to be told.

    length     one of LENGTHS
    positions  position_ids are passed; models that number from elsewhere than 0 compute their own
    mask       a prompt needs a mask, though all its tokens count
    """

    length: str = "row"
    positions: bool = False
    mask: bool = False


@dataclass(frozen=True)
class Plan:
    """takes         names of the arguments of the model's forward
    convention    what it is told
    encoder       what its encoder reads; None for a decoder alone
    layers        numbers of the layers that keep keys and values, in order
    shapes        (heads, size) of each key and value of them; cross_shapes, of those of the cross attention
    memory_width  of what the encoder says
    """

    takes: frozenset[str]
    convention: Convention
    encoder: EncoderInputs | None = None
    layers: tuple[int, ...] = ()
    shapes: tuple[tuple[int, int], ...] = ()
    cross_shapes: tuple[tuple[int, int], ...] = ()
    memory_width: int = 1

    @property
    def one_place(self) -> bool:
        """Whether position is [1, 1], the same for all rows."""
        return self.convention.length == "same"
