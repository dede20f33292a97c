"""--assets FOLDER: a bundle carries the labels and the image asset of its own training, or the export is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from attn_export.cli.app import cli
from attn_export.source.assets import read_assets
from attn_models.data import image_folder
from attn_models.training import loop
from attn_models.zoo.attentionnet import MODEL
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import UsageError
from attn_runtime.preprocess.image import load_image
from attn_runtime.session import open_session
from attn_runtime.spec import Dim, TensorSpec
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from support.models.tiny_texts import tokenizer

BATCH = Dim("batch", 1, 2, 4)
IMAGE = {
    "input": "image", "height": 16, "width": 16, "channels": 1, "resize": "bilinear", "scale": 1 / 255,
    "mean": [0.5], "std": [0.2],
}  # fmt: skip


def taking(channels=1, size=16):
    return [TensorSpec("image", "float32", (Dim("batch", 1, 2, 4), *map(Dim.fixed, (channels, size, size))))]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "labels.json").write_text('["a", "b"]')
    (tmp_path / "image.json").write_text(json.dumps(IMAGE))
    (tmp_path / "metrics.json").write_text("{}")
    return tmp_path


def test_assets_are_taken_by_name_and_nothing_else(folder):
    assert read_assets(folder, taking()) == {"labels.json": ["a", "b"], "image.json": IMAGE}


def test_assets_that_would_be_wrong_are_refused(folder):
    with pytest.raises(
        UsageError, match=r"makes images of \[1, 16, 16\], the graph takes .*add --input 'image:float32"
    ):
        read_assets(folder, taking(channels=3))
    with pytest.raises(UsageError, match=r"makes images of \[1, 16, 16\]"):
        read_assets(folder, taking(size=32))
    with pytest.raises(UsageError, match='is for input "image"'):
        read_assets(folder, [TensorSpec("x", "float32", (Dim("batch", 1, 2, 4),))])
    (folder / "image.json").write_text(json.dumps({**IMAGE, "channels": 2}))
    with pytest.raises(UsageError, match="asset image: .*channels") as caught:
        read_assets(folder, taking())
    assert "re-export" not in str(caught.value)
    (folder / "image.json").write_text("{")
    with pytest.raises(UsageError, match="image.json is not JSON"):
        read_assets(folder, taking())
    with pytest.raises(UsageError, match="none of .*labels.json"):
        read_assets(folder / "nowhere", taking())


TEXTS = [
    TensorSpec("tokens", "int64", (BATCH, Dim("length", 1, 2, 9)), low=0, high=13),
    TensorSpec("mask", "bool", (BATCH, BATCH)),
]


def test_a_tokenizer_and_how_texts_become_inputs_are_assets(tmp_path):
    text = {"input": "tokens", "mask": "mask", "pad": 0, "unknown": 2}
    (tmp_path / "text.json").write_text(json.dumps(text))
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer()))
    assert read_assets(tmp_path, TEXTS) == {"text.json": text, "tokenizer.json": tokenizer()}
    with pytest.raises(UsageError, match='text.json names "tokens" as input, int64 .*; the graph has image'):
        read_assets(tmp_path, taking())
    with pytest.raises(
        UsageError, match=r'another size than the model: its last token is 12 "far", and tokens takes 0 to 11'
    ):
        read_assets(tmp_path, [replace(TEXTS[0], high=12), TEXTS[1]])
    for value in ("[]", '{"model": 1}', '{"model": {"type": "?"}}'):
        (tmp_path / "tokenizer.json").write_text(value)
        with pytest.raises(UsageError, match=r"tokenizer.json(: | is no tokenizer)"):
            read_assets(tmp_path, TEXTS)


@pytest.mark.parametrize(
    ("name", "near"),
    [("lables.json", "did you mean labels.json"), ("labels.txt", "labels.json"), ("vocab.json", "expected")],
)
def test_a_file_of_another_name_is_refused_by_it(folder, name, near):
    (folder / name).write_text("[]")
    with pytest.raises(UsageError, match=rf"{name} is no asset; .*{near}"):
        read_assets(folder, taking())


def test_a_model_trained_on_a_folder_is_exported_with_what_it_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for level, label in ((60, "dark"), (180, "bright")):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(level - 30, level + 30, (20, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / label / f"{number}.png")
    trained = tmp_path / "trained"
    loop.train(MODEL, loop.TrainOptions(out=trained, data=tmp_path / "set", size=16, epochs=1, quiet=True))

    command = image_folder.export_command(MODEL, trained).replace("'", "").split()
    result = CliRunner().invoke(cli, command[1:])
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(tmp_path / "trained.attn")
    assert bundle.asset("labels") == ["bright", "dark"]
    assert bundle.asset("image") == json.loads((trained / "image.json").read_text())

    net = MODEL.build(classes=2, in_channels=1).eval()
    net.load_state_dict(load_file(trained / loop.WEIGHTS))
    image = load_image(tmp_path / "set" / "dark" / "0.png", bundle.asset("image"))
    with torch.no_grad():
        expected = net(torch.from_numpy(image)).numpy()
    with open_session(tmp_path / "trained.attn") as session:
        np.testing.assert_allclose(session.run({"image": image})["logits"], expected, rtol=1e-4, atol=1e-5)
