from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from attn_export.reference.signature import Signature, flatten, to_numpy
from attn_runtime.errors import CaptureError, UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import nn

ONE = torch.ones(1)


@dataclass
class Data:
    logits: torch.Tensor
    hidden: Any = None


Named = namedtuple("Named", "first second")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (ONE, ["output"]),
        ((ONE, ONE), ["output_0", "output_1"]),
        ({"logits": ONE, "aux": [ONE, ONE]}, ["logits", "aux_0", "aux_1"]),
        (Data(ONE, (ONE, {"deep": ONE})), ["logits", "hidden_0", "hidden_1_deep"]),
        (Named(ONE, ONE), ["first", "second"]),
        (OrderedDict(a=ONE, b=None, c=3, d="text"), ["a"]),
        ({"odd name!": ONE}, ["odd_name_"]),
    ],
)
def test_outputs_get_readable_names(value: Any, names: list[str]) -> None:
    assert [name for name, _ in flatten(value)] == names


def test_an_output_that_cannot_cross_is_named() -> None:
    with pytest.raises(CaptureError, match="the output cache is a set"):
        flatten({"cache": {ONE}})


def test_a_cache_that_cannot_cross_names_its_switch() -> None:
    from transformers import DynamicCache

    with pytest.raises(CaptureError, match=r"past is a DynamicCache.* \(--config use_cache=false\) or wrap"):
        flatten({"past": DynamicCache()})


def test_complex_answers_are_refused_with_a_way_out() -> None:
    with pytest.raises(CaptureError, match=r"output y is complex64.*view_as_real"):
        to_numpy({"y": torch.ones(2, dtype=torch.complex64)})


class Two(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> Any:
        return {"difference": left - right, "left": left * scale}


def specs(*names: str) -> list[TensorSpec]:
    return [TensorSpec(n, "float32", (Dim.fixed(2),)) for n in names]


def pair(a: str, b: str) -> dict[str, torch.Tensor]:
    return {a: torch.tensor([3.0, 3.0]), b: torch.tensor([1.0, 2.0])}


def test_inputs_go_by_name_in_any_order() -> None:
    found = Signature(Two(), specs("right", "left"))(pair("left", "right"))
    assert found["difference"].tolist() == [2.0, 1.0]


def test_inputs_of_other_names_go_by_position() -> None:
    found = Signature(Two(), specs("a", "b"))(pair("a", "b"))
    assert found["difference"].tolist() == [2.0, 1.0]


def test_an_output_called_like_an_input_gets_a_name_of_its_own() -> None:
    signature = Signature(Two(), specs("left", "right"))
    assert list(signature(pair("left", "right"))) == ["difference", "left_out"]
    with pytest.raises(UsageError, match="left is taken already"):
        Signature(Two(), specs("left", "right"), ["left", "x"])(pair("left", "right"))


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["left"], "also needs right"),
        (["left", "wrong"], "--input wrong: Two.forward"),
        (["a"], "1 inputs (a) for Two.forward"),
        (["a", "b", "c", "d"], "4 inputs"),
        (["a.b"], "must be a Python identifier"),
        (["class", "right"], "must be a Python identifier, and no keyword"),
    ],
)
def test_inputs_that_do_not_fit_forward(inputs: list[str], says: str) -> None:
    with pytest.raises(UsageError) as told:
        Signature(Two(), specs(*inputs))
    assert says in str(told.value)


def test_output_names_must_be_as_many() -> None:
    with pytest.raises(UsageError, match="3 names for 2 outputs; the module returns: difference, left"):
        Signature(Two(), specs("left", "right"), ["a", "b", "c"])(pair("left", "right"))


def test_forward_is_restored_and_weights_keep_their_names() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    signature = Signature(module, specs("input"))
    with pytest.raises(RuntimeError, match="on purpose"), signature.flat() as flat:
        assert [n for n, _ in flat.named_parameters()] == ["0.weight", "0.bias"]
        assert isinstance(flat(torch.ones(1, 2)), tuple)
        raise RuntimeError("on purpose")
    assert "forward" not in module.__dict__
    assert isinstance(module(torch.ones(1, 2)), torch.Tensor)


class Passes(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        y = x.relu()
        return x, y, y


def test_an_output_that_is_an_input_or_given_twice_becomes_a_tensor_of_its_own() -> None:
    with Signature(Passes(), specs("x")).flat() as flat:
        x = torch.ones(2)
        found = flat(x)
    assert len({id(t) for t in (x, *found)}) == 4


class Anything(nn.Module):
    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        return tensors["left"] - tensors["right"]


def test_a_forward_of_keywords_alone_gets_keywords() -> None:
    assert Signature(Anything(), specs("right", "left"))(pair("left", "right"))["output"].tolist() == [2.0, 1.0]


class Entries(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


def signature_of(forward: Any, *names: str) -> Signature:
    module = nn.Module()
    module.forward = forward  # type: ignore[method-assign]
    return Signature(module, specs(*names))


def asked(forward: Any, *names: str) -> Any:
    """What `forward` gets when each input is the number of its place."""
    seen: list[Any] = []

    def watched(**given: Any) -> torch.Tensor:
        seen.append(given)
        return ONE

    signature = signature_of(forward, *names)
    signature._answers(watched, {name: number for number, name in enumerate(names)})  # type: ignore[misc]
    return seen[0]


def unannotated(feats: Any, mask: Any = None) -> None: ...
def of_tuple(x: Any, feats: "tuple[torch.Tensor, ...] | None") -> None: ...
def of_dict(feats: dict[str, torch.Tensor]) -> None: ...
def of_numbers(feats: dict[int, torch.Tensor]) -> None: ...
def of_named(feats: Entries) -> None: ...
def of_data(feats: Data) -> None: ...
def of_keyword(*, feats: list[torch.Tensor]) -> None: ...


@pytest.mark.parametrize(
    ("forward", "names", "gets"),
    [
        (unannotated, ["feats_1", "feats_0"], {"feats": [1, 0]}),
        (unannotated, ["feats_0"], {"feats": [0]}),
        (unannotated, ["mask", "feats_0", "feats_1"], {"mask": 0, "feats": [1, 2]}),
        (unannotated, ["feats_p3", "feats_pool"], {"feats": {"p3": 0, "pool": 1}}),
        (of_tuple, ["x", "feats_0", "feats_1"], {"x": 0, "feats": (1, 2)}),
        (of_dict, ["feats_0"], {"feats": {"0": 0}}),
        (of_dict, ["feats_p3"], {"feats": {"p3": 0}}),
        (of_numbers, ["feats_0", "feats_2"], {"feats": {0: 0, 2: 1}}),
        (of_named, ["feats_b", "feats_a"], {"feats": Entries(1, 0)}),
        (of_data, ["feats_logits", "feats_hidden"], {"feats": Data(0, 1)}),
        (of_keyword, ["feats_0"], {"feats": [0]}),
    ],
)
def test_inputs_named_after_the_entries_of_a_parameter(forward: Any, names: list[str], gets: dict[str, Any]) -> None:
    got = asked(forward, *names)
    assert got == gets
    assert type(got["feats"]) is type(gets["feats"])


@pytest.mark.parametrize(
    ("forward", "name"), [(unannotated, "feats_ids"), (unannotated, "feats_1"), (Two().forward, "left_0")]
)
def test_one_input_that_is_no_entry_goes_by_position(forward: Any, name: str) -> None:
    names = [name, "right_0"] if name == "left_0" else [name]  # left and right are tensors by their annotation
    assert not signature_of(forward, *names).by_keyword


def test_a_list_with_a_gap_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--input feats_0, feats_2: feats_1 is missing; a list is feats_0, feats_1"):
        signature_of(unannotated, "feats_0", "feats_2")


class Pyramid(nn.Module):
    def forward(self, feats: Any, gain: torch.Tensor) -> torch.Tensor:
        return (feats[0] - feats[1]) * gain


def test_a_list_is_put_together_inside_the_flat_forward() -> None:
    a, b, gain = torch.tensor([5.0]), torch.tensor([2.0]), torch.tensor([10.0])
    signature = Signature(Pyramid(), specs("feats_0", "feats_1", "gain"))
    assert signature({"feats_0": a, "feats_1": b, "gain": gain})["output"].tolist() == [30.0]
    with signature.flat() as flat:
        program = torch.export.export(flat, (a, b, gain), strict=False)
        assert list(program.graph_signature.user_inputs) == ["feats_0", "feats_1", "gain"]
        assert program.module()(a, b, gain)[0].tolist() == [30.0]


def test_a_list_in_a_list_is_refused_with_the_way_out() -> None:
    class Cache(nn.Module):
        def forward(self, x, past):  # type: ignore[no-untyped-def]
            return x + past[0][0] + past[0][1]

    with pytest.raises(UsageError, match="--input past_0_0: a list in a list .* wrap the module"):
        Signature(Cache(), specs("x", "past_0_0", "past_0_1"))
