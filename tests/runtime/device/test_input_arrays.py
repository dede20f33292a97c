"""Arrays as callers have them: each gives the right values or is refused, and is read in place only where that is said."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attn_runtime as api
import numpy as np
import pytest
import torch
from attn_runtime.device import Intake
from attn_runtime.device.input_arrays import as_array
from attn_runtime.errors import InputError, UsageError
from attn_runtime.session import Session, open_session
from onnx import TensorProto, helper
from support.graphs.make_graphs import save
from support.models.tiny_generators import Tiny, write_bundle
from torch._subclasses.fake_tensor import FakeTensorMode

ODD = np.frombuffer(b"\1\0\2\0", bool)
HERE = Intake(1, 0, 0, lambda stream: None)  # as of an engine on a device whose memory the host can read


class Seen(np.ndarray):
    """A subclass, as of pandas' or astropy's arrays."""


def fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.ones(2, 3)


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.complex(torch.ones(2, 3), torch.ones(2, 3)).conj().imag,
        lambda: torch._neg_view(torch.ones(2, 3)),
        lambda: torch._neg_view(torch.ones(2, 3))[:, 1:],
        lambda: torch._neg_view(torch.ones(2, 3, dtype=torch.int64)),
    ],
    ids=["imag-of-conj", "neg", "slice-of-neg", "int"],
)
def test_a_negated_tensor_is_read_as_pytorch_reads_it(make: Callable[[], torch.Tensor]) -> None:
    tensor = make()
    assert tensor.is_neg()
    np.testing.assert_array_equal(as_array("x", tensor, "test"), -np.ones(tensor.shape))
    made = as_array("x", tensor, "test", HERE)  # on the device it is resolved there
    taken = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_byte * made.nbytes).from_address(made.address))
    np.testing.assert_array_equal(taken.view(made.dtype).reshape(made.shape), -np.ones(tensor.shape))


def test_a_conjugated_tensor_is_read_as_pytorch_reads_it() -> None:
    tensor = torch.complex(torch.ones(2), torch.ones(2)).conj()
    np.testing.assert_array_equal(as_array("x", tensor, "test"), np.full(2, 1 - 1j))


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3)[::-1, ::-1],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.arange(6, dtype=np.float32).reshape(2, 3).view(np.matrix),
        np.arange(6, dtype=np.float32).reshape(2, 3).view(Seen),
        np.broadcast_to(np.float32(3), (2, 3)),
        np.frombuffer(b"\0" + np.arange(6, dtype=np.float32).tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3),
        torch.ones(1, 3).expand(2, 3),
        torch.arange(6.0).reshape(3, 2).T,
        torch.zeros(0, 3),
    ],
    ids=["reversed", "swapped", "matrix", "subclass", "broadcast", "unaligned", "expanded", "transposed", "empty"],
)
def test_values_of_every_layout(value: Any) -> None:
    array = as_array("x", value, "test")
    assert isinstance(array, np.ndarray) and array.dtype == np.float32 and array.dtype.isnative
    np.testing.assert_array_equal(array, np.asarray(value))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (fake, "it has no memory"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "torch.Tensor"),
        (lambda: torch.ones(2).to(torch.float8_e4m3fn), "torch.Tensor"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "torch.Tensor"),
        (lambda: torch.nn.Parameter(torch.ones(2)), "detach"),
        (lambda: np.ma.masked, "mask would be lost"),
        (lambda: ODD, r'input "x": is bool and holds a byte 2, expected 0 and 1 alone'),
        (lambda: ODD[::2], "holds a byte 2"),
        (lambda: torch.frombuffer(bytearray(b"\1\xff"), dtype=torch.bool), "holds a byte 255"),
        (lambda: memoryview(b"abc"), "got builtins.memoryview"),
    ],
)
def test_what_has_no_value_to_read_is_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        as_array("x", make(), "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyError("x"), "KeyError 'x'"),
        (AssertionError(), "AssertionError"),
        (OSError(5, "no such device"), r"OSError \[Errno 5\] no such device"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("a\n\x1b[2Jb."), "a \ufffd"),
        (ImportError("y" * 5000), r"ImportError y{200}\.\.\."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_producer_raises_is_one_line(error: Exception, says: str) -> None:
    class Producer:
        def __dlpack_device__(self) -> tuple[int, int]:
            raise error

        def __dlpack__(self, **_: object) -> object:
            raise AssertionError

    class Lazy:
        @property
        def __dlpack__(self) -> object:
            raise error

    for value in (Producer(), Lazy()):
        if isinstance(value, Lazy) and isinstance(error, AttributeError):
            continue
        with pytest.raises(InputError, match=rf'input "x": got a .* that can\'t be read in place: {says}') as caught:
            as_array("x", value, "test")
        assert "\n" not in str(caught.value)


# --- in place -----------------------------------------------------------------------------------------------------


def test_no_copy_is_made_where_none_is_needed() -> None:
    array, tensor = np.ones((2, 3), np.float32), torch.ones(2, 3)
    assert as_array("x", array, "test") is array
    made = as_array("x", tensor, "test")
    tensor.fill_(7)
    assert isinstance(made, np.ndarray) and (made == 7).all()


def test_a_buffer_that_is_bound_is_read_where_it_lies(valid_bundle: Path) -> None:
    with open_session(valid_bundle, "cpu") as session:
        tensor = torch.ones(2, 16)
        bound = session.bind(inputs={"x": tensor.numpy()})
        before = bound()["y"].copy()
        tensor.mul_(2)
        np.testing.assert_allclose(bound()["y"], 2 * before, rtol=1e-6)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (torch.ones(2, 16), "the buffer is a torch.Tensor, expected a numpy array"),
        (np.ma.masked_array(np.ones((2, 16), np.float32), False), "the buffer is a numpy.MaskedArray"),
        (np.frombuffer(bytes(129), np.uint8)[1:].view(np.float32).reshape(2, 16), "unaligned"),
        (np.ones((2, 16), ">f4"), "expected float32"),
        ([1.0], "the buffer is a builtins.list"),
        (None, "the buffer is a builtins.NoneType"),
    ],
)
def test_what_is_no_buffer(valid_bundle: Path, array: Any, says: str) -> None:
    with open_session(valid_bundle, "cpu", "ort") as session, pytest.raises(InputError, match=says):
        session.bind(inputs={"x": array})


# --- bool ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inverter(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """y = not x, of bool."""
    sides = [helper.make_tensor_value_info(name, TensorProto.BOOL, ["N"]) for name in "xy"]
    path = tmp_path_factory.mktemp("bools") / "not.onnx"
    save(path, [helper.make_node("Not", ["x"], ["y"])], sides[:1], sides[1:])
    return open_session(path, "cpu", "ort")


def test_a_bool_is_0_or_1_in_every_call(inverter: Session) -> None:
    good = np.array([True, False, True, False])
    for _ in range(2):  # before and after shapes of a call are remembered
        np.testing.assert_array_equal(inverter.run({"x": good})["y"], ~good)
        for odd in (ODD, torch.frombuffer(bytearray(ODD.tobytes()), dtype=torch.bool)):
            with pytest.raises(InputError, match="holds a byte 2"):
                inverter.run({"x": odd})


@pytest.mark.parametrize("own", [False, True])
def test_a_bool_buffer_is_looked_at_in_each_call(inverter: Session, own: bool) -> None:
    bound = inverter.bind(inputs={"x": np.zeros(4, bool)}) if own else inverter.bind({"N": 4})
    assert bound()["y"].all()
    bound.inputs["x"].view(np.uint8)[2] = 9
    with pytest.raises(InputError, match='input "x": is bool and holds a byte 9'):
        bound()
    bound.inputs["x"][2] = True
    np.testing.assert_array_equal(bound()["y"], [True, True, False, True])


def test_a_mask_of_a_generator(tmp_path: Path) -> None:
    with api.open_generator(write_bundle(tmp_path / "tiny.attn", Tiny(encoder=False)), "cpu") as generator:
        tokens = np.ones((1, 2), np.int64)
        with pytest.raises(InputError, match='input "tokens_mask": is bool and holds a byte 2'):
            generator.generate({"tokens": tokens, "tokens_mask": np.frombuffer(b"\1\2", bool).reshape(1, 2)})
        for copied in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(
                UsageError, match=r"generator on bundle tiny.attn can't be pickled .* with open_generator"
            ):
                copied(generator)


def test_a_session_is_neither_pickled_nor_copied(inverter: Session) -> None:
    for thing, says in ((inverter, "with open_session"), (inverter.bind({"N": 4}), "and bind again")):
        for copied in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(UsageError, match=f"can't be pickled or copied: .*{says}") as caught:
                copied(thing)
            assert "\n" not in str(caught.value)
