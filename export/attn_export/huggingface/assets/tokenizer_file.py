"""The tokenizer of a saved model's folder, as transformers reads it, and as a tokenizer.json that a bundle can keep."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from attn_runtime.errors import BundleError, UsageError
from attn_runtime.escape import printable
from attn_runtime.files import MAX_ASSET_BYTES, is_file, parse_json

from ...quiet import captured_output
from .. import SavedModel, words_of
from .sentencepiece_model import from_sentencepiece

FILE = "tokenizer.json"
#: Files that hold a vocabulary, in the order in which they are looked at; tokenizer_config.json alone is no tokenizer.
VOCABULARIES = (FILE, "vocab.txt", "vocab.json", "tekken.json")
_SENTENCEPIECE = (".model", ".spm")


@dataclass(frozen=True)
class Library:
    """
    library  transformers' tokenizer of the folder
    made     what it would write as tokenizer.json; None where it is written in Python and has none
    kept     tokenizer.json of the folder, None where there is none
    files    the vocabulary files that are there
    foreign  whether `made` is ours, around a sentencepiece model that knows the letters of its own language alone
    """

    library: Any
    made: dict[str, Any] | None
    kept: dict[str, Any] | None
    files: tuple[str, ...]
    foreign: bool = False


def load_tokenizer(saved: SavedModel) -> Library | None:
    """None where the folder has none, or one that only its own Python code can be, which a note tells.

    Raises UsageError for what can't be read, and where sentencepiece is missing.
    """
    spm = tuple(
        sorted(file.name for file in saved.folder.iterdir() if file.suffix in _SENTENCEPIECE and file.is_file())
    )
    files = (*(name for name in VOCABULARIES if is_file(saved.folder / name)), *spm)
    settings = saved.read_json("tokenizer_config.json")
    if not files and not settings:
        saved.notes.append("the folder has no tokenizer: the bundle takes tokens, no texts")
        return None
    if settings.get("auto_map"):
        raise UsageError(
            f"{named(saved)}: tokenizer_config.json wants code from the folder run (auto_map); it is never run: take the key "
            "out, where transformers has a tokenizer of its own for it"
        )
    kept = saved.read_json(FILE) or None
    if kept is None and spm and find_spec("sentencepiece") is None:
        # transformers (5.23) says that tiktoken is missing, which is of no help here.
        raise UsageError(
            f"{named(saved)}: its tokenizer is a sentencepiece model ({printable(spm[0], 60)}), which the sentencepiece library "
            "reads: pip install sentencepiece protobuf"
        )
    library = _library(saved, files)
    made = made_by(library)
    foreign = made is None and kept is None
    if foreign:
        with captured_output():
            made = from_sentencepiece(library)
        if made is None:
            told = f"{type(library).__name__} of transformers, which is written in Python"
            saved.notes.append(
                f"no tokenizer.json can say what the folder's tokenizer does ({told}): the bundle takes tokens"
            )
            return None
    return Library(library, made, kept, files, foreign)


def read_by_transformers(saved: SavedModel) -> Any:
    """transformers' tokenizer of the folder; raises whatever a file that is not ours makes it raise."""
    from transformers import AutoTokenizer

    with captured_output():
        # Without the config, transformers reads it again, and asks the network about its name.
        return AutoTokenizer.from_pretrained(
            saved.folder, config=saved.config, local_files_only=True, trust_remote_code=False
        )


def _library(saved: SavedModel, files: tuple[str, ...]) -> Any:
    try:
        return read_by_transformers(saved)
    except Exception as error:
        found = ", ".join(files) or "tokenizer_config.json"
        raise UsageError(
            f"{named(saved)}: transformers can't read its tokenizer ({printable(found, 100)}): {words_of(error, 160)}; save it "
            "again with tokenizer.save_pretrained, or move these files away, and the bundle takes tokens"
        ) from error


def made_by(library: Any) -> dict[str, Any] | None:
    """What a tokenizer of transformers would write as tokenizer.json; None where it is written in Python and has none."""
    backend = getattr(library, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        return None
    made: dict[str, Any] = json.loads(backend.to_str())
    return made


def fits_a_bundle(saved: SavedModel, tokenizer: dict[str, Any]) -> bool:
    """Whether a reader of bundles would take it; a note where it is too large. Raises UsageError for what is no strict JSON."""
    try:
        data = json.dumps(tokenizer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        parse_json(data, FILE)
    except (ValueError, RecursionError, BundleError) as error:
        told = " ".join(str(error).split()).removesuffix("; re-export the bundle or restore the file")
        raise UsageError(
            f"{named(saved)}: its tokenizer holds what a bundle can't ({printable(told, 120)}); save it again"
        ) from error
    if len(data) > MAX_ASSET_BYTES:
        saved.notes.append(
            f"the tokenizer has {len(data):,} bytes as JSON, more than the {MAX_ASSET_BYTES:,} that a bundle's reader takes: "
            "the bundle takes tokens"
        )
    return len(data) <= MAX_ASSET_BYTES


def named(saved: SavedModel) -> str:
    """What messages call the folder."""
    return f"folder {printable(saved.folder.name or str(saved.folder), 80)}"
