"""A folder to a proven bundle: every check of an export, and the bundle against its folder afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import attn_export
import numpy as np
import pytest
import torch
import transformers
from attn_export import Console, ExportOptions, ExportResult, export
from attn_export.source.library_models import load_huggingface
from attn_runtime import open_session
from attn_runtime.bundle import Bundle
from attn_runtime.errors import CaptureError, UsageError
from attn_runtime.preprocess import TokenText
from support.huggingface.folders import edit_json, sentence_folder, tiny_folder
from support.huggingface.tiny_pretrained import CONFIGS, tiny_model
from support.models.tiny_texts import byte_tokenizer
from tokenizers import Tokenizer

QUICK = ExportOptions(sweep=0)
MEAN = ("Pooling", {"pooling_mode_mean_tokens": True})


def exported(folder: Path, target: Path, **options: Any) -> ExportResult:
    return export(str(folder), target, options=ExportOptions(sweep=0, **options))


def test_a_classifier_of_texts_that_only_the_task_names(tmp_path: Path) -> None:
    folder = tiny_folder("bert_classifier", tmp_path / "topics")
    edit_json(folder / "config.json", architectures=None)
    options = ExportOptions(sweep=0, task="text-classification")
    result = export(str(folder), tmp_path / "a.attn", dims=["length=1:8:24"], options=options)
    assert result.worst_error < 2e-5
    bundle = Bundle.open(result.path)
    manifest = bundle.manifest
    assert manifest["task"] == "text-classification"
    told = manifest["source"]
    assert (told["kind"], told["ref"], told["config"]) == ("huggingface", "topics", {"task": "text-classification"})
    assert told["huggingface"]["architecture"] == "BertForSequenceClassification"
    assert str(tmp_path) not in json.dumps(manifest)
    assert [str(spec) for spec in bundle.graph().inputs] == [
        "input_ids: int64[batch=1..32, length=1..24]",
        "attention_mask: bool[batch=1..32, length=1..24]",
    ]
    with open_session(result.path) as session:
        ids, mask = np.array([[4, 5, 6]]), np.ones((1, 3), bool)
        found = session.run({"input_ids": ids, "attention_mask": mask})["logits"]
    wanted = transformers.AutoModelForSequenceClassification.from_pretrained(folder)(torch.tensor(ids)).logits
    assert np.allclose(found, wanted.detach(), atol=1e-5)
    checked = attn_export.verify(result.path, str(folder))
    assert checked.replay is not None and checked.live is not None and len(checked.live) > 3
    with pytest.raises(UsageError, match="--task summarization: transformers has no bert for it"):
        attn_export.verify(result.path, str(folder), task="summarization")


@pytest.mark.full
def test_a_pooled_embedding_is_held_against_padding(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "m", MEAN, ("Normalize", {}))
    result = exported(folder, tmp_path / "a.attn")
    graph = Bundle.open(result.path).manifest["graphs"]["model"]
    assert [tensor["name"] for tensor in graph["outputs"]] == ["embeddings"]
    (heeded,) = [one for one in graph["consistency"] if one["name"] == "padded-attention_mask"]
    assert "PyTorch's own answers depend" not in json.dumps(heeded)
    assert not [note for note in result.notes if "padding" in note]


@pytest.mark.full
@pytest.mark.parametrize(
    "kind", ["bert_qa", "bert_mlm", "roberta", "qwen2_classifier", "vit", "clip", "siglip", "wav2vec2_ctc"]
)
def test_other_kinds(tmp_path: Path, kind: str) -> None:
    folder = tiny_folder(kind, tmp_path / "m")
    result = exported(folder, tmp_path / "a.attn")
    assert result.worst_error < 2e-5
    assert attn_export.verify(result.path, str(folder)).live is not None


@pytest.mark.full
def test_two_towers_share_what_they_have_and_are_held_against_their_folder(tmp_path: Path) -> None:
    folder = tiny_folder("clip", tmp_path / "m")
    result = exported(folder, tmp_path / "a.attn", graphs=("text", "image"))
    assert list(Bundle.open(result.path).graphs) == ["text", "image"]
    assert attn_export.verify(result.path, str(folder)).live is not None


def test_the_name_and_the_task_that_were_asked_for(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "m", MEAN)
    assert load_huggingface(str(folder)).spec.task == "sentence-similarity"
    body = load_huggingface(str(folder), task="feature-extraction")
    assert (body.name, body.spec.task) == ("m", "feature-extraction")
    assert [spec.name for spec in body.spec.graph.outputs] == ["last_hidden_state", "pooler_output"]


@pytest.mark.parametrize(("asked", "told"), [("translation", "translation"), (None, "text2text-generation")])
def test_a_generator_keeps_the_word_for_its_task(tmp_path: Path, asked: str | None, told: str) -> None:
    tiny_model("t5", num_layers=1, num_decoder_layers=1).save_pretrained(tmp_path / "m")
    assert load_huggingface(str(tmp_path / "m"), task=asked).spec.task == told


def test_a_generator_is_not_cut_in_graphs(tmp_path: Path) -> None:
    tiny_folder("qwen2", tmp_path / "m")
    with pytest.raises(UsageError, match=r"--graphs text,image: .* writes token by token"):
        load_huggingface(str(tmp_path / "m"), graphs=("text", "image"))


def test_nothing_of_a_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, wherever transformers would look for some, and a tokenizer class of its own."""
    folder = tiny_folder("bert_classifier", tmp_path / "m")
    names = (
        "modeling_bert.py",
        "configuration_bert.py",
        "tokenization_own.py",
        "handler.py",
        "custom_generate/generate.py",
    )
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise SystemExit('it ran')")
    shutil.copy(folder / "handler.py", folder / "__init__.py")
    monkeypatch.chdir(folder)
    assert load_huggingface(".").spec.task == "text-classification"


def test_an_older_sentence_transformer_has_its_model_in_a_folder(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "m", MEAN)
    wanted = load_huggingface(str(folder))
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(inner / name)
    edit_json(inner / "tokenizer_config.json", model_max_length=24)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    found = load_huggingface(str(folder))
    assert found.spec.graph.inputs[0].dims[1].max == 24
    assert torch.equal(found.module.model.pooler.dense.weight, wanted.module.model.pooler.dense.weight)
    files = [one["file"] for one in found.provenance["huggingface"]["files"]]
    assert files[0] == "0_Transformer/model.safetensors" and "1_Pooling/config.json" in files
    assert load_huggingface(str(folder), task="feature-extraction").spec.graph.inputs[0].dims[1].max == 24


def test_what_a_model_of_pictures_writes_has_a_text(tmp_path: Path) -> None:
    sees = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, image_size=16, patch_size=8
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        sees, transformers.GPT2Config(**CONFIGS["gpt2"])
    )
    config.decoder_start_token_id = config.pad_token_id = 0
    transformers.VisionEncoderDecoderModel(config).save_pretrained(tmp_path)
    loaded = load_huggingface(str(tmp_path))
    assert loaded.spec.assets is not None and "tokenizer.json" not in loaded.spec.assets()
    assert any("no tokenizer (" in note and note.endswith("answers are token ids") for note in loaded.notes)
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    backend = Tokenizer.from_str(json.dumps(byte_tokenizer()))
    own = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", eos_token="[END]")
    own.save_pretrained(tmp_path)
    loaded = load_huggingface(str(tmp_path))
    assert loaded.spec.assets is not None
    assets = loaded.spec.assets()
    assert set(assets) == {"image.json", "tokenizer.json"}
    tokens = [3, 4, 5, 6, 7, 1]
    assert (
        TokenText(assets["tokenizer.json"], "test").decode(tokens)
        == own.decode(tokens, skip_special_tokens=True)
        == "café"
    )


def test_a_size_that_the_model_takes_alone_is_fixed_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Reformer walks over the rows of a batch one by one: no graph has a row more than the example."""
    config = transformers.ReformerConfig(
        vocab_size=97, hidden_size=32, num_attention_heads=2, attention_head_size=16, feed_forward_size=48,
        attn_layers=["local"], local_attn_chunk_length=4, axial_pos_shape=[8, 8], axial_pos_embds_dim=[16, 16],
        max_position_embeddings=64,
    )  # fmt: skip
    transformers.ReformerModel(config).save_pretrained(tmp_path / "m")
    result = export(str(tmp_path / "m"), tmp_path / "a.attn", dims=["length=10"], options=QUICK, console=Console())
    told = " ".join(capfd.readouterr().err.split())
    assert "dim batch was asked to be 1..32 but torch.export fixes it to 2" in told
    assert "the graph is made with --dim length=10 --dim batch=1, and takes no other sizes" in told
    assert result.fixed == ("batch=1",)
    specs = Bundle.open(result.path).graph().inputs
    assert specs and all((spec.dims[0].min, spec.dims[0].max) == (1, 1) for spec in specs)
    with pytest.raises(CaptureError, match="fix it with --dim batch=2"):
        export(str(tmp_path / "m"), tmp_path / "b.attn", dims=["batch=1:2:4", "length=10"], options=QUICK)
    assert not (tmp_path / "b.attn").exists()
