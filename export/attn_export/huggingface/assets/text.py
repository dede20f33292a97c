"""tokenizer.json and text.json of a bundle: how texts become the tokens that a saved model takes.

transformers is asked what its own tokenizer of the folder makes of texts of ours; a bundle's tokenizer.json makes the same
of them, or there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attn_runtime.escape import printable
from attn_runtime.spec import TensorSpec

from .. import SavedModel
from .tokenizer_checks import check_size, check_words, held_against
from .tokenizer_file import Library, fits_a_bundle, load_tokenizer

#: What the token inputs of graphs are called, with the masks that go with them: of a task, of a prompt, of an encoder.
_NAMES = (("input_ids", "attention_mask"), ("tokens", "tokens_mask"), ("source", "source_mask"))
_TYPES = "token_type_ids"
#: What such a graph takes besides, which no text says.
_BESIDE = frozenset({"bbox"})


def text_assets(saved: SavedModel, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """{"tokenizer.json": ..., "text.json": ...} for a graph with these inputs, {} where the folder has no tokenizer, and where it
    has one that no tokenizer.json can say, as a note then tells.

    A tokenizer.json of the folder is kept as it is where it makes of texts what transformers makes of them, and that is kept
    which transformers has made of it otherwise, or of other files. A chat template is kept as chat_template.json, and not run.

    A tokenizer that knows nearly nothing of any text, as where its vocabulary was not read, is left out, as a note tells.

    Raises UsageError for a tokenizer of another size than the model, for code in the folder, for a damaged file, and where a
    library is missing that reads it.
    """
    found = {spec.name: spec for spec in inputs}
    names = next(((name, mask) for name, mask in _NAMES if name in found), None)
    if names is None or found[names[0]].dtype != "int64":
        return {}
    loaded = load_tokenizer(saved)
    if loaded is None:
        return {}
    tokens, mask = found[names[0]], found.get(names[1])
    pairs = _TYPES in found
    rows = tokens.high or int(getattr(saved.config.get_text_config(), "vocab_size", 0))
    held = held_against(saved, loaded, pairs)
    if held is None:
        return {}
    tokenizer, own = held
    if not check_words(saved, loaded, tokenizer, own, rows, writes=names[0] != "input_ids"):
        return {}
    check_size(saved, own, rows)
    if not fits_a_bundle(saved, tokenizer):
        return {}
    assets: dict[str, Any] = {"tokenizer.json": tokenizer}
    if others := sorted(found.keys() & _BESIDE):
        saved.notes.append(
            f"the tokenizer is kept, and tokens are given as arrays: a text alone makes no {' and '.join(others)}"
        )
    elif len(tokens.dims) == 2:
        assets["text.json"] = _recipe(saved, loaded, tokenizer, tokens, mask, rows) | (
            {"types": _TYPES} if pairs else {}
        )
    if template := _chat_template(loaded.library):
        assets["chat_template.json"] = {"template": template}
        saved.notes.append(
            "the folder's chat template is kept as chat_template.json and never run: prompts are taken as they are"
        )
    return assets


def _recipe(
    saved: SavedModel,
    loaded: Library,
    tokenizer: dict[str, Any],
    tokens: TensorSpec,
    mask: TensorSpec | None,
    rows: int,
) -> dict[str, Any]:
    library = loaded.library
    recipe: dict[str, Any] = {
        "input": tokens.name,
        "mask": mask.name if mask is not None else None,
        "pad": _pad(saved, library, rows),
        "unknown": _unknown(tokenizer),
    }
    most = saved.read_json("sentence_bert_config.json").get("max_seq_length")
    if isinstance(most, int) and 0 < most < tokens.dims[1].max:
        recipe["max_length"] = most
        saved.notes.append(
            f"texts have at most {most} tokens, as sentence_bert_config.json says; --truncate cuts longer ones"
        )
    if cut := (tokenizer.get("truncation") or {}).get("max_length"):
        saved.notes.append(
            f"tokenizer.json cuts texts at {cut} tokens; a bundle refuses those that are too long, and --truncate cuts them"
        )
    if getattr(library, "truncation_side", "right") == "left":
        recipe["truncation"] = "left"
    if language := getattr(library, "src_lang", None):
        saved.notes.append(
            f"texts are read as {printable(str(language), 20)}: that is the language that the folder's tokenizer is set to"
        )
    if isinstance(token := getattr(library, "mask_token_id", None), int):
        recipe["mask_token"] = token
    return recipe


def _pad(saved: SavedModel, library: Any, rows: int) -> int:
    text = saved.config.get_text_config()
    known = (
        getattr(library, "pad_token_id", None), getattr(text, "pad_token_id", None), getattr(library, "eos_token_id", None)
    )  # fmt: skip
    for token in known:
        if isinstance(token, int) and 0 <= token < rows:
            return token
    saved.notes.append("no token stands for padding; it is filled with 0, which the mask hides")
    return 0


def _unknown(tokenizer: dict[str, Any]) -> int | None:
    """The token of what the vocabulary lacks, as the file itself says: a byte-level one that names a token for it has no use."""
    model = tokenizer["model"]
    if isinstance(number := model.get("unk_id"), int):
        return number
    word, words = model.get("unk_token"), model.get("vocab")
    if word is None or not isinstance(words, dict):
        return None
    added = {entry["content"]: entry["id"] for entry in tokenizer.get("added_tokens") or ()}
    token = words.get(word, added.get(word))
    return token if isinstance(token, int) else None


def _chat_template(library: Any) -> str | None:
    template = getattr(library, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) and template else None
