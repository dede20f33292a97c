"""What a model of either library becomes: one graph from a picture to what the module returns, with the assets of its users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attn_models.spec import GraphSpec, ModelSpec
from attn_runtime.bundle import sha256_of
from attn_runtime.errors import UsageError
from attn_runtime.escape import printable
from attn_runtime.files import reason
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn

from ...huggingface import LoadedModel
from ...huggingface.assets import difference, drawn_pictures
from ...quiet import captured_output

if TYPE_CHECKING:
    from PIL.Image import Image

#: The graph's input.
INPUT = "image"
#: In steps of a picture's 0..255: both libraries resize with Pillow, and so do we.
LIMIT = 0.02
_BATCH = Dim("batch", 1, 2, 8)

#: A picture -> what the library's own transform makes of it, [channels, height, width].
Transform = Callable[["Image"], Tensor]


class One(nn.Module):
    """Of a model that answers with a dict of tensors, one."""

    def __init__(self, model: nn.Module, key: str) -> None:
        super().__init__()
        self.model, self.key = model, key

    def forward(self, image: Tensor) -> Tensor:
        """[B, C, H, W] -> the tensor by the name `key`."""
        answer: Tensor = self.model(image)[self.key]
        return answer


def loaded(
    ref: str,
    module: nn.Module,
    size: tuple[int, int, int],
    *,
    library: str,
    recipe: dict[str, Any] | None,
    transform: Transform | None,
    classes: int,
    names: Sequence[str],
    weights: Path | None,
    config: Mapping[str, Any],
    notes: list[str],
) -> LoadedModel:
    """`module` in eval mode as a model of one graph, for pictures of `size`, (channels, height, width).

    An answer [batch, classes, ...] is one of scores, any other is of features. `recipe` is held against `transform`, and left
    out with a note where they do not agree. `names`, of the classes, are left out where they are not as many as the answer
    has. Raises UsageError for a module that does not make one tensor of a batch of pictures.
    """
    module.eval().requires_grad_(False)
    module, answer = _answering(ref, module, size)
    kinds = {2: "image-classification", 4: "image-segmentation"}
    task = kinds.get(answer.ndim) if answer.shape[1] == classes else None
    output = TensorSpec("logits" if task else "features", "float32", (_BATCH, *map(Dim.fixed, answer.shape[1:])))
    image = TensorSpec(
        INPUT, "float32", (_BATCH, *map(Dim.fixed, size)), meaning="a picture, as assets/image.json makes it"
    )
    assets: dict[str, Any] = {}
    if len(names) == answer.shape[1] and task:
        assets["labels.json"] = [printable(label, 250) for label in names]
    if recipe is not None and (transform is None or _held(recipe, transform, library, notes)):
        assets["image.json"] = recipe
    spec = ModelSpec(
        name=ref,
        task=task or "feature-extraction",
        summary=f"{ref}, {library}",
        build=lambda: module,
        graphs=(GraphSpec("model", (image,), (output,)),),
        assets=(lambda: assets) if assets else None,
    )
    told = {"file": weights.name, "sha256": sha256_of(weights)} if weights is not None else None
    return LoadedModel(ref, module, spec, {"checkpoint": told, "config": {"library": library, **config}}, notes)


def _answering(ref: str, module: nn.Module, size: tuple[int, int, int]) -> tuple[nn.Module, Tensor]:
    """`module`, or a part of what it answers, and its answer to two pictures."""
    with torch.no_grad(), captured_output():
        try:
            answer: Any = module(torch.zeros(2, *size))
        except Exception as problem:
            raise UsageError(
                f"{ref}: does not take a batch of pictures [2, {', '.join(map(str, size))}] "
                f"({type(problem).__name__}: {printable(reason(problem), 120)}); only models "
                "from a picture to one tensor are taken by name. Write package.module:callable around it"
            ) from problem
    if isinstance(answer, Mapping) and "out" in answer:  # torchvision's segmentation; "aux" is for training
        module, answer = One(module, "out"), answer["out"]
    if not isinstance(answer, Tensor) or answer.ndim < 2 or answer.shape[0] != 2 or not answer.is_floating_point():
        parts = answer[0] if isinstance(answer, list | tuple) and answer else answer
        names = f" of {', '.join(map(str, parts))}" if isinstance(parts, Mapping) else ""
        raise UsageError(
            f"{ref}: answers with a {type(answer).__name__}{names}, expected one tensor [batch, ...]: detection in its library "
            "is a list of boxes, whose number depends on the picture. Write package.module:callable around the part you need, "
            "or take a DETR of Hugging Face"
        )
    return module, answer


def _held(recipe: dict[str, Any], transform: Transform, library: str, notes: list[str]) -> bool:
    """Whether the library's transform makes of drawn pictures what `recipe` makes of them; it tells how well."""
    pictures = drawn_pictures(recipe["channels"])
    with captured_output():
        worst = max(difference(np.asarray(transform(picture))[None], picture, recipe) for picture in pictures)
    if worst * max(recipe["std"]) / recipe["scale"] > LIMIT:
        notes.append(
            f"no image.json: the recipe is off from the transform of {library} by {worst:.3g}; give arrays, or --assets"
        )
        return False
    recipe["held_to"] = [{"processor": library, "backend": "pil", "worst": worst, "pictures": len(pictures)}]
    return True
