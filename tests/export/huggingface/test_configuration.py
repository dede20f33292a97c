"""config.json of a folder: what is taken, and what is refused for what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attn_export.huggingface import find_model
from attn_runtime.errors import UsageError
from support.huggingface.folders import edit_json


def refused(folder: Path) -> str:
    with pytest.raises(UsageError) as told:
        find_model(str(folder))
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_folder_is_found(classifier: Path) -> None:
    saved = find_model(str(classifier))
    assert (saved.folder, saved.repository, saved.commit, saved.notes) == (classifier, None, None, [])
    assert saved.config.model_type == "bert" and saved.config.num_labels == 3


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "there is no config.json in it (it holds nothing)"),
        ({"notes.txt": "x"}, "it holds notes.txt"),
        ({"adapter_config.json": '{"base_model_name_or_path": "org/base"}'}, 'a PEFT adapter of "org/base"'),
        ({"model_index.json": "{}"}, "a pipeline of diffusers"),
        ({"model-q4.gguf": "GGUF"}, "GGUF files"),
        ({"params.json": "{}"}, "their makers' own layout"),
        ({"config.json": '{"architecture": "resnet50"}'}, "give timm:NAME"),
        ({"config.json": '{"dim": 3}'}, "no model_type (it has dim)"),
        ({"config.json": '{"model_type": "brt"}'}, "did you mean bert?"),
        ({"config.json": '{"model_type": "\\u001b[2J"}'}, 'model_type "\\u001b[2J"'),
        ({"config.json": '{"model_type": ["bert"]}'}, 'model_type ["bert"]'),
        ({"config.json": '{"model_type": "bert", "hidden_size": "x"}'}, "config.json makes no bert ("),
    ],
)
def test_what_is_no_saved_model_is_told_for_what_it_is(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert says in refused(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"auto_map": {"AutoModel": "evil.py--Evil"}}, "config.json has auto_map"),
        ({"auto_map": {"AutoModel": "evil.py--Evil"}}, "transformers has BertForSequenceClassification itself"),
        ({"text_config": {"auto_map": {"AutoConfig": "evil.Evil"}}}, "config.json has text_config.auto_map"),
        ({"fusion_config": {"a": 1}}, "config.json has fusion_config"),
        ({"transformers_weights": "../other.bin"}, "config.json has transformers_weights"),
        ({"quantization_config": {"quant_method": "gptq"}}, 'quantised (quantization_config: "gptq")'),
        ({"text_config": {"quantization_config": {"bits": 4}}}, "quantised (text_config.quantization_config"),
    ],
)
def test_what_a_config_may_not_ask_for(own: Path, changes: dict[str, Any], says: str) -> None:
    (own / "evil.py").write_text("raise SystemExit('it ran')")
    edit_json(own / "config.json", **changes)
    assert says in refused(own)


def test_an_adapter_beside_a_model_is_refused(own: Path) -> None:
    (own / "adapter_config.json").write_text("{}")
    assert "merge it into its base model" in refused(own)


def test_an_implementation_of_attention_is_not_taken_from_a_config(own: Path) -> None:
    """transformers 5.23 takes it over, and would fetch compiled code from the Hub for it."""
    edit_json(own / "config.json", attn_implementation="someone/kernel")
    saved = find_model(str(own))
    assert saved.config._attn_implementation is None
    assert any('attn_implementation of config.json ("someone/kernel") is left out' in note for note in saved.notes)


def test_the_config_of_an_older_sentence_transformer_lies_in_a_folder(own: Path) -> None:
    inner = own / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors"):
        (own / name).rename(inner / name)
    (own / "modules.json").write_text(json.dumps([{"path": "0_Transformer", "type": "x"}]))
    assert find_model(str(own)).config.model_type == "bert"
