import string

from attn_export.reference.shape_cases import corner_cases, odd_size, trace_sizes
from attn_runtime.spec import Dim, TensorSpec, named_dims
from hypothesis import given
from hypothesis import strategies as st


def spec(*dims: Dim) -> TensorSpec:
    return TensorSpec("x", "float32", dims)


def test_one_dim_gives_its_corners_and_an_odd_size() -> None:
    found = {c.name: c.sizes["batch"] for c in corner_cases([spec(Dim("batch", 1, 8, 32))])}
    assert found == {"min": 1, "opt": 8, "max": 32, "odd": 17}


def test_two_dims_give_the_mixed_corners_too() -> None:
    cases = corner_cases([spec(Dim("batch", 1, 8, 32), Dim("T", 2, 16, 64))])
    sizes = [tuple(c.sizes.values()) for c in cases]
    assert {(1, 2), (8, 16), (32, 64), (1, 64), (32, 2)} <= set(sizes)
    assert len(sizes) == len(set(sizes))


def test_three_dims_each_stand_alone_against_the_others() -> None:
    dims = [Dim(n, 1, 4, 9) for n in ("a", "b", "c")]
    found = {c.name: tuple(c.sizes.values()) for c in corner_cases([spec(*dims)])}
    assert found["b-min"] == (9, 1, 9)
    assert found["c-max"] == (1, 1, 9)
    assert {f"{n}-{end}" for n in "abc" for end in ("min", "max")} <= set(found)


def test_a_fixed_model_has_one_case() -> None:
    assert [c.name for c in corner_cases([spec(Dim.fixed(3), Dim("T", 4, 4, 4))])] == ["min"]


dims = st.builds(
    lambda a, b, c: sorted((a, b, c)),
    *(st.integers(1, 300) for _ in range(3)),
)


@given(dims)
def test_the_odd_size_is_inside_the_range_and_new(sizes: list[int]) -> None:
    dim = Dim("n", *sizes)
    odd = odd_size(dim)
    assert dim.min <= odd <= dim.max
    strictly_inside = [n for n in range(dim.min + 1, dim.max) if n != dim.opt]
    if strictly_inside:
        assert odd in strictly_inside
        if any(n % 2 for n in strictly_inside if abs(n - (dim.min + dim.max) // 2) < 60):
            assert odd % 2 == 1


@given(st.lists(dims, min_size=1, max_size=5))
def test_traced_sizes_are_in_range_and_tell_dims_apart(ranges: list[list[int]]) -> None:
    specs = [spec(*(Dim(name, *sizes) for name, sizes in zip(string.ascii_letters, ranges, strict=False)))]
    traced = trace_sizes(specs)
    for name, dim in named_dims(specs).items():
        assert dim.min <= traced[name] <= dim.max
        if dim.max >= 2 and dim.dynamic:
            assert traced[name] >= 2
    wide = [n for n, d in named_dims(specs).items() if d.dynamic and d.max - d.min > 10]
    assert len({traced[n] for n in wide}) == len(wide)


def test_no_size_is_traced_at_the_end_of_its_range() -> None:
    """What is compared with the end of a range goes there as nowhere else."""
    dims = (Dim("rows", 1, 2, 32), Dim("length", 1, 64, 64), Dim("few", 3, 3, 3 + 1), Dim("from", 5, 5, 9))
    assert trace_sizes([spec(*dims)]) == {"rows": 2, "length": 63, "few": 3, "from": 6}
