"""Where a saved model lies: a folder, or hf:ORG/NAME in the cache that huggingface_hub keeps."""

from __future__ import annotations

import re
from pathlib import Path

from attn_runtime.errors import UsageError
from attn_runtime.escape import printable, shell_words
from attn_runtime.files import irregular, is_file, is_folder, not_utf8

from .configuration import read_configuration
from .library import offline, transformers, words_of
from .saved_model import MODEL_CARD, READ, SavedModel

PREFIX = "hf:"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: What is fetched of a repository; weights that are no code among them.
_WANTED = [*(f"*{end}" for end in READ), MODEL_CARD, "*.safetensors"]


def find_model(ref: str, revision: str | None = None, download: bool = False) -> SavedModel:
    """The model in the folder `ref`, or in the local cache as hf:ORG/NAME, of `revision` (a branch, tag or commit).

    Nothing of the folder runs. The network is touched with `download` alone. Raises UsageError for what is not there, and
    for a folder that is no saved model of transformers, with what it is instead.
    """
    if ref.startswith(PREFIX):
        repository = ref.removeprefix(PREFIX)
        if not _REPOSITORY.fullmatch(repository) or ".." in repository:
            raise UsageError(f"{printable(ref)}: expected hf:ORG/NAME, as in hf:google-bert/bert-base-uncased")
        transformers()  # before minutes of a download
        folder = _downloaded(repository, revision) if download else _cached(repository, revision)
        commit = folder.name if _COMMIT.fullmatch(folder.name) else None
        return _saved(folder, repository, commit)
    for option, given in (("--revision", revision), ("--download", download)):
        if given:
            raise UsageError(f"{option}: {printable(ref)} is a folder, and has no other; name hf:ORG/NAME")
    folder = Path(ref).expanduser()
    if is_file(folder):
        raise UsageError(
            f"{printable(ref)} is a file; give the folder that it lies in: {printable(str(folder.parent))}"
        )
    if not is_folder(folder):
        raise UsageError(f"{printable(ref)}: {irregular(folder) or 'there is no such folder'}{_hint(ref)}")
    if problem := not_utf8(folder):
        raise UsageError(f"{printable(ref)}: its path {problem}")
    return _saved(folder, None, None)


def _saved(folder: Path, repository: str | None, commit: str | None) -> SavedModel:
    notes: list[str] = []
    return SavedModel(folder, repository, commit, read_configuration(folder, notes), notes)


def _hint(ref: str) -> str:
    if _REPOSITORY.fullmatch(ref) and ref.count("/") == 1:
        return f"; a repository of the Hub is hf:{ref}"
    return "; expected one that save_pretrained has made, or hf:ORG/NAME"


def _cached(repository: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        with offline():
            # Asked for all files, huggingface_hub (2.4) refuses what was fetched by pattern, as by --download and by
            # from_pretrained. What else is lacking is told by who reads it.
            asked = ["config.json"]
            return Path(snapshot_download(repository, revision=revision, allow_patterns=asked, local_files_only=True))
    except HFValidationError as problem:
        raise UsageError(
            f"hf:{repository}: no name of a repository ({words_of(problem)}); expected hf:ORG/NAME"
        ) from problem
    except (LocalEntryNotFoundError, OSError) as problem:
        of = f" (revision {printable(revision)})" if revision else ""
        raise UsageError(
            f"hf:{repository}{of} is not in the local cache {constants.HF_HUB_CACHE}; add --download to fetch it, or run "
            f"{shell_words('hf', 'download', repository, *(['--revision', revision] if revision else []))}"
        ) from problem


def _downloaded(repository: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise UsageError(
            f"--download: hf:{repository} can't be fetched while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set; unset it"
        )
    try:
        names = HfApi().list_repo_files(repository, revision=revision)
        # A pickle is the second choice, and fetched where there is no other.
        pickles = [] if any(n.endswith(".safetensors") for n in names) else ["*.bin"]
        return Path(snapshot_download(repository, revision=revision, allow_patterns=_WANTED + pickles))
    except Exception as problem:  # of the network, the Hub, the disk: what each library below it raises
        raise UsageError(
            f"--download: hf:{repository} can't be fetched ({words_of(problem)}); check its name, --revision, the network, and "
            "for a gated repository hf auth login"
        ) from problem
