"""transformers, imported where it is used, kept off the network and from fetching code of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attn_runtime.errors import UsageError
from attn_runtime.escape import printable

from ..quiet import captured_output
from ..torchvision_import import ready_torchvision


def transformers() -> Any:
    """The library. UsageError, with what to install, where it is not there or too old."""
    try:
        ready_torchvision()  # where it can't be imported, nothing of transformers that knows of pictures can
        with captured_output():
            import transformers as library
    except (ImportError, RuntimeError) as problem:  # the latter of a torchvision that was built for another torch
        raise UsageError(
            f"a saved Hugging Face model needs transformers, and it can't be imported ({problem}); "
            "pip install 'transformers>=5'"
        ) from problem
    if int(library.__version__.split(".")[0]) < 5:
        raise UsageError(f"transformers is {library.__version__}, expected 5 or newer; pip install 'transformers>=5'")
    return library


def words_of(problem: BaseException, limit: int = 200) -> str:
    """What a library says of a problem, in one line that a terminal takes."""
    return printable(" ".join(str(problem).split()) or type(problem).__name__, limit)


@contextmanager
def offline() -> Iterator[None]:
    """What runs inside reaches no network, whatever a config asks for: huggingface_hub refuses every request by itself."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        with captured_output():
            yield
    finally:
        constants.HF_HUB_OFFLINE = before
