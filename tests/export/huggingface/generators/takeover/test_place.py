"""The place of a step's token is a number for code that counts from it, and a tensor for code that computes with it."""

from __future__ import annotations

import pytest
import torch
from attn_export.huggingface.generators.takeover.place import EachRow, Place, SlicedFrom, counted_from
from torch import Tensor, nn
from torch.nn import functional as F

APART, TOGETHER = torch.tensor([[5], [3]]), torch.tensor(4)


@pytest.mark.parametrize(("at", "expected"), [(TOGETHER, [4, 5, 6]), (APART, [[5, 6, 7], [3, 4, 5]])])
def test_counting_from_a_place(at: Tensor, expected: list[int]) -> None:
    place, before = Place(at), torch.arange
    with counted_from():
        for counted in (
            torch.arange(place, place + 3),
            torch.arange(start=place, end=3 + place, dtype=torch.int64),
            torch.arange(place, 1 + place + 2, device="cpu"),
        ):
            assert counted.tolist() == expected and counted.dtype == torch.int64
        assert torch.arange(2, 5).tolist() == [2, 3, 4] and torch.arange(3).tolist() == [0, 1, 2]
        with pytest.raises(TypeError):
            torch.arange(place, 9)
    assert torch.arange is before


def test_a_slice_from_a_place() -> None:
    table, place = torch.arange(20).reshape(2, 10), Place(TOGETHER)
    with SlicedFrom():
        assert table[:, place : place + 2].tolist() == [[4, 5], [14, 15]]
        assert table[1:, 2:4].tolist() == [[12, 13]] and table[0].shape == (10,)
        for wrong in (slice(place, 9), slice(Place(APART), Place(APART) + 1)):
            with pytest.raises(TypeError):
                table[:, wrong]


def test_places_of_rows_pass_for_those_of_one() -> None:
    """As decoders write it that count once for a whole batch: BART and Qwen2, Whisper, RoFormer, Canary."""
    place, each, words = Place(APART), [[5, 6, 7], [3, 4, 5]], torch.arange(32.0).reshape(16, 2)
    with EachRow(), counted_from():
        counted = torch.arange(3) + place
        assert counted.unsqueeze(0).tolist() == counted[None].tolist() == each
        assert counted.unsqueeze(0).repeat(2, 1).tolist() == counted.unsqueeze(0).expand(2, -1).tolist() == each
        turned = F.embedding(torch.arange(place, place + 3), words)[None, None, :, :]
        assert turned.shape == (2, 1, 3, 2) and torch.equal(turned[:, 0], words[torch.tensor(each)])
        # An axis that is not the first, a second one in front, and what is no place: as they are.
        assert counted.unsqueeze(1).shape == (2, 1, 3) and counted.unsqueeze(0).unsqueeze(0).shape == (1, 2, 3)
        assert torch.arange(3).unsqueeze(0).repeat(2, 1).shape == (2, 3)
        assert (torch.arange(3) + Place(TOGETHER)).unsqueeze(0).shape == (1, 3)
    given = torch.tensor([[5]])
    with EachRow(given):
        assert given.squeeze(0).shape == (1, 1) and torch.tensor([[5]]).squeeze(0).shape == (1,)


def test_computing_with_a_place() -> None:
    place = Place(TOGETHER)
    ones = torch.ones(2, dtype=torch.int64)
    for found in (place + ones, ones + place, torch.add(ones, place), place + 1 + ones - 1):
        assert isinstance(found, Tensor) and found.tolist() == [5, 5]
    assert (place - ones).tolist() == [3, 3] and (place + 3) - (place + 1) == 2
    assert place.to(torch.float32).dtype == torch.float32 and place.shape == ()
    assert [10, 20, 30, 40, 50][place] == 50


def test_a_step_is_never_the_beginning() -> None:
    place = Place(torch.tensor(0))
    assert place and place > 0 and place != 0
    assert bool((Place(TOGETHER) > 3) & (Place(TOGETHER) == 4))


def test_a_range_of_known_size_is_captured() -> None:
    class Counts(nn.Module):
        def forward(self, position: Tensor) -> Tensor:
            with counted_from():
                place = Place(position[0, 0])
                found = torch.arange(place, place + 2)
            with SlicedFrom():
                found = found + torch.zeros(20, dtype=torch.int64)[place : place + 2]
            assert found.shape == (2,) and not place > 4, "asked whether a table is too short"
            return found * 2 if place > 0 else found

    program = torch.export.export(Counts(), (torch.tensor([[7]]),), strict=False)
    assert program.module()(torch.tensor([[9]])).tolist() == [18, 20]
    with pytest.raises(Exception, match=r"[Dd]ata-dependent|Could not"):

        class Asks(nn.Module):
            def forward(self, position: Tensor) -> Tensor:
                return position if position[0, 0] > 0 else position * 2

        torch.export.export(Asks(), (torch.tensor([[7]]),), strict=False)
