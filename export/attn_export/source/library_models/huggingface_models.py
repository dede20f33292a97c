"""A saved model of Hugging Face as a source: class, weights, graphs, and what its folder says of its inputs and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from attn_models.spec import GraphSpec, ModelSpec
from attn_runtime.compare import Tolerance
from attn_runtime.errors import UsageError
from torch import nn

from ...huggingface import (
    Kind,
    LoadedModel,
    SavedModel,
    Weights,
    body_of,
    find_model,
    kind_of,
    load_weights,
    measured_tolerance,
    model_folder,
    provenance_of,
    tag_of,
)
from ...huggingface.assets import (
    as_tokenizer_json,
    image_assets,
    image_size,
    label_assets,
    licence,
    text_assets,
    tokenizer_that_writes,
)
from ...huggingface.front_ends import audio_assets, front_end
from ...huggingface.tasks import (
    examples_of,
    graphs_of,
    inputs_of,
    is_sentence_transformer,
    load_sentence_transformer,
    note_scores,
)

_POOLED = "sentence-similarity"
#: Axes of pictures: rows, channels, height, width.
_PICTURE = 4


def load_huggingface(
    ref: str,
    task: str | None = None,
    revision: str | None = None,
    download: bool = False,
    graphs: Sequence[str] = (),
) -> LoadedModel:
    """The model in the folder `ref`, or of hf:ORG/NAME at `revision`, ready to be exported.

    task        a pipeline tag: the class for it, in place of the one that config.json names
    download    fetch a repository that is not in the local cache; nothing else touches the network
    graphs      ("text", "image") makes a graph of each tower of a model that compares texts and pictures

    No code of the folder runs, and nothing is repaired silently: `notes` tell what was left out. Raises UsageError for a
    folder that is no such model and for what has no graph, CheckpointError for weights that are missing or do not fit.
    """
    saved = find_model(ref, revision, download)
    name = (saved.repository or saved.folder.resolve().name).rpartition("/")[2] or "model"
    inner = replace(saved, folder=model_folder(saved.folder))
    pooled = is_sentence_transformer(saved) and task in (None, _POOLED)
    if pooled:
        weights, kind = load_sentence_transformer(saved), Kind(body_of(saved), _POOLED, False)
    else:
        kind = kind_of(saved, task)
        note_scores(saved)
        weights = load_weights(kind.architecture, inner)
    made = _generator(inner, kind, weights, graphs) if kind.generates else _one_pass(inner, name, kind, weights, graphs)
    provenance = provenance_of(saved, kind.architecture.__name__, weights.file, licence(saved))
    return LoadedModel(name, weights.model, made, provenance, saved.notes)


def _generator(saved: SavedModel, kind: Kind, weights: Weights, graphs: Sequence[str]) -> ModelSpec:
    if graphs:
        raise UsageError(
            f"--graphs {','.join(graphs)}: {saved.ref} writes token by token, and its graphs belong together"
        )
    if weights.missing:
        few = ", ".join(weights.missing[:3])
        raise UsageError(
            f"{saved.ref}: {kind.architecture.__name__} needs {len(weights.missing)} weights that the folder has not ({few}); "
            "take the class that was trained with --task, as in --task feature-extraction"
        )
    from ...huggingface.generators import generator_spec  # transformers is ready by now, and needed at its import

    made = generator_spec(weights.model, saved)
    if tag_of(kind.task) == made.task:
        made = replace(made, task=kind.task)  # "translation", where it was asked for
    text = made.assets() if made.assets else {}
    return made if text else replace(made, assets=lambda: _of_prompts(saved, made.graphs[0]))


def _of_prompts(saved: SavedModel, graph: GraphSpec) -> dict[str, Any]:
    """What makes a prompt of a picture or a recording, by what the first graph takes, and a text of an answer."""
    if not any(len(spec.dims) == _PICTURE for spec in graph.inputs):
        return audio_assets(saved, graph.inputs, graph.outputs)
    left = "the graphs are exported, and answers are token ids"
    own = tokenizer_that_writes(saved, left)
    return image_assets(saved, graph.inputs) | ({} if own is None else as_tokenizer_json(saved, own, left))


def _one_pass(saved: SavedModel, name: str, kind: Kind, weights: Weights, graphs: Sequence[str]) -> ModelSpec:
    model: nn.Module = weights.model
    heard = front_end(saved, model)
    inputs = inputs_of(model, saved, image_size(saved), None if heard is None else heard.input)
    made = graphs_of(weights, saved, inputs, graphs, heard)
    return ModelSpec(
        name=name,
        task=kind.task,
        summary=kind.architecture.__name__,
        build=lambda: model,
        graphs=made,
        tolerance=_tolerance(saved, model, made),
        assets=lambda: _assets(saved, model, made),
    )


def _tolerance(saved: SavedModel, model: nn.Module, graphs: Sequence[GraphSpec]) -> Tolerance:
    """That of the graph whose rounding is the largest, for all of them."""
    parameters = sum(p.numel() for p in model.parameters())
    found = [
        measured_tolerance(graph.view(model), lambda module: module, *examples_of(graph, parameters))
        for graph in graphs
    ]
    tolerance, note = max(found, key=lambda one: one[0].rtol)
    saved.notes.extend([note] if note else [])
    return tolerance


def _assets(saved: SavedModel, model: Any, graphs: Sequence[GraphSpec]) -> dict[str, Any]:
    inputs = tuple({spec.name: spec for graph in graphs for spec in graph.inputs}.values())
    outputs = tuple(spec for graph in graphs for spec in graph.outputs)
    names = {spec.name for spec in inputs}
    found: dict[str, Any] = {}
    with torch.no_grad():
        if "input_ids" in names:
            found |= text_assets(saved, inputs)
        if "pixel_values" in names:
            found |= image_assets(saved, inputs)
        if not names & {"input_ids", "pixel_values"}:
            found |= audio_assets(saved, inputs, outputs)
        return found | label_assets(model, outputs, saved.notes)
