"""One trained folder and one bundle in every precision for each built-in model, made once and shared by the contract tests.

Nothing here knows the name of any model: a new file in attn_models is crossed with everything by being there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from attn_export import ExportOptions, export
from attn_export.console import Console
from attn_export.parity import generation
from attn_export.precision.conversion import add_precision
from attn_export.source.resolve import load_source
from attn_models import registry
from attn_models.training import loop


@pytest.fixture(scope="session", params=registry.names())
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def trained(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training on a handful of samples, by heart; tests/models/training has the command line."""
    spec = registry.get(model)
    if spec.recipe is None:
        pytest.skip(f"{model} has no training")
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        # What is drawn sample by sample is not drawn by thousands for that: the first samples are the same.
        patch.setattr(sys.modules[spec.recipe.__module__], "TRAIN_SIZE", 64, raising=False)
        loop.train(spec, loop.TrainOptions(folder, limit=16, batch_size=8, epochs=8, quiet=True))
    return folder


@pytest.fixture(scope="session")
def precisions(model: str) -> tuple[str, ...]:
    """fp16 for every model, bf16 for every third one: it takes the same path with another type, and minutes for all. With
    ATTN_TEST_ALL in the environment every model gets both; scripts/bench/models_table.py measures all of them too."""
    both = os.environ.get("ATTN_TEST_ALL") or registry.names().index(model) % 3 == 1
    return ("fp32", "fp16", "bf16") if both else ("fp32", "fp16")


@pytest.fixture(scope="session")
def bundle(model: str, precisions: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, untrained but awake, exported as a user would, in its precisions. Sizes between the corners are left to
    tests/export/pipeline, answers of more than 16 tokens, each a whole forward of PyTorch's, to tests/export/parity."""
    target = tmp_path_factory.mktemp("bundle") / f"{model}.attn"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "USUAL", generation.USUAL._replace(tokens=16))
        patch.setattr(generation, "affordable", lambda seconds: generation.USUAL)
        export(load_source(model), target, options=ExportOptions(sweep=0))
    for kind in precisions[1:]:
        add_precision(target, kind, console=Console(True))
    return target
