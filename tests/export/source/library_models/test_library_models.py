"""Models of timm and torchvision by name: sizes, preprocessing, labels, and weights that lie in the local caches."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export import export
from attn_export.huggingface.assets import drawn_pictures
from attn_export.source.library_models import load_timm, load_torchvision
from attn_export.source.library_models.timm_models import recipe_of
from attn_export.torchvision_import import ready_torchvision
from attn_runtime import Bundle, classify
from attn_runtime.bundle import check_asset
from attn_runtime.errors import CheckpointError, UsageError
from attn_runtime.preprocess import prepare
from safetensors.torch import save_file

if not ready_torchvision():
    pytest.skip("torchvision is not installed", allow_module_level=True)
timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

SMALL = {"img_size": 32, "num_classes": 1000, "depth": 2}


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty local caches of Hugging Face (tmp_path/hub) and of torch.hub (tmp_path/torch/checkpoints)."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "torch"))
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    return tmp_path


def assets_of(loaded: Any) -> dict[str, Any]:
    made = dict(loaded.spec.assets())
    for name, value in made.items():
        check_asset(name.removesuffix(".json"), value, "bundle")
    return made


# --- timm ----------------------------------------------------------------------------------------------------------


def test_what_timm_says_of_a_model(caches: Path) -> None:
    loaded = load_timm("test_vit", SMALL)
    assets = assets_of(loaded)
    assert str(loaded.spec.graph.inputs[0]) == "image: float32[batch=1..8, 3, 32, 32]"
    assert str(loaded.spec.graph.outputs[0]) == "logits: float32[batch=1..8, 1000]"
    assert assets["labels.json"][1] == "goldfish, Carassius auratus" and len(assets["labels.json"]) == 1000
    image = assets["image.json"]
    assert (image["fit"], image["shortest_edge"], image["resize"], image["mean"]) == (
        "shortest_edge",
        33,
        "bicubic",
        [0.5] * 3,
    )
    assert image["held_to"][0]["worst"] < 1e-5
    assert not loaded.module.training and loaded.spec.build() is loaded.module
    (note,) = loaded.notes
    assert note.startswith("random weights: those of test_vit.r160_in1k are not in the local cache")
    assert loaded.provenance["checkpoint"] is None and loaded.provenance["config"]["img_size"] == 32


def test_other_classes_have_no_names_and_no_classes_are_features(caches: Path) -> None:
    assert list(assets_of(load_timm("test_vit", SMALL | {"num_classes": 7}))) == ["image.json"]
    loaded = load_timm("test_vit", SMALL | {"num_classes": 0, "in_chans": 1}, checkpoint=True)
    assert loaded.spec.graph.outputs[0].name == "features" and loaded.spec.graph.inputs[0].dims[1].opt == 1
    assert loaded.spec.assets is None
    assert loaded.notes == [
        "no image.json: it can't say interpolation=bicubic, a mean of 3 for 1 channels; give arrays, or --assets FOLDER with one "
        "of your own"
    ]


@pytest.mark.parametrize(
    ("mode", "size", "share"),
    [
        ("center", (32, 32), 0.875),
        ("center", (29, 29), 1.0),
        ("center", (32, 24), 0.9),
        ("squash", (32, 24), 0.95),
        ("border", (32, 40), 0.9),
    ],
)
def test_every_way_of_timm_to_crop(mode: str, size: tuple[int, int], share: float) -> None:
    data = {"input_size": (3, *size), "interpolation": "bicubic", "crop_pct": share, "crop_mode": mode}
    data |= {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    recipe, transform = recipe_of(data), timm.data.create_transform(**data, is_training=False)
    assert recipe is not None
    check_asset("image", recipe, "bundle")
    for picture in drawn_pictures(3):
        np.testing.assert_allclose(prepare(picture, recipe)[0], transform(picture).numpy(), atol=1e-5)


def test_an_interpolation_that_is_drawn_has_no_recipe() -> None:
    data = {
        "input_size": (3, 8, 8),
        "interpolation": "random",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": (0, 0, 0),
    }
    assert recipe_of(data) is None


@pytest.mark.parametrize("kind", ["safetensors", "bin", "damaged"])
def test_weights_of_timm_in_the_local_cache(caches: Path, kind: str) -> None:
    folder = caches / "hub" / "models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    snapshot = folder / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    state = timm.create_model("test_vit").state_dict()
    file = snapshot / ("pytorch_model.bin" if kind == "bin" else "model.safetensors")
    if kind == "bin":
        torch.save(state, file)
    else:
        save_file(state, file)
    if kind == "damaged":
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(UsageError, match="timm:test_vit: timm can't make it") as caught:
            load_timm("test_vit")
        assert "\n" not in str(caught.value)
        return
    loaded = load_timm("test_vit")
    for name, value in loaded.module.state_dict().items():
        torch.testing.assert_close(value, state[name], atol=0, rtol=0)
    assert loaded.provenance["checkpoint"]["file"] == file.name and len(loaded.provenance["checkpoint"]["sha256"]) == 64
    assert loaded.provenance["config"]["weights"] == "r160_in1k" and loaded.notes == []


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("tst_vit", {}, 'has no model "tst_vit"; did you mean test_vit'),
        ("test_vit.nothing", {}, "has no weights of that name; it has: test_vit.r160_in1k"),
        ("test_vit", {"oops": 1}, "timm can't make it with oops=1: TypeError"),
    ],
)
def test_a_name_that_timm_does_not_know(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        load_timm(name, arguments)
    assert "\n" not in str(caught.value)


# --- torchvision ---------------------------------------------------------------------------------------------------


def test_what_torchvision_says_of_a_model(caches: Path) -> None:
    loaded = load_torchvision("shufflenet_v2_x0_5")
    assets = assets_of(loaded)
    assert assets["labels.json"][:2] == ["tench", "goldfish"]
    image = assets["image.json"]
    assert (image["height"], image["shortest_edge"], image["place"]) == (224, 256, "center_rounded")
    assert image["held_to"][0]["worst"] < 1e-5
    assert [note.partition(":")[0] for note in loaded.notes] == ["random weights"]
    assert load_torchvision("shufflenet_v2_x0_5", {"num_classes": 5}, checkpoint=True).notes == []


def test_weights_of_torchvision_in_the_local_cache(caches: Path) -> None:
    weights = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    file = caches / "torch" / "checkpoints" / weights.url.rpartition("/")[2]
    state = torchvision.models.shufflenet_v2_x0_5().state_dict()
    torch.save(state, file)
    loaded = load_torchvision("shufflenet_v2_x0_5.IMAGENET1K_V1")
    for name, value in loaded.module.state_dict().items():
        torch.testing.assert_close(value, state[name], atol=0, rtol=0)
    assert loaded.notes == [] and loaded.provenance["checkpoint"]["file"] == file.name
    for content in (state | {"conv1.0.weight": torch.zeros(3)}, {"path": Path("x")}, {}):
        torch.save(content, file)
        with pytest.raises(
            CheckpointError, match=r"shufflenetv2_x0\.5-\w+\.pth of the local cache does not load"
        ) as caught:
            load_torchvision("shufflenet_v2_x0_5")
        assert "\n" not in str(caught.value)


def test_a_model_that_is_made_otherwise_for_its_weights(caches: Path) -> None:
    """Its weights want an input that the model normalises again, whoever brings them."""
    assert load_torchvision("googlenet", checkpoint=True).module.transform_input is True


def test_segmentation_is_one_tensor(caches: Path) -> None:
    loaded = load_torchvision("lraspp_mobilenet_v3_large")
    assert str(loaded.spec.graph.outputs[0]) == "logits: float32[batch=1..8, 21, 520, 520]"
    assert assets_of(loaded)["labels.json"][1] == "aeroplane"
    assert loaded.notes[1].startswith("pictures are stretched to 520 x 520, the one size of the graph")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rsnet18", 'has no model "rsnet18"; did you mean resnet18'),
        ("resnet18.V9", "has no weights of that name; it has: IMAGENET1K_V1"),
        ("raft_small", "does not take a batch of pictures"),
        ("ssdlite320_mobilenet_v3_large", "does not take a batch of pictures|answers with a list of boxes"),
    ],
)
def test_a_model_that_torchvision_can_not_give(caches: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        load_torchvision(name)
    assert "\n" not in str(caught.value)


# --- to a bundle ---------------------------------------------------------------------------------------------------

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("test_vit", SMALL),
    "resnet": ("test_resnet", {}),
    "convnext": ("test_convnext", {}),
    "swin": ("swin_tiny_patch4_window7_224",
             {"img_size": 64, "embed_dim": 16, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4}),
    "eva": ("eva02_tiny_patch14_224", {"img_size": 28, "depth": 2, "num_classes": 1000}),
}  # fmt: skip


@pytest.mark.parametrize("family", ["vit", *(pytest.param(f, marks=pytest.mark.full) for f in FAMILIES if f != "vit")])
def test_a_proven_bundle_that_classifies(caches: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, arguments = FAMILIES[family]
    torch.manual_seed(0)
    module = types.ModuleType("models_of_timm")
    module.spec = load_timm(name, arguments).spec  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models_of_timm", module)
    target, picture = caches / "x.attn", caches / "x.png"
    export("models_of_timm:spec", target, dims=["batch=1:2:3"])
    drawn_pictures(3)[1].save(picture)
    (found,) = classify(target, [str(picture)], device="cpu").inputs
    recipe = Bundle.open(target).asset("image")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module.spec.build()) | {
        "input_size": (3, recipe["height"], recipe["width"])}, is_training=False)  # fmt: skip
    with torch.no_grad():
        shares = module.spec.build()(transform(drawn_pictures(3)[1])[None]).softmax(1)[0]
    labels = Bundle.open(target).asset("labels")
    assert found.guesses[0].label == labels[int(shares.argmax())]
    assert found.guesses[0].probability == pytest.approx(float(shares.max()), rel=1e-3)
