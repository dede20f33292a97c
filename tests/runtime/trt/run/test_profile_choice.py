"""Which profile a call runs with, and what is told when none covers it."""

from __future__ import annotations

import pytest
from attn_runtime.errors import InputError
from attn_runtime.trt.run.profile_choice import choose_profile

ONE = {"x": ((1, 8), (1, 8), (1, 8))}
SMALL = {"x": ((1, 8), (2, 8), (4, 8))}
WIDE = {"x": ((1, 8), (8, 8), (32, 8))}
LARGE = {"x": ((16, 8), (32, 8), (64, 8))}


def choose(profiles: list, *shapes: tuple[int, ...]) -> int:
    names = "xyz"[: len(shapes)]
    return choose_profile(profiles, dict(zip(names, shapes, strict=True)), "bundle m.attn", "attn-run compile m.attn")


@pytest.mark.parametrize(
    ("batch", "expected"),
    [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (8, 2), (15, 2), (16, 2), (31, 3), (33, 3), (64, 3)],
)
def test_the_nearest_that_covers_is_taken(batch: int, expected: int) -> None:
    assert choose([ONE, SMALL, WIDE, LARGE], (batch, 8)) == expected


def test_the_order_of_profiles_does_not_matter() -> None:
    profiles = [LARGE, WIDE, SMALL, ONE]
    for batch in range(1, 65):
        assert profiles[choose(profiles, (batch, 8))] is [ONE, SMALL, WIDE, LARGE][choose(profiles[::-1], (batch, 8))]


def test_of_equally_near_ones_the_tightest() -> None:
    loose = {"x": ((1, 8), (2, 8), (999, 8))}
    assert choose([loose, SMALL], (2, 8)) == 1
    assert choose([SMALL, loose], (2, 8)) == 0
    assert choose([SMALL, SMALL], (2, 8)) == 0


def test_one_profile_that_does_not_cover() -> None:
    with pytest.raises(InputError) as caught:
        choose([WIDE], (33, 8))
    assert str(caught.value) == (
        'input "x": got [33, 8]; axis 0 is 33, the engine was built for 1..32 (bundle m.attn). Build it for more: '
        "attn-run compile m.attn --minShapes x:1x8 --optShapes x:8x8 --maxShapes x:33x8"
    )


def test_a_gap_between_profiles() -> None:
    with pytest.raises(
        InputError, match=r"axis 0 is 10, the engine was built for 1\.\.4, 16\.\.64 \(in several profiles\)"
    ):
        choose([SMALL, LARGE], (10, 8))


def test_the_input_and_axis_that_do_not_fit_are_named() -> None:
    profile = {"x": ((1, 8), (2, 8), (4, 8)), "y": ((1, 1, 4), (1, 16, 4), (1, 32, 4)), "z": ((2,), (2,), (2,))}
    with pytest.raises(
        InputError, match=r'input "y": got \[1, 33, 4\]; axis 1 is 33, the engine was built for 1\.\.32 '
    ) as e:
        choose([profile], (2, 8), (1, 33, 4), (2,))
    assert "--maxShapes x:4x8,y:1x33x4" in str(e.value) and "z:" not in str(e.value)  # z is fixed
    with pytest.raises(InputError, match=r'input "x".*--minShapes x:0x8,y:1x1x4'):
        choose([profile], (0, 8), (1, 3, 4), (2,))


def test_a_fixed_size() -> None:
    with pytest.raises(InputError, match=r"axis 0 is 2, the engine was built for 1 \("):
        choose([ONE], (2, 8))


def test_scalars_fit_everywhere() -> None:
    assert choose([{"x": ((), (), ())}], ()) == 0
