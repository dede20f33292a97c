"""image.json of a folder makes of a picture what the folder's own processor makes of it, and what it can't say is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.huggingface.assets import image_assets, image_size
from attn_export.huggingface.assets.image import LIMIT_PIL, LIMIT_TORCHVISION
from attn_export.huggingface.saved_model import SavedModel
from attn_export.torchvision_import import ready_torchvision
from attn_runtime.bundle import check_asset
from attn_runtime.preprocess import prepare
from attn_runtime.spec import Dim, TensorSpec
from PIL import Image

TORCHVISION = ready_torchvision()
transformers = pytest.importorskip("transformers")

SIDE = {"height": 32, "width": 32}
EDGES = {"shortest_edge": 60, "longest_edge": 100}

#: kind of processor, its settings, the size of the graph, and what makes its recipe another than a plain resize.
KINDS: dict[str, tuple[str, dict[str, Any], tuple[int, int], dict[str, Any]]] = {
    "vit": ("ViT", {"size": SIDE}, (32, 32), {"resize": "bilinear"}),
    "clip": ("CLIP", {"size": {"shortest_edge": 40}, "crop_size": SIDE}, (32, 32),
             {"fit": "shortest_edge", "shortest_edge": 40, "resize": "bicubic"}),
    "convnext, which crops": ("ConvNext", {"size": {"shortest_edge": 56}, "crop_pct": 0.875}, (56, 56),
                              {"fit": "shortest_edge", "shortest_edge": 64}),
    "convnext, which does not": ("ConvNext", {"size": {"shortest_edge": 384}}, (384, 384), {"resize": "bicubic"}),
    "detr": ("Detr", {"size": EDGES}, (100, 100),
             {"fit": "edges", "place": "top_left", **EDGES, "fill": [123.675, 116.28, 103.53]}),
    "detr in a smaller graph": ("Detr", {"size": EDGES}, (48, 64),
                                {"fit": "edges", "place": "top_left", "shortest_edge": 48, "longest_edge": 48}),
    "yolos, of whole patches": ("Yolos", {"size": EDGES}, (100, 100), {"fit": "edges", "multiple": 16, "place": "top_left"}),
    "mask2former, up to 32": ("Mask2Former", {"size": {"shortest_edge": 64, "longest_edge": 96}}, (96, 96),
                              {"fit": "edges", "multiple": 32, "multiple_rounding": "up"}),
    "beit": ("Beit", {"size": {"height": 36, "width": 36}, "crop_size": SIDE, "do_center_crop": True}, (32, 32),
             {"fit_height": 36, "fit_width": 36}),
    "siglip": ("Siglip", {"size": SIDE}, (32, 32), {"resize": "bicubic"}),
    "sam": ("Sam", {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}, (64, 64),
            {"fit": "inside", "rounding": "nearest", "place": "top_left"}),
    "blue first": ("MobileViT", {"size": {"shortest_edge": 40}, "crop_size": SIDE}, (32, 32), {"channel_order": "bgr"}),
    "-1..1, divided again": ("EfficientNet", {"size": SIDE, "rescale_offset": True, "rescale_factor": 1 / 127.5}, (32, 32),
                             {"scale": 1.0}),
    "lanczos, no arithmetic": ("ViT", {"size": SIDE, "resample": 1, "do_rescale": False, "do_normalize": False}, (32, 32),
                               {"resize": "lanczos", "scale": 1.0, "mean": [0.0] * 3, "std": [1.0] * 3}),
}  # fmt: skip


def saved_processor(folder: Path, kind: str, settings: dict[str, Any]) -> SavedModel:
    getattr(transformers, f"{kind}ImageProcessor")(**settings).save_pretrained(folder)
    return SavedModel(folder, None, None, transformers.ViTConfig(image_size=48))


def graph_input(height: int, width: int, channels: int = 3) -> TensorSpec:
    return TensorSpec("pixel_values", "float32", (Dim("batch", 1, 2, 4), *map(Dim.fixed, (channels, height, width))))


@pytest.mark.parametrize("name", KINDS)
def test_the_recipe_is_the_processors(tmp_path: Path, name: str) -> None:
    kind, settings, size, expected = KINDS[name]
    saved = saved_processor(tmp_path, kind, settings)
    recipe = image_assets(saved, [graph_input(*size)])["image.json"]
    check_asset("image", recipe, "bundle")
    for key, value in expected.items():
        assert recipe[key] == (value if isinstance(value, str) else pytest.approx(value)), key
    held = {each["backend"]: each for each in recipe["held_to"]}
    assert set(held) == ({"pil", "torchvision"} if TORCHVISION else {"pil"})
    # In steps of 0..255.
    steps = {backend: each["worst"] / recipe["scale"] * max(recipe["std"]) for backend, each in held.items()}
    assert steps.pop("pil") <= LIMIT_PIL and all(value <= LIMIT_TORCHVISION for value in steps.values())


def test_a_photograph_that_was_not_held(tmp_path: Path) -> None:
    """The processor itself, as a user calls it, on another picture than those of the export."""
    saved = saved_processor(tmp_path, "CLIP", {"size": {"shortest_edge": 45}, "crop_size": SIDE})
    recipe = image_assets(saved, [graph_input(32, 32)])["image.json"]
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (77, 51, 3), dtype=np.uint8))
    library = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    np.testing.assert_allclose(
        prepare(picture, recipe), library(images=picture, return_tensors="np")["pixel_values"], atol=1e-5
    )


def test_what_depends_on_the_graphs_one_size_is_told(tmp_path: Path) -> None:
    saved = saved_processor(tmp_path, "Detr", {"size": EDGES})
    image_assets(saved, [graph_input(60, 60)])
    (note,) = saved.notes
    assert note.startswith("pictures are made to fit into 60 x 60 and padded to 60 x 60, without a mask")
    settings = {"size": {"height": 28, "width": 28}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
    saved = saved_processor(tmp_path, "DPT", settings)
    assert image_assets(saved, [graph_input(28, 28)])["image.json"]["height"] == 28
    assert saved.notes == [
        "pictures are stretched to 28 x 28, the one size of the graph; DPTImageProcessor keeps their shape"
    ]


def test_what_no_recipe_says_is_named(tmp_path: Path) -> None:
    saved = saved_processor(tmp_path, "Donut", {"size": {"height": 40, "width": 30}})
    assert image_assets(saved, [graph_input(40, 30)]) == {}
    (note,) = saved.notes
    assert note.startswith("no image.json: none") and "DonutImageProcessor" in note and "do_thumbnail=True" in note
    assert "--assets FOLDER" in note and "\n" not in note


def test_a_recipe_that_is_a_little_wrong_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures tell a crop that is off by a pixel, and another filter, from the right one."""
    from attn_export.huggingface.assets import image

    saved = saved_processor(tmp_path, "CLIP", {"size": {"shortest_edge": 41}, "crop_size": SIDE})
    assert image_assets(saved, [graph_input(32, 32)])["image.json"].get("place") is None
    monkeypatch.setattr(image, "_FILTERS", {3: "bilinear"})
    monkeypatch.setattr(image, "LIMIT_PIL", LIMIT_TORCHVISION)
    assert image_assets(saved, [graph_input(32, 32)]) == {}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("CLIP", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 24}}, (32, 24)),
        ("CLIP", {"size": {"shortest_edge": 40}, "do_center_crop": False}, (40, 40)),
        ("ViT", {"size": {"height": 20, "width": 30}}, (20, 30)),
        ("Detr", {"size": EDGES}, (60, 60)),
        ("Sam", {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 96}}, (64, 96)),
        ("Qwen2VL", {}, (48, 48)),  # numbers of pixels, by the names of sides
        (None, {}, (48, 48)),
    ],
)
def test_image_size(tmp_path: Path, kind: str | None, settings: dict[str, Any], expected: tuple[int, int]) -> None:
    config = transformers.ViTConfig(image_size=48)
    saved = saved_processor(tmp_path, kind, settings) if kind else SavedModel(tmp_path, None, None, config)
    assert image_size(saved) == expected


def test_the_size_of_a_config_without_one(tmp_path: Path) -> None:
    assert image_size(SavedModel(tmp_path, None, None, transformers.BertConfig())) is None
    assert image_size(SavedModel(tmp_path, None, None, transformers.CLIPConfig())) == (224, 224)


def test_what_takes_no_picture(tmp_path: Path) -> None:
    tokens = TensorSpec("input_ids", "int64", (Dim("batch", 1, 2, 4), Dim("length", 1, 4, 8)))
    saved = saved_processor(tmp_path, "ViT", {"size": SIDE})
    assert image_assets(saved, [tokens]) == {} == image_assets(saved, [])
    assert image_assets(SavedModel(tmp_path / "nothing", None, None, saved.config), [graph_input(32, 32)]) == {}
    assert saved.notes == []
    transformers.WhisperFeatureExtractor().save_pretrained(tmp_path)
    assert image_assets(SavedModel(tmp_path, None, None, transformers.WhisperConfig()), [graph_input(32, 32)]) == {}


def test_a_processor_that_is_saved_beside_a_tokenizer(tmp_path: Path) -> None:
    saved = saved_processor(tmp_path, "CLIP", {"size": {"shortest_edge": 40}, "crop_size": SIDE})
    alone = image_assets(saved, [graph_input(32, 32)])
    file = tmp_path / "preprocessor_config.json"
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": json.loads(file.read_text())}))
    file.unlink()
    assert image_size(saved) == (32, 32) and image_assets(saved, [graph_input(32, 32)]) == alone != {}


def test_code_of_the_folder_is_not_run(tmp_path: Path) -> None:
    saved = saved_processor(tmp_path, "ViT", {"size": SIDE})
    (tmp_path / "mine.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nclass Mine: ...\n"
    )
    file = tmp_path / "preprocessor_config.json"
    described = json.loads(file.read_text()) | {
        "auto_map": {"AutoImageProcessor": "mine.Mine"},
        "image_processor_type": "Mine",
    }
    file.write_text(json.dumps(described))
    image_assets(saved, [graph_input(32, 32)])
    assert not (tmp_path / "ran").exists()
