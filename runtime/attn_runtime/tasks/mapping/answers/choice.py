"""Which task a bundle is for, by its assets and outputs, where none is named."""

from __future__ import annotations

from collections.abc import Mapping

from ....bundle import Bundle
from ....errors import UsageError, did_you_mean
from .contract import Make, Opening, Task, TaskOptions
from .one_graph import classify_task, detect_task, embed_task, outputs_task, tag_task
from .written import generate_task, transcribe_task

TASKS: Mapping[str, Make] = {
    "classify": classify_task,
    "detect": detect_task,
    "embed": embed_task,
    "generate": generate_task,
    "outputs": outputs_task,
    "tag": tag_task,
    "transcribe": transcribe_task,
}


def task_of(bundle: Bundle, name: str | None, options: TaskOptions, opening: Opening) -> Task:
    """The task `name`, None for what the bundle is for. UsageError for another name, and where the bundle is not for it."""
    chosen = name or usual_task(bundle, opening.graph)
    if chosen not in TASKS:
        raise UsageError(f'task: got "{chosen}", {did_you_mean(chosen, TASKS)}expected one of {", ".join(TASKS)}')
    return TASKS[chosen](bundle, options, opening)


def usual_task(bundle: Bundle, graph: str | None = None) -> str:
    """What the command for a few inputs would be, that these assets and outputs are made for; "outputs" where there is none."""
    has = {name for name in ("audio", "ctc", "generation", "image", "labels", "text") if bundle.asset(name) is not None}
    if graph is None and "audio" in has and has & {"ctc", "generation"}:
        return "transcribe"
    if graph is None and {"text", "generation"} <= has:
        return "generate"
    if graph is None and len(bundle.graphs) != 1:
        raise UsageError(
            f"bundle {bundle.path.name}: has the graphs {', '.join(bundle.graphs)}, and is for no task of all of them; name one "
            "with --graph"
        )
    outputs = {spec.name: spec for spec in bundle.graph(graph).outputs}
    if {"image", "labels"} <= has and {"logits", "pred_boxes"} <= outputs.keys():
        return "detect"
    if "labels" in has and len(has & {"audio", "image", "text"}) == 1:
        logits = outputs.get("logits")
        return "tag" if "text" in has and logits is not None and len(logits.dims) == 3 else "classify"
    vectors = [
        spec
        for spec in outputs.values()
        if spec.dtype.startswith("float") and len(spec.dims) == 2 and not spec.dims[1].dynamic
    ]
    named = [
        spec for spec in vectors if spec.name in ("embeddings", "sentence_embedding", "text_embeds", "image_embeds")
    ]
    if len(has & {"audio", "image", "text"}) == 1 and len(named or vectors) == 1:
        return "embed"
    return "outputs"
