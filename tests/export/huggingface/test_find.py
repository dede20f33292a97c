"""Where a saved model lies: folders, and the cache of huggingface_hub, which is a folder of a known layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from attn_export.huggingface import find_model
from attn_runtime.errors import UsageError
from huggingface_hub import constants
from support.huggingface.small_hub import small_hub

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a network that would refuse every name."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


def put(cache: Path, model: Path) -> None:
    """`model` as huggingface_hub keeps org/tiny: files are links into blobs."""
    base = cache / "models--org--tiny"
    snapshot = base / "snapshots" / COMMIT
    (base / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(model.iterdir())):
        shutil.copy(file, base / "blobs" / str(number))
        (snapshot / file.name).symlink_to(base / "blobs" / str(number))


def test_a_repository_is_taken_from_the_cache_without_a_network(cache: Path, classifier: Path) -> None:
    put(cache, classifier)
    for revision in (None, "main", COMMIT):
        saved = find_model("hf:org/tiny", revision)
        assert (saved.repository, saved.commit) == ("org/tiny", COMMIT)
        assert saved.folder.name == COMMIT and saved.config.model_type == "bert"
    assert saved.ref == "hf:org/tiny"


def test_what_is_not_in_the_cache_says_how_to_get_it(cache: Path, classifier: Path) -> None:
    put(cache, classifier)
    with pytest.raises(
        UsageError, match=r"hf:org/other is not in the local cache .*; add --download to fetch it, or run hf "
    ):
        find_model("hf:org/other")
    with pytest.raises(UsageError, match=r"\(revision v2\) is not in the local cache"):
        find_model("hf:org/tiny", "v2")


def test_a_download_fetches_what_an_export_reads(cache: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.onnx", "pytorch_model.bin", "modeling_evil.py", "vocab.txt"):
        (own / name).write_text("x")
    with small_hub("org/tiny", own, COMMIT) as (address, fetched):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        saved = find_model("hf:org/tiny", download=True)
        assert (saved.commit, saved.config.model_type) == (COMMIT, "bert")
        assert sorted(fetched) == ["config.json", "model.safetensors", "vocab.txt"]
        with pytest.raises(UsageError, match="--download: hf:org/other can't be fetched .*check its name") as told:
            find_model("hf:org/other", download=True)
        assert "\n" not in str(told.value)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(UsageError, match="while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"):
            find_model("hf:org/tiny", download=True)
    assert find_model("hf:org/tiny").commit == COMMIT


@pytest.mark.parametrize("ref", ["hf:", "hf:a/b/c", "hf:../x", "hf:a b", "hf:a\x1b[2J", "hf:org/.."])
def test_what_names_no_repository(ref: str) -> None:
    with pytest.raises(UsageError, match="expected hf:ORG/NAME") as told:
        find_model(ref)
    assert "\x1b" not in str(told.value)


def test_what_is_no_folder(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a file; give the folder that it lies in"):
        find_model(str(classifier / "model.safetensors"))
    with pytest.raises(UsageError, match="there is no such folder; a repository of the Hub is hf:org/tiny"):
        find_model("org/tiny")
    with pytest.raises(UsageError, match="--revision: .* is a folder"):
        find_model(str(classifier), "main")
    with pytest.raises(UsageError, match="--download: .* is a folder"):
        find_model(str(classifier), download=True)
