"""Inputs and ranges of each kind of model, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from attn_export.huggingface import SavedModel
from attn_export.huggingface.tasks import inputs_of
from attn_runtime.errors import UsageError
from attn_runtime.spec import TensorSpec, Values
from support.huggingface.folders import KINDS, PICTURE, TEXT, edit_json


def declared(model: Any, folder: Path, **settings: Any) -> tuple[list[str], list[str]]:
    saved = SavedModel(folder, None, None, model.config)
    return [str(spec) for spec in inputs_of(model, saved, **settings)], saved.notes


IDS, MASK = "input_ids: int64[batch=1..32, length=1..{}]", "attention_mask: bool[batch=1..32, length=1..{}]"
TYPES = "token_type_ids: int64[batch=1..32, length=1..{}]"


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("bert_classifier", [IDS.format(40), MASK.format(40)]),
        ("bert_qa", [IDS.format(40), MASK.format(40), TYPES.format(40)]),
        ("roberta", [IDS.format(38), MASK.format(38)]),  # two rows of its table are no text's
        ("layoutlm", [IDS.format(40), MASK.format(40), "bbox: int64[batch=1..32, length=1..40, 4]"]),
        ("vit", ["pixel_values: float32[batch=1..32, 3, 32, 32]"]),
        ("wav2vec2_ctc", ["input_values: float32[batch=1..8, samples=1600..32000]"]),
        (
            "clip",
            [
                "input_ids: int64[texts=1..32, length=1..40]",
                "attention_mask: bool[texts=1..32, length=1..40]",
                "pixel_values: float32[images=1..32, 3, 32, 32]",
            ],
        ),
        (
            "bert_choice",
            [
                f"{name}[batch=1..32, choices=1..4, length=1..40]"
                for name in ("input_ids: int64", "attention_mask: bool", "token_type_ids: int64")
            ],
        ),
    ],
)
def test_inputs_come_of_the_class_and_its_config(tmp_path: Path, kind: str, wanted: list[str]) -> None:
    assert declared(KINDS[kind](), tmp_path) == (wanted, [])


@pytest.mark.parametrize(
    ("name", "settings", "wanted"),
    [
        (
            "VideoMAEModel",
            {"image_size": 32, "patch_size": 8, "num_frames": 4},
            "pixel_values: float32[batch=1..32, 4, 3, 32, 32]",
        ),
        (
            "VJEPA2ForVideoClassification",
            {"crop_size": 256, "frames_per_clip": 6},
            "pixel_values_videos: float32[batch=1..2, 6, 3, 256, 256]",
        ),
        (
            "ParakeetForCTC",
            {"encoder_config": {"num_mel_bins": 16, "num_hidden_layers": 1}},
            "input_features: float32[batch=1..8, frames=16..400, 16]",
        ),
    ],
)  # fmt: skip
def test_videos_and_what_a_part_of_the_config_says(tmp_path: Path, name: str, settings: Any, wanted: str) -> None:
    kind = getattr(transformers, name)
    with torch.device("meta"):
        model = kind(kind.config_class(**settings))
    assert wanted in declared(model, tmp_path)[0]


def test_the_range_of_tokens_is_the_table(tmp_path: Path) -> None:
    model = KINDS["bert_classifier"]()
    ids = inputs_of(model, SavedModel(tmp_path, None, None, model.config))[0]
    assert (ids.low, ids.high) == (0, 97)


def test_what_has_no_table_of_tokens_reads_characters(tmp_path: Path) -> None:
    model = transformers.CanineModel(transformers.CanineConfig(**{k: v for k, v in TEXT.items() if k != "vocab_size"}))
    ids = inputs_of(model, SavedModel(tmp_path, None, None, model.config))[0]
    assert (ids.low, ids.high) == (0, 0x110000)


def test_boxes_are_rows_of_the_tables_or_shares_of_the_page(tmp_path: Path) -> None:
    model = KINDS["layoutlm"]()
    boxes = inputs_of(model, SavedModel(tmp_path, None, None, model.config))[-1]
    assert (boxes.low, boxes.high) == (0, 64)
    bros = transformers.BrosModel(transformers.BrosConfig(**TEXT))
    shares = inputs_of(bros, SavedModel(tmp_path, None, None, bros.config))[-1]
    assert str(shares.values) == str(Values("uniform", low=0.0, high=1.0)) and shares.dtype == "float32"


def test_places_are_counted_from_behind_the_padding_in_any_table(tmp_path: Path) -> None:
    model = transformers.IBertModel(transformers.IBertConfig(**TEXT))  # a table of its own kind
    assert declared(model, tmp_path)[0] == [IDS.format(38), MASK.format(38)]


@pytest.mark.parametrize(("limit", "longest"), [(24, 24), (int(1e30), 40), (1000, 40)])
def test_the_limit_of_the_tokenizer_holds_where_it_is_less(tmp_path: Path, limit: int, longest: int) -> None:
    edit_json(tmp_path / "tokenizer_config.json", model_max_length=limit)
    assert declared(KINDS["bert"](), tmp_path)[0][0] == IDS.format(longest)


def test_long_contexts_are_cut_and_said(tmp_path: Path) -> None:
    model = transformers.BertModel(transformers.BertConfig(**{**TEXT, "max_position_embeddings": 2048}))
    found, notes = declared(model, tmp_path)
    assert found[0] == "input_ids: int64[batch=1..8, length=1..512]"
    assert notes == [
        "texts are taken up to 512 tokens of the 2048 that the model reads; --dim length=1:128:2048 takes all"
    ]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tokenizer_config.json", {"model_input_names": ["input_ids", "token_type_ids"]}),
        ("tokenizer.json", {"post_processor": {"type": "BertProcessing"}}),
        (
            "tokenizer.json",
            {"post_processor": {"type": "Sequence", "processors": [
                {"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "B", "type_id": 1}}]}
            ]}},
        ),
    ],
)  # fmt: skip
def test_types_of_tokens_where_the_folder_marks_a_second_text(tmp_path: Path, name: str, settings: Any) -> None:
    edit_json(tmp_path / name, **settings)
    assert declared(KINDS["bert_classifier"](), tmp_path)[0][2:] == [TYPES.format(40)]


def test_the_size_of_a_picture(tmp_path: Path) -> None:
    model = KINDS["vit"]()
    edit_json(tmp_path / "preprocessor_config.json", size={"shortest_edge": 48}, crop_size={"height": 24, "width": 40})
    assert declared(model, tmp_path)[0] == ["pixel_values: float32[batch=1..32, 3, 48, 48]"]
    edit_json(tmp_path / "preprocessor_config.json", do_center_crop=True)
    assert declared(model, tmp_path)[0] == ["pixel_values: float32[batch=1..32, 3, 24, 40]"]
    assert declared(model, tmp_path, size=(16, 8))[0] == ["pixel_values: float32[batch=1..32, 3, 16, 8]"]
    large = transformers.ViTModel(transformers.ViTConfig(**{**PICTURE, "image_size": 224, "patch_size": 32}))
    assert declared(large, tmp_path / "none")[0] == ["pixel_values: float32[batch=1..8, 3, 224, 224]"]


def test_a_front_end_stands_for_the_sound(tmp_path: Path) -> None:
    waveform = TensorSpec("waveform", "float32", ())
    model = KINDS["wav2vec2_ctc"]()
    assert inputs_of(model, SavedModel(tmp_path, None, None, model.config), sound=waveform) == (waveform,)


def test_a_model_of_other_inputs_says_how_to_go_on(tmp_path: Path) -> None:
    model = transformers.LxmertModel(
        transformers.LxmertConfig(vocab_size=97, hidden_size=32, num_attention_heads=4, intermediate_size=48,
                                  l_layers=1, x_layers=1, r_layers=1)
    )  # fmt: skip
    model.forward = lambda input_ids, visual_feats: None
    with pytest.raises(UsageError, match="LxmertModel takes visual_feats, and inputs are known of input_ids"):
        declared(model, tmp_path)
