"""Parts: what is cut from a source, and what of it is done."""

from __future__ import annotations

import itertools
import pickle

import pyarrow as pa
import pytest
from attn_runtime.tasks.mapping.rows.parts import Done, Part, Place, cut
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(rows=st.integers(0, 30), most=st.integers(1, 9), ends=st.sets(st.integers(1, 29)), left=st.integers(0, 255))
def test_what_is_done_and_what_is_cut_are_all_rows_once(rows: int, most: int, ends: set[int], left: int) -> None:
    edges = [0, *sorted(end for end in ends if end < rows), rows]
    ranges = [Place(0, a, b, b == rows) for a, b in itertools.pairwise(edges) if a < b]
    done = Done(place for n, place in enumerate(ranges) if left >> (n % 8) & 1)
    found = list(cut(range(rows), done, most))
    told = [row for place in done.places for row in range(place.first, place.stop)]
    for first, held, last in found:
        assert list(held) == list(range(first, first + len(held))) and len(held) <= most
        assert last == (first + len(held) == rows)
        told += held
    assert sorted(told) == list(range(rows))
    whole = Done([*done.places, *(Place(0, first, first + len(held), last) for first, held, last in found)])
    assert whole.all
    assert done.all == (not found)


def test_a_source_without_rows_is_done_once_that_is_known() -> None:
    assert list(cut([], Done(), 5)) == [(0, [], True)]
    assert not Done().all
    assert Done([Place(3, 0, 0, True)]).all


def test_a_hole_is_not_done() -> None:
    assert not Done([Place(0, 0, 2, False), Place(0, 3, 4, True)]).all
    assert not Done([Place(0, 0, 2, False)]).all


@pytest.mark.parametrize(
    "place", [Place(0, 0, 0, True), Place(7, 12, 8192, False), Place(123456, 10**13, 10**13 + 1, True)]
)
def test_a_file_is_named_by_its_rows(place: Place) -> None:
    assert Place.of_file(place.file) == place


@pytest.mark.parametrize(
    "name", ["part.parquet", "part-0-0-0.parquet", ".part-00000-000000000000-000000000001.parquet.tmp", "_run.json"]
)
def test_another_file_is_no_part(name: str) -> None:
    assert Place.of_file(name) is None


def test_a_part_goes_to_another_process() -> None:
    part = Part(Place(1, 2, 4, False), pa.table({"a": [[1.5], None], "error": pa.array([None, "x"])}), 9)
    again = pickle.loads(pickle.dumps(part))
    assert (again.place, again.total) == (part.place, 9) and again.rows.equals(part.rows)
