"""How tests are dealt to processes: a file to one process, and of the contract tests a model to one process.

The contract tests take minutes a model, and share what is exported and trained of it.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from attn_export.reference import sweep_sizes
from attn_export.torchvision_import import ready_torchvision
from attn_models import registry

# Where `make cpp` built it, the C++ runtime is what sessions on the CPU take, as for a user who built it: all tests run over it.
_BUILT = Path(__file__).parents[1] / "build" / "cpp" / "tests" / "libattn_runtime.so"
if _BUILT.exists():
    os.environ.setdefault("ATTN_RUNTIME_LIBRARY", str(_BUILT))

# What is remembered from one test to the next is no business of whoever runs them.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="attn-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# The same examples each time, so that a run depends on the code alone; ATTN_TEST_ALL=1 draws new ones.
hypothesis.settings.register_profile("same", derandomize=True)
if not os.environ.get("ATTN_TEST_ALL"):
    hypothesis.settings.load_profile("same")


# Tests export some three hundred times, and few of them are about the sizes between the corners: those name a budget.
sweep_sizes.DEFAULT_SECONDS = sweep_sizes.HEAVY_SECONDS = 0.1


#: Files of a minute and more, each the work of one process: begun last, one of them would be alone at work at the end.
LONGEST = {
    "test_bare_machine.py", "test_board.py", "test_conversion.py", "test_engine_pool.py", "test_generator_answers.py",
    "test_gpu_bench.py", "test_model_survey.py", "test_patches.py", "test_quantised_accuracy.py",
}  # fmt: skip


class _TorchvisionFirst(MetaPathFinder):
    """transformers and timm import torchvision, which fails beside a torch that it was not built for, as CI's is."""

    def find_spec(self, name: str, *_: object) -> None:
        if name in ("transformers", "timm"):
            sys.meta_path.remove(self)
            ready_torchvision()


sys.meta_path.insert(0, _TorchvisionFirst())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and parsed here stays: to look for garbage among it again and again would double the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.set_threshold(20_000, 20, 10)  # an export makes a million objects and drops them: seldom is often enough


def pytest_collection_finish() -> None:
    """Some million objects come with what tests import, and stay: tests that collect garbage would look at all of them each time.

    Not again later: what is alive then and becomes garbage would stay as well, with the files that it holds open.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (not item.nodeid.startswith("tests/contract/"), item.path.name not in LONGEST))
    if os.environ.get("ATTN_TEST_ALL"):
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="much resembles another test; ATTN_TEST_ALL=1 takes all"))


# pytest-xdist's own groups (loadgroup) don't work with pytest 9.2: they need an attribute that it has no more.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFileFolderOrModel(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid, registry.names())

    config.option.loadscopereorder = False  # as collected, so that the contract tests, which take longest, come first
    return ByFileFolderOrModel(config, log)


def group(nodeid: str, models: Sequence[str]) -> str:
    """tests/contract/test_x.py::test_y[MODEL-z] -> MODEL; else the file."""
    file, _, test = nodeid.partition("::")
    if file.startswith("tests/contract/"):
        named = [word for word in re.split(r"[\[\]-]", test) if word in models]
        return named[0] if named else file
    return file


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each point of a front is timed for its least number of calls."""
    monkeypatch.setattr("attn_export.precision.quantised.speed.SECONDS", 0.0)
