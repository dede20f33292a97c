"""trtexec's grammar, and what it is held against: the graph's inputs and the golden cases."""

from __future__ import annotations

import pytest
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from attn_runtime.trt.profiles import (  # fmt: skip
    GraphInput,
    check_coverage,
    given_profiles,
    input_of,
    input_of_file,
    make_profiles,
    parse_shapes,
    profile_text,
)

BATCH, T = Dim("batch", 1, 8, 32), Dim("T", 1, 16, 64)
SPECS = (
    TensorSpec("x", "float32", (BATCH, T, Dim.fixed(3))),
    TensorSpec("mask", "bool", (BATCH, T)),
    TensorSpec("scale", "float32", ()),
)
INPUTS = tuple(map(input_of, SPECS))


def profiles(
    low: tuple[str, ...] = (), opt: tuple[str, ...] = (), high: tuple[str, ...] = (),
    inputs: tuple[GraphInput, ...] = INPUTS,
) -> object:  # fmt: skip
    return make_profiles(low, opt, high, inputs, "bundle a.attn")


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("x:1x3x32x32,y:2x3", {"x": (1, 3, 32, 32), "y": (2, 3)}),
        ("n:", {"n": ()}),
        ("n:scalar,x:4", {"n": (), "x": (4,)}),
        ("Input:0:1x2", {"Input:0": (1, 2)}),
        ("'Input:0':1x2", {"Input:0": (1, 2)}),
        ("x:1X2", {"x": (1, 2)}),
        (" x:0x2 , y:1", {"x": (0, 2), "y": (1,)}),
    ],
)
def test_grammar(text: str, shapes: dict[str, tuple[int, ...]]) -> None:
    assert parse_shapes(text, "--minShapes") == shapes


@pytest.mark.parametrize("text", ["", "x", ":1x2", "x:1x", "x:1xa", "x:-1x2", "x:1,,y:2", "x:1.5", "x:1*2"])
def test_what_does_not_parse_is_quoted(text: str) -> None:
    with pytest.raises(UsageError, match=r"--optShapes: got .*, expected NAME:1x3x32x32"):
        parse_shapes(text, "--optShapes")


def test_a_name_twice() -> None:
    with pytest.raises(UsageError, match="a shape for x twice"):
        parse_shapes("x:1,x:2", "--optShapes")


def test_the_default_is_one_profile_over_the_bundles_ranges() -> None:
    assert profiles() == (
        {"x": ((1, 1, 3), (8, 16, 3), (32, 64, 3)), "mask": ((1, 1), (8, 16), (32, 64)), "scale": ((), (), ())},
    )


def test_opt_alone_fixes_the_shapes() -> None:
    (profile,) = profiles(opt=("x:4x5x3,mask:4x5",))  # type: ignore[misc]
    assert profile["x"] == ((4, 5, 3),) * 3


def test_what_is_left_out_follows_the_dims_that_are_given() -> None:
    (profile,) = profiles(("x:2x4x3",), ("x:2x8x3",), ("x:4x16x3",))  # type: ignore[misc]
    assert profile["mask"] == ((2, 4), (2, 8), (4, 16))


def test_repeating_the_options_makes_another_profile() -> None:
    low, opt, high = (
        (f"x:{b}x1x3" for b in (1, 2, 4)),
        (f"x:{b}x2x3" for b in (2, 3, 8)),
        ("x:4x8x3", "x:8x8x3", "x:32x9x3"),
    )
    made = profiles(tuple(low), tuple(opt), high)
    assert [p["x"][2] for p in made] == [(4, 8, 3), (8, 8, 3), (32, 9, 3)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("low", "opt", "high"),
    [(("x:1x1x3",), (), ()), (("x:1x1x3",), ("x:1x1x3",), ()), (("x:1x1x3",) * 2, ("x:1x1x3",), ("x:1x1x3",) * 2)],
)
def test_half_a_profile(low: tuple[str, ...], opt: tuple[str, ...], high: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="give --optShapes alone, or"):
        profiles(low, opt, high)


@pytest.mark.parametrize(
    ("low", "opt", "high", "says"),
    [
        ("X:1x1x3", "X:1x1x3", "X:1x1x3", r'unknown input "X"; .*available: x, mask, scale'),
        ("x:1x3", "x:1x3", "x:1x3", r"expected rank 3: x: float32\[batch=1..32, T=1..64, 3\]"),
        ("x:1x3", "x:1x1x3", "x:1x1x3", "expected three shapes of one rank"),
        ("x:4x1x3", "x:2x1x3", "x:8x1x3", "axis 0 needs min <= opt <= max"),
        ("x:1x9x3", "x:1x9x3", "x:1x8x3", "axis 1 needs min <= opt <= max"),
        ("x:1x1x4", "x:1x1x4", "x:1x1x4", "axis 2 is fixed at 3"),
        ("x:1x1x3", "x:8x1x3", "x:64x1x3", r"dim batch was checked for 1\.\.32\. Export again with --dim batch=1:8:64"),
        ("x:1x1x3,mask:1x1", "x:2x1x3,mask:2x1", "x:4x1x3,mask:8x1", r"dim batch is 1:2:8 here and 1:2:4 in input \"x\""),
        ("x:1x1x3", "x:1x1x3,mask:1x1", "x:1x1x3", "--minShapes x:1x1x3: no shape for mask"),
    ],
)  # fmt: skip
def test_what_the_graph_does_not_take(low: str, opt: str, high: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        profiles((low,), (opt,), (high,))
    assert "\n" not in str(caught.value)


def test_a_dynamic_input_of_a_plain_file_has_to_be_given_its_shapes() -> None:
    plain = (input_of_file("x", "float32", ("N", 3, None)), input_of_file("y", "float32", (4,)))
    with pytest.raises(UsageError, match=r'input "x" is dynamic.*float32\[N, 3, \?\].*--minShapes x:1x3x1 '):
        profiles(inputs=plain)
    (profile,) = profiles(("x:1x3x2",), ("x:2x3x2",), ("x:4x3x9",), plain)  # type: ignore[misc]
    assert profile == {"x": ((1, 3, 2), (2, 3, 2), (4, 3, 9)), "y": ((4,), (4,), (4,))}


def test_an_input_without_a_shape_has_to_be_given_one() -> None:
    plain = (input_of_file("x", "float32", None),)
    with pytest.raises(UsageError, match='input "x" is dynamic'):
        profiles(inputs=plain)
    assert profiles(opt=("x:2x3",), inputs=plain) == ({"x": ((2, 3),) * 3},)


def test_values_are_left_to_the_build_to_tell_from_shapes() -> None:
    plain = (input_of_file("n", "int64", ()), input_of_file("s", "int64", (2,)))
    assert profiles(inputs=plain) == ({},)
    made = profiles(("n:1,s:1x1",), ("n:4,s:2x8",), ("n:9,s:4x64",), plain)
    assert made == ({"n": ((1,), (4,), (9,)), "s": ((1, 1), (2, 8), (4, 64))},)
    with pytest.raises(UsageError, match="axis 1 needs min <= opt <= max"):
        profiles(("s:1x9",), ("s:2x8",), ("s:4x64",), plain)


def test_profiles_of_a_program_are_checked_alike() -> None:
    assert given_profiles([{"x": ((1, 1, 3), (2, 2, 3), (4, 4, 3))}], INPUTS, "a")[0]["mask"] == (
        (1, 1),
        (2, 2),
        (4, 4),
    )
    with pytest.raises(UsageError, match="axis 2 is fixed"):
        given_profiles([{"x": ((1, 1, 5), (2, 2, 5), (4, 4, 5))}], INPUTS, "a")
    with pytest.raises(UsageError, match="got no profile"):
        given_profiles([], INPUTS, "a")


def test_a_golden_case_outside_is_named() -> None:
    cases = [("min", {"batch": 1, "T": 1}), ("max", {"batch": 32, "T": 64})]
    check_coverage(given_profiles([{}], INPUTS, "a"), SPECS, cases, "bundle a.attn")
    narrow = given_profiles([{"x": ((1, 1, 3), (2, 2, 3), (4, 64, 3))}], INPUTS, "a")
    with pytest.raises(UsageError, match=r'the profile does not cover golden case "max" \(x \[32, 64, 3\]'):
        check_coverage(narrow, SPECS, cases, "bundle a.attn")
    second = given_profiles([{"x": ((32, 64, 3),) * 3}], INPUTS, "a")
    check_coverage([*narrow, *second], SPECS, cases, "bundle a.attn")
    with pytest.raises(UsageError, match="no profile covers"):
        check_coverage([*narrow, *narrow], SPECS, cases, "bundle a.attn")


def test_text() -> None:
    assert profile_text({"x": ((1, 3), (2, 3), (4, 3)), "n": ((), (), ())}) == "x [1, 3]..[4, 3], n []"


def test_a_mistake_is_told_of_the_option_that_was_given() -> None:
    with pytest.raises(UsageError, match="^--optShapes: got"):
        make_profiles((), ("x:8xx32",), (), [], "here")
