"""config.json of a folder, and what is no saved model of transformers told for what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attn_runtime.errors import AttnError, UsageError, did_you_mean
from attn_runtime.escape import printable
from attn_runtime.files import shown

from .library import offline, transformers, words_of
from .saved_model import inside, read_object, read_value

#: Keys by which a config.json chooses code or files to load. None of them is followed.
_CHOOSES_CODE = {
    "auto_map": "names code in the folder, which is not run",
    "fusion_config": "asks for other layers than the model's",
    "transformers_weights": "names a file of weights of its own",
}
_QUANTISED = ("quantization_config", "compression_config")


def read_configuration(folder: Path, notes: list[str]) -> Any:
    """The transformers.PretrainedConfig of `folder`; what is left out of it goes into `notes`.

    Raises UsageError for a folder without config.json, and for a config of an unknown model type, of code in the folder,
    or of quantised weights.
    """
    library = transformers()
    inner = model_folder(folder)
    raw = read_object(inner, "config.json")
    if not raw:
        raise UsageError(f"{folder}: {_without_config(folder)}")
    if (folder / "adapter_config.json").is_file():
        raise UsageError(f"{folder} holds a PEFT adapter beside its model; {_MERGE}")
    _refuse_code(folder, raw, library)
    for where, level in _levels(raw):
        if key := next((k for k in _QUANTISED if level.get(k)), None):
            method = level[key].get("quant_method", "?") if isinstance(level[key], Mapping) else "?"
            raise UsageError(
                f"{folder} is quantised ({where}{key}: {shown(method)}); export what it was quantised from, and give "
                "--fp16 or another precision"
            )
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in library.CONFIG_MAPPING:
        raise UsageError(f"{folder}: {_unknown(raw, library)}")
    try:
        with offline():
            config = library.AutoConfig.from_pretrained(str(inner), local_files_only=True, trust_remote_code=False)
    except AttnError:
        raise
    except Exception as problem:  # each config checks itself in its own words
        raise UsageError(
            f"{folder}: config.json makes no {kind} ({words_of(problem)}); save the model again"
        ) from problem
    for where, level in _levels(raw):
        for key in ("attn_implementation", "_attn_implementation", "experts_implementation"):
            if level.get(key) is not None:
                notes.append(f"{where}{key} of config.json ({shown(level[key], 40)}) is left out; the library chooses")
    _forget_implementations(config)
    return config


_MERGE = "merge it into its base model (PEFT: model.merge_and_unload().save_pretrained(FOLDER)), and export that FOLDER"


def model_folder(folder: Path) -> Path:
    """Where config.json, weights and tokenizer lie: older sentence-transformers have them in a folder of their own."""
    modules = read_value(folder, "modules.json")
    first = modules[0] if isinstance(modules, list) and modules and isinstance(modules[0], dict) else {}
    path = first.get("path", "")
    if not isinstance(path, str) or not path or (folder / "config.json").is_file():
        return folder
    return inside(folder, path)


def configs_of(config: Any) -> list[Any]:
    """A transformers.PretrainedConfig, and those of its parts that it has."""
    parts = (getattr(config, name, None) for name in getattr(config, "sub_configs", {}))
    return [config, *(part for part in parts if part is not None)]


def _without_config(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    ending = {name.rpartition(".")[2] for name in names}
    if "adapter_config.json" in names:
        base = read_object(folder, "adapter_config.json").get("base_model_name_or_path")
        return f"it is a PEFT adapter of {shown(base)}, and no model; {_MERGE}"
    if "model_index.json" in names:
        return "it is a pipeline of diffusers (model_index.json); give the folder of one of its models"
    if "gguf" in ending:
        return "it holds GGUF files, quantised for llama.cpp; export the model that they were made from"
    if "params.json" in names or "consolidated.safetensors" in names:
        return "it holds weights in their makers' own layout (params.json); give the folder that transformers loads"
    return (
        f"there is no config.json in it (it holds {printable(', '.join(names[:6])) or 'nothing'}); expected a folder that "
        "save_pretrained has made. Your own model: package.module:callable"
    )


def _levels(raw: Mapping[str, Any], where: str = "", depth: int = 6) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The object itself, and every object in it: a config holds those of its parts."""
    yield where, raw
    for key, value in raw.items() if depth else ():
        if isinstance(value, Mapping):
            yield from _levels(value, f"{where}{printable(str(key), 40)}.", depth - 1)


def _refuse_code(folder: Path, raw: Mapping[str, Any], library: Any) -> None:
    for where, level in _levels(raw):
        if key := next((k for k in _CHOOSES_CODE if level.get(k)), None):
            names = raw.get("architectures") or [None]
            own = isinstance(names[0], str) and hasattr(library, names[0])
            way = (
                f"remove it: transformers has {names[0]} itself" if own else "load it yourself: package.module:callable"
            )
            raise UsageError(
                f"{folder}: config.json has {where}{key} ({shown(level[key], 60)}), which {_CHOOSES_CODE[key]}; {way}"
            )


def _unknown(raw: Mapping[str, Any], library: Any) -> str:
    kind = raw.get("model_type")
    if kind is None and isinstance(raw.get("architecture"), str):
        return f"config.json is timm's ({shown(raw['architecture'])}); give timm:NAME"
    if kind is None:
        keys = printable(", ".join(list(raw)[:6]))
        return f"config.json has no model_type (it has {keys}); expected one that save_pretrained has written"
    near = did_you_mean(str(kind), list(library.CONFIG_MAPPING))
    return (
        f"config.json is of model_type {shown(kind)}, which transformers {library.__version__} does not know; {near}"
        "Update transformers for a newer kind, or load the model yourself: package.module:callable"
    )


def _forget_implementations(config: Any) -> None:
    """A config may name an implementation of attention, even one that is fetched from the Hub as compiled code.

    Seen in transformers 5.23: "attn_implementation": "org/kernel" in config.json is taken over by AutoConfig.
    """
    for one in configs_of(config):
        one._attn_implementation = None
        one._experts_implementation = None
