"""Integer functions as lines: equal everywhere, few, and refused where they are none."""

from __future__ import annotations

import math
import random

import pytest
from attn_export.capture.operators.building_blocks.sizes import MOST_PIECES, CanNotWrite, joined, pieces

FUNCTIONS = {
    "half": (lambda n: n // 2, 1),
    "0.7": (lambda n: int(n * 0.7), 6),
    "1.3": (lambda n: int(n * 1.3), 1),
    "third": (lambda n: int(n * (1 / 3)), 1),
    "pi": (lambda n: int(n * math.pi), 1),
    "up": (lambda n: math.ceil(n / 3), 1),
    "constant": (lambda n: 5, 1),
    "down": (lambda n: 3000 - n // 4, 1),
    "bend": (lambda n: n if n < 50 else 50 + (n - 50) // 7, 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_line_is_found_and_is_right_at_every_size(name: str) -> None:
    function, most = FUNCTIONS[name]
    lines = pieces([function(n) for n in range(3, 2001)], 3)
    assert len(lines) <= most
    assert [joined(lines, n) for n in range(3, 2001)] == [function(n) for n in range(3, 2001)]


def test_one_size_is_a_line() -> None:
    assert joined(pieces([7], 4), 4) == 7


def test_what_is_no_line_is_refused() -> None:
    coin = random.Random(0)
    with pytest.raises(CanNotWrite, match=f"at most {MOST_PIECES} straight lines"):
        pieces([n + coin.randrange(2) for n in range(400)], 0)
    with pytest.raises(CanNotWrite, match="negative"):
        pieces([-1, 0, 1], 0)
