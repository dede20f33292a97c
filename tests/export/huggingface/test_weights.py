"""Weights of a folder: read without running anything, and refused where they are not those of its config.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from attn_export.huggingface import Weights, find_model, kind_of, load_weights
from attn_runtime.errors import CheckpointError
from safetensors.torch import load_file, save_file
from support.huggingface.folders import edit_json, tiny_folder


def load(folder: Path, task: str | None = None) -> tuple[Weights, list[str]]:
    saved = find_model(str(folder))
    return load_weights(kind_of(saved, task).architecture, saved), saved.notes


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as told:
        load(folder)
    assert "\n" not in str(told.value)
    return str(told.value)


def same(model: Any, other: Any) -> bool:
    mine, theirs = model.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_the_weights_are_what_from_pretrained_loads(classifier: Path) -> None:
    weights, notes = load(classifier)
    assert same(weights.model, transformers.AutoModelForSequenceClassification.from_pretrained(classifier))
    assert not weights.model.training and not any(p.requires_grad for p in weights.model.parameters())
    assert (weights.missing, weights.file.path.name, notes) == ((), "model.safetensors", [])


def test_half_precision_is_loaded_as_float32_and_said(own: Path) -> None:
    tensors = {k: v.to(torch.bfloat16) for k, v in load_file(own / "model.safetensors").items()}
    save_file(tensors, own / "model.safetensors", metadata={"format": "pt"})
    edit_json(own / "config.json", dtype="bfloat16")
    weights, notes = load(own)
    assert {p.dtype for p in weights.model.parameters()} == {torch.float32}
    assert torch.equal(weights.model.classifier.weight, tensors["classifier.weight"].float())
    assert ["the folder holds bfloat16 weights" in note for note in notes] == [True]


def test_a_pickle_is_read_without_its_objects(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file names is not even imported; safetensors beside it are taken first."""
    (tmp_path / "named_in_a_pickle.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import named_in_a_pickle

    state: dict[str, Any] = {k: v + 1 for k, v in load_file(own / "model.safetensors").items()}
    torch.save({**state, "thing": named_in_a_pickle.Thing()}, own / "pytorch_model.bin")
    del sys.modules["named_in_a_pickle"], named_in_a_pickle
    assert load(own)[0].file.path.name == "model.safetensors"
    (own / "model.safetensors").unlink()
    weights, notes = load(own)
    assert torch.equal(weights.model.classifier.bias, state["classifier.bias"])
    assert "named_in_a_pickle" not in sys.modules
    assert any("objects beside the tensors are left out, unread" in note for note in notes)


def test_an_older_pickle_that_is_code_is_refused(own: Path) -> None:
    (own / "model.safetensors").unlink()
    (own / "pytorch_model.bin").write_bytes(b"\x80\x02cbuiltins\nprint\nX\x03\x00\x00\x00ran\x85R.")
    assert "loading it could run code, so it was not loaded" in refused(own)


def test_parts_are_read_by_their_index_and_a_missing_one_is_named(classifier: Path, tmp_path: Path) -> None:
    whole = transformers.AutoModelForSequenceClassification.from_pretrained(classifier)
    whole.save_pretrained(tmp_path, max_shard_size="40KB")
    parts = sorted(tmp_path.glob("model-*.safetensors"))
    weights, _ = load(tmp_path)
    assert same(weights.model, whole) and len(weights.file.parts) == len(parts) > 1
    parts[1].unlink()
    assert f"its part {parts[1].name} is missing; fetch it" in refused(tmp_path)


def test_weights_of_another_shape_are_refused_and_not_made_up(own: Path) -> None:
    edit_json(own / "config.json", vocab_size=98)
    assert "bert.embeddings.word_embeddings.weight is [97, 32], and [98, 32] in the model" in refused(own)


def test_a_head_that_is_not_there_is_missing_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    tiny_folder("bert_mlm", tmp_path)
    weights, notes = load(tmp_path, "text-classification")
    assert weights.missing == (
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
        "classifier.weight",
    )
    assert any("has no place for 5 of 42 tensors, which are left out: cls.predictions" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "says"),
    [("tf_model.h5", "holds no weights for TensorFlow alone (tf_model.h5)"), ("model.gguf", "for llama.cpp (GGUF) alone"),
     ("notes.txt", "(it holds config.json, notes.txt)")],
)  # fmt: skip
def test_a_folder_without_weights_says_what_it_holds(own: Path, name: str, says: str) -> None:
    (own / "model.safetensors").rename(own / name)
    assert says in refused(own)


@pytest.mark.parametrize(
    ("name", "dtype"), [("bert.pooler.dense.weight", torch.int8), ("bert.pooler.dense.weight", torch.float8_e4m3fn)]
)
def test_quantised_weights_are_refused(own: Path, name: str, dtype: torch.dtype) -> None:
    tensors = load_file(own / "model.safetensors")
    save_file({**tensors, name: tensors[name].to(dtype)}, own / "model.safetensors", metadata={"format": "pt"})
    assert f"is quantised ({name} is {str(dtype)[6:]})" in refused(own)


def test_a_mask_that_older_versions_saved_among_the_weights_is_left_out(own: Path) -> None:
    tensors = load_file(own / "model.safetensors")
    mask = torch.ones(1, 1, 4, 4, dtype=torch.uint8).tril()
    save_file({**tensors, "h.0.attn.bias": mask}, own / "model.safetensors", metadata={"format": "pt"})
    saved = find_model(str(own))
    assert load_weights(kind_of(saved).architecture, saved).missing == ()
    assert any("h.0.attn.bias" in note for note in saved.notes)


def test_a_damaged_file_is_refused(own: Path) -> None:
    data = (own / "model.safetensors").read_bytes()
    (own / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert "is not a whole safetensors file" in refused(own)
    (own / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "a Git LFS pointer" in refused(own)


def test_a_config_that_makes_no_model_is_one_line(own: Path) -> None:
    edit_json(own / "config.json", num_attention_heads=5)
    assert "can't be loaded into BertForSequenceClassification" in refused(own)


def test_an_index_may_not_leave_the_folder(own: Path) -> None:
    (own / "model.safetensors").unlink()
    (own / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../x.safetensors"}}))
    assert "expected a file in the same folder" in refused(own)
