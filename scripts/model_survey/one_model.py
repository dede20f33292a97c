"""One model through every stage, each told as a JSON line.

made       a small model was saved as a folder; of a model of timm its weights
exported   it became a bundle, and every graph was held against PyTorch at the corners of its ranges
tokens     of a generator: what the graphs write through the cache is what PyTorch writes without one
fp16       the fp16 graphs were held against the recorded answers; where they failed, "half" is how far PyTorch's own answers in
           half precision are from those in full
rtx        TensorRT-RTX built an engine of every graph
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

#: How the names of models of timm begin, as sources of an export too.
TIMM = "timm:"
STAGES = ("made", "asked", "exported", "tokens", "fp16", "rtx")
Work = Callable[[], dict[str, Any]]


def run(name: str, bundle: Path, lines: Path, stages: tuple[str, ...]) -> None:
    """The `stages` of the class `name`, told in the file `lines`: the process of its own that a fork is made for.

    The first three until one fails; of the others each, whatever the other says. They take `bundle` of a run before where
    those are not wanted.
    """
    os.setsid()  # whoever ends this process ends its children
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    warnings.filterwarnings("ignore")
    with lines.open("w", buffering=1) as said, tempfile.TemporaryDirectory(prefix="survey-") as folder:
        first, in_half = _first_stages(name, Path(folder, "model"), bundle)
        if not all(_stage(said, stage, do) for stage, do in first.items() if stage in stages):
            return
        if wanted := set(stages) - set(first):
            for stage, do in _later_stages(bundle).items():
                if stage in wanted:
                    _stage(said, stage, do, in_half if stage == "fp16" else dict)


def _first_stages(name: str, model: Path, bundle: Path) -> tuple[dict[str, Work], Work]:
    """They, and what tells how PyTorch itself answers in half precision."""
    from attn_export import Console, ExportOptions, export, load_source

    kept: dict[str, Any] = {}

    def said() -> tuple[str, dict[str, Any], list[str]]:
        """What the model is called by, its checkpoint where it needs one, and what it is made with."""
        config = [f"{key}={value}" for key, value in kept.get("config", {}).items()]
        known: dict[str, Any] = {"checkpoint": model} if name.startswith(TIMM) else {}
        return name if known else str(model), known, config

    def made() -> dict[str, Any]:
        if name.startswith(TIMM):
            from timm_model import save_timm_weights

            kept.update(save_timm_weights(name.removeprefix(TIMM), model))
        else:
            from tiny_models import save_tiny_model

            kept.update(parameters=save_tiny_model(name, model))
        return dict(kept)

    def asked() -> dict[str, Any]:
        ref, known, config = said()
        source = load_source(ref, config=config, **known)
        return {"graphs": [graph.name for graph in source.graphs]}

    def exported() -> dict[str, Any]:
        ref, known, config = said()
        options = ExportOptions(sweep=0.0, force=True, config=config)
        done = export(ref, bundle, options=options, console=Console(quiet=True), **known)
        return {"error": done.worst_error} | ({"fixed": list(done.fixed)} if done.fixed else {})

    def in_half() -> dict[str, Any]:
        from half_distance import half_distance

        if not kept:
            made()
        ref, known, config = said()
        found = half_distance(load_source(ref, config=config, **known))
        return {} if found is None else {"half": found}

    return {"made": made, "asked": asked, "exported": exported}, in_half


def _later_stages(bundle: Path) -> dict[str, Work]:
    from attn_export import Console, convert, to_trt
    from attn_runtime import Bundle

    quiet, generated = Console(quiet=True), Bundle.open(bundle).manifest.get("generation")
    tokens: dict[str, Work] = {"tokens": lambda: {"cases": len(generated)}} if generated else {}
    return tokens | {
        "fp16": lambda: {"graphs": len(convert(bundle, "fp16", console=quiet))},
        "rtx": lambda: {"engines": len(to_trt(bundle, "fp32", console=quiet).builds)},
    }


def _stage(said: TextIO, name: str, work: Work, beside: Work = dict) -> bool:
    """Run one stage and say what came of it, and what `beside` tells where it failed. The line before says that it began:
    whoever kills us knows where we were."""
    _say(said, {"stage": name, "state": "begun"})
    start = time.monotonic()
    try:
        found = {"state": "passed", **work()}
    except Exception as error:  # what a stage raises is what the survey is about
        text = " ".join(str(error).split())
        found = {"state": "failed", "kind": type(error).__name__, "text": text[:600]}
        with suppress(Exception):
            found |= beside()
    _say(said, {"stage": name, "seconds": round(time.monotonic() - start, 1), **found})
    return found["state"] == "passed"


def _say(said: TextIO, line: dict[str, Any]) -> None:
    said.write(json.dumps(line) + "\n")
