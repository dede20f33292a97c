"""The models that are measured: folders with drawn weights that everybody reads, bundles of them, and their precisions.

A classifier's head is fitted, so that its classes mean something: its encoder stays as it was drawn, and ridge regression on
what the head is given tells apart texts that prefer one of several sets of words, or pictures of one of several patterns. The
head is given the first token alone. Weights of transformers' own size, 0.02, move it by a twentieth of its size, whatever the
text says, so that weights are drawn as large as a trained BERT's are.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from exported import exported

from .memory import peak_of
from .runners import Array, say

CLASSES = 8
LENGTH = 128  # tokens of a text for a classifier
FIRST = 101  # the token that a text of BERT begins with
OWN_WORDS = 8  # of a class
PROMPT = 16
#: Of a generator's drawn weights: a layer adds about as much as it is given, as trained ones do. Over 1, each layer makes more of
#: the rounding of the one before, and four bits are an error of half the answer, of which the search leaves what it can in fp32.
_GAIN = 0.8
#: Errors of drawn weights are not those of trained ones: all that can be quantised is to be, whatever it does to the answers.
#: What it does is in the table, and docs/quantisation.md has the trained models.
ANY_ERROR = "0.99"


@dataclass(frozen=True)
class Model:
    """A class of transformers, what its config is made with, and the ranges that it is exported for."""

    name: str
    kind: str
    config: dict[str, Any]
    dims: tuple[str, ...]
    train: int = 0

    @property
    def classifier(self) -> bool:
        return self.train > 0


def model_of(name: str, size: str) -> Model:
    """bert, vit, marian, marian-256, lm or lm-22m, of `size` "full" or "tiny"."""
    tiny = size == "tiny"
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    # 0.04 for a width of 768, and what a product comes to is as large for others.
    labels = {"num_labels": CLASSES, "initializer_range": 0.04 * (768 / small["hidden_size"] if tiny else 1) ** 0.5}
    if name == "bert":
        config = {**labels, "hidden_dropout_prob": 0.0, **({**small, "vocab_size": 500} if tiny else {})}
        dims = ("batch=1:1:8", f"length={LENGTH}:{LENGTH}:{LENGTH}")
        return Model(name, "BertForSequenceClassification", config, dims, 192)
    if name == "vit":
        config = {**labels, **({**small, "image_size": 32, "patch_size": 8} if tiny else {})}
        return Model(name, "ViTForImageClassification", config, ("batch=1:1:8",), 256 if tiny else 192)
    if name.startswith("marian"):
        from generate_bench import MARIAN, marian_config

        narrow = {"width": 256, "layers": 4, "feed_forward": 1024} if name == "marian-256" else {}
        sizes = {**MARIAN, **narrow}
        if tiny:
            sizes |= {"vocabulary": 500, "width": 64, "heads": 4, "layers": 2, "feed_forward": 128}
        dims = ("batch=1:1:8" if tiny else "batch=1:1:32", f"source=1:{PROMPT}:{PROMPT}", "prompt=1:1:2")
        return Model(name, "MarianMTModel", marian_config(sizes), dims)
    from generate_bench import decoder_config

    sizes = {"vocabulary": 500 if tiny else 20000, "width": 64 if tiny else 768, "layers": 2 if tiny else 12}
    sizes |= {"heads": 4 if tiny else 12, "kv_heads": 4 if tiny else 12, "feed_forward": 128 if tiny else 2048}
    if name == "lm-22m" and not tiny:
        sizes = {"vocabulary": 8000, "width": 512, "layers": 6, "heads": 8, "kv_heads": 8, "feed_forward": 1280}
    return Model(name, "LlamaForCausalLM", decoder_config(sizes), ("batch=1:1:8", f"prompt=1:{PROMPT}:{PROMPT}"))


def saved(model: Model, folder: Path) -> Path:
    """FOLDER/NAME/torch as save_pretrained writes it, unless it is there."""
    folder = folder / model.name
    if (folder / "torch" / "config.json").exists():
        return folder / "torch"
    from attn_export.torchvision_import import ready_torchvision

    ready_torchvision()
    if model.classifier:
        return _save_classifier(model, folder / "torch")
    from peers.optimum_peer import save_drawn

    return save_drawn(folder, model.kind, model.config, _GAIN)


def _save_classifier(model: Model, target: Path) -> Path:
    import torch
    import transformers

    maker = getattr(transformers, model.kind)
    torch.manual_seed(0)
    network = maker(maker.config_class(**model.config)).eval()
    head: Any = network.classifier
    features: list[Array] = []
    hook = head.register_forward_hook(lambda _m, given, _o: features.append(given[0].numpy()))
    inputs, labels = samples(model, network.config.to_dict(), model.train, seed=0)
    with torch.no_grad():
        for start in range(0, model.train, 16):
            network(**{name: torch.from_numpy(value[start : start + 16]) for name, value in inputs.items()})
    hook.remove()
    weight, bias = fitted(np.concatenate(features), labels)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))
    network.save_pretrained(target)
    return target


def fitted(features: Array, labels: Array) -> tuple[Array, Array]:
    """Weight [classes, width] and bias [classes] of ridge regression from features [rows, width] to one-hot labels."""
    mean, spread = features.mean(0), features.std(0).mean()
    x = (features - mean) / spread
    wanted = np.eye(CLASSES)[labels] - 1 / CLASSES
    weight = np.linalg.solve(x.T @ x + len(x) * 0.01 * np.eye(x.shape[1]), x.T @ wanted).T / spread
    return weight.astype(np.float32), (1 / CLASSES - weight @ mean).astype(np.float32)


def samples(model: Model, config: dict[str, Any], count: int, seed: int) -> tuple[dict[str, Array], Array]:
    """Inputs by their names in transformers, and the class of each. A text begins with FIRST, and one token of two behind it is
    of the class's own words; a picture is its class's pattern of 4x4 patches under noise."""
    draw, classes = np.random.default_rng(seed), np.random.default_rng(1234)
    labels = draw.integers(0, CLASSES, count)
    if model.kind.startswith("Bert"):
        words = config["vocab_size"]
        own = classes.permutation(words)[: OWN_WORDS * CLASSES].reshape(CLASSES, -1)
        told = own[labels[:, None], draw.integers(0, OWN_WORDS, (count, LENGTH))]
        tokens = np.where(draw.random((count, LENGTH)) < 0.5, told, draw.integers(0, words, (count, LENGTH)))
        tokens[:, 0] = FIRST
        return {"input_ids": tokens, "attention_mask": np.ones((count, LENGTH), np.int64)}, labels
    side = config["image_size"]
    pattern = classes.standard_normal((CLASSES, 3, 4, 4)).repeat(side // 4, 2).repeat(side // 4, 3)
    noise = draw.standard_normal((count, 3, side, side))
    return {"pixel_values": (0.5 * pattern[labels] + 0.2 * noise).astype(np.float32)}, labels


def bundle_of(model: Model, folder: Path) -> Path:
    """The bundle of a model, exported unless it lies there from an earlier run."""
    target = folder / f"{model.name}.attn"
    # The folder of a bundle that is there is not wanted, and takes a minute where it is not.
    return target if target.exists() else exported(saved(model, folder), target, model.dims)


def converted(bundle: Path, precision: str, options: Sequence[str] = ()) -> str | None:
    """Give the bundle this precision, unless it has it; why it can't, in a line. What it took goes to conversions.json."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    if all(precision in graph["precisions"] for graph in manifest["graphs"].values()):
        return None
    say(f"  converting {bundle.stem} to {precision}")
    command = [
        sys.executable,
        "-m",
        "attn_export",
        "convert",
        str(bundle),
        "--precision",
        precision,
        "--quiet",
        *options,
    ]
    started = time.perf_counter()
    code, peak, said = peak_of([*command, "--max-error", ANY_ERROR, "--skip-pass", "attention"])
    if code:
        return said.strip().splitlines()[-1] if said.strip() else f"exit code {code}"
    log = bundle.with_name("conversions.json")
    known = json.loads(log.read_text()) if log.exists() else {}
    known[f"{bundle.stem} {precision}"] = {
        "seconds": time.perf_counter() - started,
        "peak_bytes": peak.pages,
        "peak_own_bytes": peak.own,
    }
    log.write_text(json.dumps(known, indent=1) + "\n")
    return None


def weight_bytes(bundle: Path, precision: str) -> int:
    """Of the files that all graphs of a precision have together."""
    graphs = json.loads((bundle / "manifest.json").read_text())["graphs"].values()
    entries = [graph["precisions"][precision] for graph in graphs]
    files = {name for entry in entries for name in (entry["file"], *entry.get("data", ()))}
    return sum((bundle / name).stat().st_size for name in files)
