"""attn-run detect: boxes in pixels of the picture, however it came into the tensor; and what is given by mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime import detect
from attn_runtime.cli import options
from attn_runtime.cli.app import cli
from attn_runtime.errors import InputError, UsageError
from attn_runtime.preprocess import prepare
from attn_runtime.spec import Dim, TensorSpec
from onnx import helper
from PIL import Image
from support.command_lines.json_answers import result_of
from support.models.small_classifiers import pictures, write_bundle

BATCH = Dim("batch", 1, 2, 2)
LABELS = ["cat", "dog"]
PLAIN = {"input": "image", "height": 40, "width": 60, "channels": 3, "resize": "bilinear", "scale": 1 / 255,
         "mean": [0.0] * 3, "std": [1.0] * 3}  # fmt: skip
FITS: dict[str, dict[str, Any]] = {
    "stretched": {},
    "padded": {"fit": "edges", "shortest_edge": 40, "longest_edge": 60, "place": "top_left"},
    "padded around": {"fit": "inside"},
    "cropped": {"fit": "shortest_edge", "shortest_edge": 44, "height": 40, "width": 40},
    "in a square": {"square": [0, 0, 0], "height": 40, "width": 40},
}


def detector(path: Path, logits: np.ndarray, boxes: np.ndarray, labels: list[str] = LABELS, **changes: Any) -> Path:
    """A bundle that answers `logits` [queries, classes] and `boxes` [queries, 4] to whatever picture."""
    recipe = PLAIN | changes
    nodes = [
        helper.make_node("ReduceMean", ["image", "places"], ["mean"], keepdims=1),
        helper.make_node("Squeeze", ["mean", "last"], ["means"]),
        helper.make_node("Mul", ["means", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "scores"], ["logits"]),
        helper.make_node("Add", ["zero", "shares"], ["pred_boxes"]),
    ]
    constants = {"places": np.array([1, 2, 3]), "last": np.array([3]), "nothing": np.zeros((1, 1, 1), np.float32)}
    constants |= {"scores": logits[None].astype(np.float32), "shares": boxes[None].astype(np.float32)}
    sides = [Dim.fixed(recipe[name]) for name in ("channels", "height", "width")]
    outputs = [
        TensorSpec(name, "float32", (BATCH, *map(Dim.fixed, value.shape)))
        for name, value in (("logits", logits), ("pred_boxes", boxes))
    ]
    assets = {"image": recipe, "labels": labels}
    return write_bundle(path, nodes, constants, (TensorSpec("image", "float32", (BATCH, *sides)),), outputs, assets)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """90 wide and 120 high; black, with a white rectangle."""
    pixels = np.zeros((120, 90, 3), np.uint8)
    pixels[40:80, 20:70] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", FITS)
def test_a_box_of_the_tensor_is_one_of_the_picture(tmp_path: Path, picture: Path, name: str, turned: bool) -> None:
    """Where the rectangle came to lie is read off the tensor."""
    recipe, edges, size = PLAIN | FITS[name], [20, 40, 70, 80], (120, 90)
    if turned:
        Image.open(picture).transpose(Image.Transpose.TRANSPOSE).save(picture)
        edges, size = [40, 20, 80, 70], (90, 120)
    rows, columns = np.nonzero(prepare(Image.open(picture), recipe)[0, 0] > 0.5)
    (top, bottom), (left, right) = ((a.min(), a.max() + 1) for a in (rows, columns))
    sides = np.tile([recipe["width"], recipe["height"]], 2)
    shares = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top] / sides
    bundle = detector(tmp_path / "d.attn", np.array([[9.0, 0.0, 0.0]]), shares[None], **FITS[name])
    (found,) = detect(bundle, [str(picture)], device="cpu").inputs
    (box,) = found.boxes
    assert (box.label, (found.height, found.width)) == ("cat", size)
    # A pixel of the tensor is up to 3 of the picture's.
    np.testing.assert_allclose([box.left, box.top, box.right, box.bottom], edges, atol=1.6)


def test_boxes_are_those_of_transformers(tmp_path: Path, picture: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from transformers.models.deformable_detr.modeling_deformable_detr import (
        DeformableDetrObjectDetectionOutput as Answer,
    )

    rng = np.random.default_rng(0)
    centres, sizes = rng.uniform(0.3, 0.7, (20, 2)), rng.uniform(0.05, 0.5, (20, 2))
    boxes = np.concatenate([centres, sizes], axis=1)
    kinds = (
        ("softmax", transformers.DetrImageProcessorPil(), rng.normal(0, 2, (20, 3))),
        ("sigmoid", transformers.DeformableDetrImageProcessorPil(), rng.normal(0, 2, (20, 2))),
    )
    for name, library, logits in kinds:
        answer = Answer(logits=torch.tensor(logits[None]).float(), pred_boxes=torch.tensor(boxes[None]).float())
        (expected,) = library.post_process_object_detection(
            answer, threshold=0.4, target_sizes=[(120, 90)], **({"top_k": 20} if name == "sigmoid" else {})
        )
        (found,) = detect(
            detector(tmp_path / f"{name}.attn", logits, boxes), [str(picture)], device="cpu", threshold=0.4
        ).inputs
        order = expected["scores"].argsort(descending=True)
        assert [box.index for box in found.boxes] == expected["labels"][order].tolist() and len(order) > 5
        np.testing.assert_allclose([box.probability for box in found.boxes], expected["scores"][order], atol=1e-6)
        got = [[box.left, box.top, box.right, box.bottom] for box in found.boxes]
        np.testing.assert_allclose(got, np.clip(expected["boxes"][order].numpy(), 0, [90, 120, 90, 120]), atol=1e-3)


def test_pictures_are_batches_and_the_last_one_may_be_short(tmp_path: Path, picture: Path) -> None:
    bundle = detector(tmp_path / "d.attn", np.array([[9.0, 0.0, 0.0]]), np.full((1, 4), 0.5))
    done = detect(bundle, [str(picture)] * 3, device="cpu")
    assert done.calls == 2 and [len(found.boxes) for found in done.inputs] == [1, 1, 1]


def attn_run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        options.run_cli(lambda: cli, "attn-run", [str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_command(tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logits, boxes = np.array([[9.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 9.0]]), np.full((3, 4), 0.5)
    boxes[1] = 0.25
    bundle = detector(tmp_path / "d.attn", logits, boxes)
    plot = tmp_path / "boxes.png"
    code, out, _ = attn_run(capsys, "detect", bundle, picture, "--device", "cpu", "--plot", plot)
    assert code == 0 and out.splitlines()[1].split() == ["100.0%", "cat", "22.5", "30.0", "67.5", "90.0", str(picture)]
    drawn = np.array(Image.open(plot).convert("RGB")).astype(int)
    assert ((abs(drawn - [0x1F, 0x77, 0xB4]) < 12).all(axis=2)).sum() > 500, "a box in matplotlib's first colour"
    code, out, _ = attn_run(capsys, "detect", bundle, picture, "--device", "cpu", "--threshold", "0.5", "--json")
    (found,) = result_of(out)["inputs"]
    assert [box["label"] for box in found["boxes"]] == ["cat", "dog"] and found["width"] == 90
    code, out, _ = attn_run(capsys, "detect", bundle, picture, "--device", "cpu", "--threshold", "1")
    assert code == 0 and out.startswith(f"{picture}: nothing from 100% on")


def test_what_is_given_by_mistake(tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = detector(tmp_path / "d.attn", np.zeros((1, 3)), np.zeros((1, 4)))
    with pytest.raises(
        UsageError, match="does not detect: expected the assets image and labels .* found image, labels and logits"
    ):
        detect(pictures(tmp_path / "p.attn"), [str(picture)], device="cpu")
    with pytest.raises(UsageError, match="threshold: got 2, expected 0 to 1"):
        detect(good, [str(picture)], threshold=2)
    with pytest.raises(UsageError, match="nothing to look at"):
        detect(good, [])
    with pytest.raises(InputError, match="no such file"):
        detect(good, [str(tmp_path / "b.png")], device="cpu")
    with pytest.raises(UsageError, match=r"got logits \[1, 3\] and pred_boxes \[1, 4\] of a picture, with 5 labels"):
        detect(
            detector(tmp_path / "l.attn", np.zeros((1, 3)), np.zeros((1, 4)), list("abcde")),
            [str(picture)],
            device="cpu",
        )
    with pytest.raises(InputError, match="the answer is not finite"):
        detect(detector(tmp_path / "n.attn", np.full((1, 3), np.nan), np.zeros((1, 4))), [str(picture)], device="cpu")
    code, _, err = attn_run(capsys, "detect", good, picture, picture, "--plot", tmp_path / "x.png")
    assert code == 2 and "--plot draws over one picture" in err
