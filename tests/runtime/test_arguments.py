"""Every public call, each parameter given values of the wrong kind: one line of ours, that shows no array."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import attn_runtime as api
import numpy as np
import pytest
from attn_runtime.arguments import TEXTS, expect, expect_call, shown
from support.models.tiny_generators import Tiny, write_bundle

BIG = np.full((300, 300), 7.25, np.float32)
#: Of what kinds there are, one each that is none of another.
VALUES: dict[str, Any] = {
    "none": None,
    "text": "zz",
    "bytes": b"zz",
    "list": [1.5, "a"],
    "dict": {3: 4},
    "float": 0.125,
    "nan": float("nan"),
    "huge": 10**5000,
    "negative": -3,
    "flag": True,
    "array": BIG,
    "array-of-one": np.array([2]),
    "class": threading.Event,
    "function": lambda a, b, c, d: None,
    "object": object(),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that is taken for a path may name a folder to be made: not here."""
    monkeypatch.chdir(tmp_path)


def args(**given: Any) -> dict[str, Any]:
    return given


def calls(bundle: Path, generator: Path) -> dict[str, tuple[Callable[..., object], dict[str, Any]]]:
    """Each call with arguments that are right, of which one at a time is replaced."""
    session, opened = api.open_session(bundle, "cpu", "ort"), api.open_generator(generator, "cpu", "ort")
    names = {spec.name: np.ones(spec.shape({}), spec.dtype) for spec in opened.inputs}
    rows = len(next(iter(names.values())))
    opening = dict.fromkeys(("backend", "precision", "threads", "cache"))
    opening |= {"path": bundle, "device": "cpu", "backend": "ort", "low_memory": False, "cuda_graph": False}
    x = np.zeros((2, 16), np.float32)
    return {
        "open_session": (api.open_session, opening | {"graph": None, "workspace": None, "stop_spinning": False}),
        "open_generator": (api.open_generator, opening | {"path": generator}),
        "Bundle.open": (api.Bundle.open, {"path": bundle}),
        "Bundle.graph": (api.Bundle.open(bundle).graph, {"name": None}),
        "Bundle.asset": (api.Bundle.open(bundle).asset, {"name": "labels"}),
        "run": (session.run, {"inputs": {"x": x}}),
        "run input": (lambda x: session.run({"x": x}), {"x": x}),
        "run name": (lambda name: session.run({name if isinstance(name, Hashable) else 3: x}), {"name": "x"}),
        "run_on_device": (session.run_on_device, {"inputs": {"x": x}}),
        "bind": (session.bind, {"shapes": None, "on_device": False, "inputs": None, "outputs": None}),
        "bind size": (lambda size: session.bind({"batch": size}), {"size": 2}),
        "bind shape": (lambda shape: session.bind({"x": shape}), {"shape": (2, 16)}),
        "bind axis": (lambda size: session.bind({"x": (size, 16)}), {"size": 2}),
        "bind input": (lambda array: session.bind(inputs={"x": array}), {"array": x}),
        "bind output": (lambda array: session.bind(outputs={"y": array}), {"array": np.zeros((2, 10), np.float32)}),
        "buffer": (session.buffer, {"shape": (2, 3), "dtype": "float32", "on_device": False}),
        "asset": (session.asset, {"name": "labels"}),
        "generate": (opened.generate, {"inputs": names, "options": None, "on_token": None, "cancel": None}),
        "generate input": (lambda x: opened.generate(dict.fromkeys(names, x)), {"x": next(iter(names.values()))}),
        "follow": (
            opened.follow,
            {
                "inputs": names,
                "tokens": np.ones((rows, 1), np.int64),
                "lengths": np.ones(rows, np.int64),
                "length_penalty": 1.0,
            },
        ),
        "GenerateOptions": (
            api.GenerateOptions,
            args(max_length=None, beams=1, length_penalty=1.0, early_stop=False, sample=None, stop=None, scores=False),
        ),
        "Sample": (api.Sample, args(temperature=1.0, top_k=None, top_p=None, seed=0)),
        "verify": (
            api.verify,
            args(path=bundle, backend="ort", device="cpu", graph=None, precision=None, on_case=None, on_generated=None,
                 check=True),
        ),
        "bench": (
            api.bench,
            args(path=bundle, backend="ort", device="cpu", batches=(1,), sizes=None, call="run", warmup_s=0, measure_s=0,
                 min_runs=1, threads=None, graph=None, precision=None, seed=0, on_size=None),
        ),
        "run_file": (
            api.run_file,
            args(path=bundle, file=bundle / "none.npz", backend="ort", device="cpu", top=1, output=None, graph=None,
                 precision=None, threads=None),
        ),
        "classify": (
            api.classify, args(path=bundle, inputs=["a"], backend="ort", device="cpu", file=None, top=1, threads=None,
                               stdin=False, pairs=(), truncate=False)
        ),
        **{
            name: (call, args(path=bundle, texts=["a"], backend="ort", device="cpu", file=None, graph=None, precision=None,
                              threads=None, stdin=False) | more)
            for name, call, more in (
                ("embed", api.embed, args(of=None, pooling=None, normalize=False, truncate=False, output=None)),
                ("tag", api.tag, args(truncate=False)),
                ("fill", api.fill, args(top=1)),
            )
        },
        "answer": (
            api.answer, args(path=bundle, question="a", context="b", backend="ort", device="cpu", top=1, max_answer=1,
                             graph=None, precision=None, threads=None)
        ),
        "generate_texts": (
            api.generate_texts,
            args(path=bundle, texts=["a"], options=None, translate=None, blank=False, device="cpu", backend="ort",
                 precision=None, threads=None, low_memory=False, on_unknown=None, on_text=None, cancel=None),
        ),
        "attention_maps": (
            api.attention_maps, args(path=bundle, given="a", device="cpu", backend="ort", max_length=1, stdin=False)
        ),
        "describe": (api.describe, {"path": bundle}),
    }  # fmt: skip


def test_a_value_of_the_wrong_kind_is_told_in_one_line(valid_bundle: Path, tmp_path: Path) -> None:
    """All in one test: it is some 1500 calls that are refused at once, and two bundles that are opened."""
    generator = write_bundle(tmp_path / "tiny.attn", Tiny(encoder=False))
    wrong, refused = [], 0
    for name, (call, right) in calls(valid_bundle, generator).items():
        for parameter in right:
            for kind, value in VALUES.items():
                if (parameter, kind) == ("min_runs", "huge"):
                    continue  # would be done
                try:
                    call(**(right | {parameter: value}))
                except api.AttnError as error:
                    refused += 1
                    text = str(error)
                    if "\n" in text or len(text) > 600 or "7.25" in text or "0x" in text:
                        wrong.append(f"{name}({parameter}={kind}): {text[:200]}")
                except Exception as error:
                    wrong.append(f"{name}({parameter}={kind}): {type(error).__name__}: {str(error)[:100]}")
    assert not wrong, "\n".join(wrong)
    assert refused > 800


def test_what_is_no_text_in_a_list_is_told() -> None:
    for value, got in (
        ([1], "list with int in it"),
        (("a", b"b"), "tuple with bytes in it"),
        ("a", '"a"'),
        (None, "None"),
    ):
        with pytest.raises(api.UsageError, match=f"^texts: got {got}, expected strings in a list$"):
            expect(TEXTS, texts=value)


def test_a_callback_of_too_few_arguments_is_told_before_the_work() -> None:
    expect_call("on_token", lambda row, token: None, 0, 0)
    expect_call("on_token", print, 0, 0)
    expect_call("on_token", None, 0, 0)
    with pytest.raises(api.UsageError, match="on_token: got function .*, which can't be called with 2 arguments"):
        expect_call("on_token", lambda token: None, 0, 0)


def test_what_can_be_read_but_once_is_kept() -> None:
    options = api.GenerateOptions(stop=iter([3, 4]), sample=api.Sample(seed=np.array([1, 2])))  # type: ignore[arg-type]
    assert options.stop == (3, 4)
    assert options.sample is not None and options.sample.seeds(2) == [1, 2]


def test_values_are_shown_without_their_contents() -> None:
    assert shown(np.zeros((2, 3), np.float32)) == "float32 [2, 3]"
    assert shown(10**5000) == "a number of 16610 bits"
    assert shown({3: 4}) == "a mapping with a name that is int"
    assert shown("a\nb" + "c" * 90).startswith('"a\ufffdbccc') and len(shown("c" * 90)) < 50
