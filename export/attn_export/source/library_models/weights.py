"""Weights in the local caches of Hugging Face and torch.hub; the network alone when it was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

import torch
from attn_runtime.errors import UsageError
from attn_runtime.escape import printable
from attn_runtime.files import reason

from ...quiet import captured_output

_HASH = re.compile(r"-([a-f0-9]{8,64})\.[a-z]+$")


def hub_file(repository: str, names: Sequence[str], download: bool) -> Path | None:
    """The first of the files `names` of a repository on Hugging Face ("org/name", "org/name@revision") that is in the cache,
    and with `download` the first that is there. None where nothing was found. UsageError where it can't be fetched.
    """
    try:
        import huggingface_hub as hub
    except ImportError:
        return None
    repository, _, revision = repository.partition("@")
    for name in names:
        found = hub.try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    problem: Exception | None = None
    for name in names if download else ():
        try:
            with captured_output():
                return Path(hub.hf_hub_download(repository, name, revision=revision or None))
        except Exception as caught:
            problem = caught
    if problem is not None:
        raise UsageError(f"--download: {printable(repository)}: {printable(reason(problem), 200)}") from problem
    return None


def torch_hub_file(url: str, download: bool) -> Path | None:
    """The file of `url` in torch.hub's cache, fetched with `download` and then held against the hash in its name. None
    where it is not there. UsageError where it can't be fetched.
    """
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    if not download:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    told = _HASH.search(name)
    try:
        with captured_output():
            torch.hub.download_url_to_file(url, str(path), hash_prefix=told[1] if told else None, progress=False)
    except Exception as problem:
        raise UsageError(f"--download: {printable(url)}: {printable(reason(problem), 200)}") from problem
    return path
