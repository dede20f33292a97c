from collections.abc import Callable

import pytest
import torch
from attn_export.source.checkpoints.names import Fit, Own, fits
from torch import nn


class Net(nn.Module):
    def __init__(self, tie: bool = False) -> None:
        super().__init__()
        self.emb = nn.Embedding(5, 3)
        self.block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 5, bias=False)
        if tie:
            self.head.weight = self.emb.weight


class Holds(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, Net())


STATE = Net().state_dict()


def below(prefix: str) -> Callable[[str], str]:
    return lambda name: prefix + name


def first(module: nn.Module, names: Callable[[str], str], **more: torch.Tensor) -> Fit:
    return fits(Own.of(module), {names(k): v for k, v in STATE.items()} | more)[0]


@pytest.mark.parametrize(
    ("names", "prefix", "wrappers"),
    [
        (str, "", ()),
        (below("module."), "", ("module",)),
        (below("_orig_mod.module."), "", ("module", "_orig_mod")),
        (below("module._orig_mod."), "", ("module", "_orig_mod")),
        (below("model."), "model.", ()),
        (below("module.model._orig_mod.net."), "model.net.", ("module", "_orig_mod")),
        (below("backbone."), "backbone.", ()),
        (lambda k: k.replace("block.", "block._orig_mod."), "", ("_orig_mod",)),
        (
            lambda k: (
                f"_fsdp_wrapped_module.{k.replace('block.', 'block._fsdp_wrapped_module._checkpoint_wrapped_module.')}"
            ),
            "",
            ("_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
        ),
    ],
)
def test_wrappers_and_beginnings(names: Callable[[str], str], prefix: str, wrappers: tuple[str, ...]) -> None:
    fit = first(Net(), names)
    assert fit.supplies and (fit.prefix, fit.own_prefix, fit.wrappers) == (prefix, "", wrappers)
    assert fit.table == {k: names(k) for k in STATE} and not fit.inside and not fit.outside


@pytest.mark.parametrize(
    ("module", "names", "own_prefix"),
    [
        (torch.compile(Net()), str, ""),
        (nn.DataParallel(Net()), below("_orig_mod."), ""),
        (Holds("model"), str, "model."),
        (Holds("backbone"), below("net."), "backbone."),
        (Holds("module"), str, ""),
        (Holds("module"), below("module."), ""),
    ],
)
def test_a_module_that_is_wrapped_itself(module: nn.Module, names: Callable[[str], str], own_prefix: str) -> None:
    fit = first(module, names)
    assert fit.supplies and fit.own_prefix == own_prefix and set(fit.table) == set(module.state_dict())
    assert all(fit.table[k].endswith(k.rpartition("emb.")[2]) for k in fit.table if "emb." in k)


def test_two_names_that_differ_by_a_wrapper_alone_are_left_as_they_are() -> None:
    both = STATE | {f"module.{k}": v + 1 for k, v in STATE.items()}
    one, other = fits(Own.of(Net()), both)
    assert (one.prefix, other.prefix) == ("", "module.")


@pytest.mark.parametrize("lost", ["emb.weight", "head.weight"])
def test_a_tied_name_is_supplied_by_its_twin(lost: str) -> None:
    tensors = {f"model.{k}": v for k, v in STATE.items() if k != lost}
    (fit,) = fits(Own.of(Net(tie=True)), tensors)
    assert fit.supplies and fit.table["emb.weight"] == fit.table["head.weight"]
    (apart,) = fits(Own.of(Net()), tensors)
    assert apart.missing == (lost,)


def test_parameters_on_the_meta_device_are_no_twins() -> None:
    with torch.device("meta"):
        assert Own.of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))).twins == {}


def test_counters_that_eval_mode_does_not_read_may_lack_and_an_averaged_models_count_is_none_of_its_own() -> None:
    tensors = {f"module.{k}": v for k, v in STATE.items() if "num_batches" not in k}
    (fit,) = fits(Own.of(Net()), tensors | {"n_averaged": torch.tensor(3)})
    assert fit.supplies and fit.counters == ("block.1.num_batches_tracked",) and not fit.inside


def test_what_lies_below_the_beginning_and_beside_it() -> None:
    fit = first(Net(), below("model."), **{"model.aux": torch.ones(1), "criterion.weight": torch.ones(1)})
    assert fit.supplies and (fit.inside, fit.outside) == (("model.aux",), ("criterion.weight",))


def test_the_nearest_is_given_where_none_fits() -> None:
    tensors = {f"model.{k}": v for k, v in STATE.items() if k != "block.0.bias"} | {"x.emb.weight": torch.ones(5, 3)}
    tensors["model.head.weight"] = torch.ones(7)
    (fit,) = fits(Own.of(Net()), tensors)
    assert (fit.prefix, fit.missing, fit.misshapen) == ("model.", ("block.0.bias",), ("head.weight",))


def test_equal_names_of_another_shape_are_another_net() -> None:
    small = {f"a.{k}": v for k, v in STATE.items()} | {f"b.{k}": torch.ones(9) for k in STATE}
    assert [f.prefix for f in fits(Own.of(Net()), small)] == ["a."]
