"""One model through every stage, each told as a JSON line.

made       a small model was saved as a folder; of a model of timm its weights
exported   it became a bundle, and every graph was held against PyTorch at the corners of its ranges
tokens     of a generator: what the graphs write through the cache is what PyTorch writes without one
fp16       the fp16 graphs were held against the recorded answers
rtx        TensorRT-RTX built an engine of every graph
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

#: How the names of models of timm begin, as sources of an export too.
TIMM = "timm:"
STAGES = ("made", "exported", "tokens", "fp16", "rtx")


def run(name: str, bundle: Path, lines: Path, stages: tuple[str, ...]) -> None:
    """The `stages` of the class `name`, told in the file `lines`: the process of its own that a fork is made for.

    Every stage until one fails; of fp16 and rtx each, whatever the other says. They take `bundle` of a run before where
    the first ones are not asked for.
    """
    os.setsid()  # whoever ends this process ends its children
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    warnings.filterwarnings("ignore")
    from attn_export import Console, ExportOptions, convert, export, to_trt
    from attn_runtime import Bundle
    from timm_model import save_timm_weights
    from tiny_models import save_tiny_model

    quiet = Console(quiet=True)
    with lines.open("w", buffering=1) as said, tempfile.TemporaryDirectory(prefix="survey-") as folder:
        model = Path(folder, "model")
        if "exported" in stages:
            source, weights = (name, model) if name.startswith(TIMM) else (str(model), None)
            made: dict[str, Any] = {}

            def make() -> dict[str, Any]:
                if weights:
                    made.update(save_timm_weights(name.removeprefix(TIMM), weights))
                else:
                    made.update(parameters=save_tiny_model(name, model))
                return made

            def bring() -> dict[str, Any]:
                config = [f"{key}={value}" for key, value in made.get("config", {}).items()]
                options = ExportOptions(sweep=0.0, force=True, config=config)
                result = export(source, bundle, checkpoint=weights, options=options, console=quiet)
                return {"error": result.worst_error}

            work: dict[str, Callable[[], dict[str, Any]]] = {"made": make, "exported": bring}
            if not all(_stage(said, stage, do) for stage, do in work.items()):
                return
        if "tokens" in stages and (generated := Bundle.open(bundle).manifest.get("generation")):
            _stage(said, "tokens", lambda: {"cases": len(generated)})
        if "fp16" in stages:
            _stage(said, "fp16", lambda: {"graphs": len(convert(bundle, "fp16", console=quiet))})
        if "rtx" in stages:
            _stage(said, "rtx", lambda: {"engines": len(to_trt(bundle, "fp32", console=quiet).builds)})


def _stage(said: TextIO, name: str, work: Callable[[], dict[str, Any]]) -> bool:
    """Run one stage and say what came of it. The line before says that it began: whoever kills us knows where we were."""
    _say(said, {"stage": name, "state": "begun"})
    start = time.monotonic()
    try:
        found = {"state": "passed", **work()}
    except Exception as error:  # what a stage raises is what the survey is about
        text = " ".join(str(error).split())
        found = {"state": "failed", "kind": type(error).__name__, "text": text[:600]}
    _say(said, {"stage": name, "seconds": round(time.monotonic() - start, 1), **found})
    return found["state"] == "passed"


def _say(said: TextIO, line: dict[str, Any]) -> None:
    said.write(json.dumps(line) + "\n")
