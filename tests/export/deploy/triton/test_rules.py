"""A served generator follows its bundle's defaults, and requests choose what answers begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.deploy.triton.repository_maker import TritonOptions, deploy_triton
from attn_runtime.generate import GenerateOptions, Sample, open_generator
from support.machines import triton_server as server
from support.models import tiny_generators as tiny

TRANSLATOR = tiny.Tiny(layers=1, max_length=20, batch=12, seed=2, sharpness=1.0)
WRITER = tiny.Tiny(layers=1, max_length=20, batch=12, seed=4, sharpness=1.0, encoder=False)
KEYS: dict[str, tuple[tiny.Tiny, dict[str, Any]]] = {
    "translator": (
        TRANSLATOR,
        {
            "choices": {"language": {"place": 1, "tokens": {"de": 6, "fr": 7}}},
            "defaults": {"beams": 2, "max_new": 8, "no_repeat_ngram": 2},
        },
    ),
    "writer": (WRITER, {"defaults": {"max_new": 8, "sample": {"temperature": 1.5}}}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    for name, (model, keys) in KEYS.items():
        bundle = tiny.write_bundle(made / f"{name}.attn", model, generation=tiny.asset_of(model) | keys)
        deploy_triton(bundle, made / "repository", TritonOptions(name=name))
    return made


def told(request: server.Request) -> list[int] | str:
    last = request.sender.responses[-1]
    tokens = [response.outputs["token"].item() for response in request.sender.responses if response.error is None]
    return str(last.error) if last.error is not None else tokens[:-1]


def test_a_language_is_chosen_by_each_request(folder: Path) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"language": "de"},
        {"language": "fr"},
        {"language": "xx"},
        {"no_repeat_ngram": 0, "beams": 1},
    ]
    inputs = tiny.inputs_of(TRANSLATOR, [[5, 6, 7]])
    with server.python_model(folder / "repository" / "translator") as model:
        requests = [server.request(**inputs, **each) for each in asked]
        model.execute(requests)
    found = [told(request) for request in requests]
    assert 'begin: got language "xx"; available: de, fr' in found.pop(3)
    asked.pop(3)
    with open_generator(folder / "translator.attn", "cpu", threads=1) as generator:
        for options, tokens in zip(asked, found, strict=True):
            chosen = {name: value for name, value in options.items() if name != "language"}
            begin = {"language": options["language"]} if "language" in options else None
            assert tokens == generator.generate(inputs, GenerateOptions(**chosen, begin=begin)).row(0)


def test_what_the_bundle_draws_does_not_depend_on_other_requests(folder: Path) -> None:
    prompts = [[5, 6, 7], [8, 3], [9, 9, 4]]
    with server.python_model(folder / "repository" / "writer") as model:
        requests = [server.request(tokens=np.array([prompt], np.int64)) for prompt in prompts]
        model.execute(requests)
    with open_generator(folder / "writer.attn", "cpu", threads=1) as generator:
        for prompt, request in zip(prompts, requests, strict=True):
            alone = generator.generate({"tokens": np.array([prompt])}, GenerateOptions(sample=Sample(seed=0)))
            assert told(request) == alone.row(0)
