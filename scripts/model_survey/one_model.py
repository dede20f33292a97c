"""One model through every stage, in a process of its own: `one_model.py CLASS FOLDER` prints a JSON line for each stage.

made       a small model was saved as a folder
exported   the folder became a bundle, and every graph was held against PyTorch at the corners of its ranges
tokens     of a generator: what the graphs write through the cache is what PyTorch writes without one
fp16       the fp16 graphs were held against the recorded answers
rtx        TensorRT-RTX built an engine of every graph
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(name: str, folder: Path) -> None:
    """Every stage until one fails; of fp16 and rtx each, whatever the other says."""
    warnings.filterwarnings("ignore")
    from attn_export.torchvision_import import ready_torchvision

    ready_torchvision()
    import transformers

    transformers.logging.set_verbosity_error()
    from attn_export import Console, ExportOptions, convert, export, to_trt
    from attn_runtime import Bundle
    from tiny_models import save_tiny_model

    model, bundle, quiet = folder / "model", folder / "model.attn", Console(quiet=True)
    if not _stage("made", lambda: {"parameters": save_tiny_model(name, model)}):
        return
    options = ExportOptions(sweep=0.0)
    if not _stage(
        "exported", lambda: {"error": export(str(model), bundle, options=options, console=quiet).worst_error}
    ):
        return
    if generated := Bundle.open(bundle).manifest.get("generation"):
        _stage("tokens", lambda: {"cases": len(generated)})
    _stage("fp16", lambda: {"graphs": len(convert(bundle, "fp16", console=quiet))})
    _stage("rtx", lambda: {"engines": len(to_trt(bundle, "fp32", console=quiet).builds)})


def _stage(name: str, work: Callable[[], dict[str, Any]]) -> bool:
    """Run one stage and say what came of it. The line before says that it began: whoever kills us knows where we were."""
    _say({"stage": name, "state": "begun"})
    start = time.monotonic()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = {"state": "passed", **work()}
    except Exception as error:  # what a stage raises is what the survey is about
        text = " ".join(str(error).split())
        found = {"state": "failed", "kind": type(error).__name__, "text": text[:600]}
    _say({"stage": name, "seconds": round(time.monotonic() - start, 1), **found})
    return found["state"] == "passed"


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    run(sys.argv[1], Path(sys.argv[2]))
