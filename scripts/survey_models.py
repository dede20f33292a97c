"""Which models of transformers and timm can be exported, with proof? Tries a small one of every class, writes docs/survey.md.

    python scripts/survey_models.py                       # every class; hours. Run again, it goes on where it was
    python scripts/survey_models.py --only Llama,T5       # classes whose name has one of these
    python scripts/survey_models.py --again failed        # those that failed, once more
    python scripts/survey_models.py --stages made,asked,exported,tokens      # the first stages alone; then of what they made:
    python scripts/survey_models.py --stages fp16,rtx
    python scripts/survey_models.py --page                # the page alone, from what is known

Each model goes through its stages (scripts/model_survey/one_model.py) in a process of its own with a time limit. What came
of it is a line of runs/survey/results.jsonl, its bundle lies beside; the last line of a class counts. `attn-export models --hf`
lists what is written beside the page.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "scripts" / "model_survey"
sys.path[:0] = [str(MODULES)]
from one_model import STAGES  # noqa: E402

RESULTS = ROOT / "runs" / "survey" / "results.jsonl"
#: What `attn-export models --hf` lists.
PACKAGED = ROOT / "export" / "attn_export" / "source" / "library_models" / "surveyed.json"
#: Without it the stages are those of a bundle that an earlier run has left.
FIRST = STAGES[0]
#: Seconds for all stages of one model.
LIMIT = 600.0


def main() -> None:
    options = _options()
    from classes import rows
    from packaged import write_packaged
    from page import write_page

    known = read_results(options.results)
    chosen = [row for row in rows() if not options.only or any(part in row.name for part in options.only.split(","))]
    if not options.page:
        folder = options.results.parent / "bundles"
        folder.mkdir(parents=True, exist_ok=True)
        todo = [row for row in chosen if _wanted(known.get(row.name), options, folder / f"{row.name}.attn")]
        random.Random(0).shuffle(todo)  # what is known before the end is then a sample of all
        print(f"{len(chosen)} classes, {len(todo)} to do", flush=True)
        with ThreadPoolExecutor(options.jobs) as pool:
            working = {pool.submit(survey, row.name, folder, options.stages, options.limit): row for row in todo}
            for done, future in enumerate(as_completed(working), 1):
                row, result = working[future], future.result()
                if FIRST not in options.stages:
                    result["stages"] = known[row.name]["stages"] | result["stages"]
                result = judged(result) | {
                    "class": row.name,
                    "model_type": row.model_type,
                    "auto_class": row.auto_class,
                }
                known[row.name] = result
                _append(options.results, result)
                told = f"{row.name}: {result['last']} {result['state']} {result.get('text', '')[:110]}"
                print(f"{done}/{len(todo)} {result['seconds']:g} s {told}", flush=True)
    found = [known[row.name] for row in rows() if row.name in known]
    write_page(options.document, found, sum(1 for _ in rows()))
    if options.results == RESULTS:  # results of somebody's few classes are not what is packaged
        write_packaged(PACKAGED, found)


def survey(name: str, folder: Path, stages: Sequence[str], limit: float) -> dict[str, Any]:
    """`stages` of one class, whose bundle stays in `folder`: {"stages": {stage: what came of it}, "seconds": of all}."""
    from one_model import run

    bundle, lines = folder / f"{name}.attn", folder / f"{name}.jsonl"
    lines.unlink(missing_ok=True)
    start = time.monotonic()
    child = _forks().Process(target=run, args=(name, bundle, lines, tuple(stages)))
    child.start()
    child.join(limit)
    over = child.is_alive()
    if over:
        os.killpg(child.pid or 0, signal.SIGKILL)
        child.join()
    told: dict[str, dict[str, Any]] = {}
    last = "start"
    for line in lines.read_text().splitlines() if lines.exists() else ():
        said = json.loads(line)
        last = said.pop("stage")
        told[last] = said
    lines.unlink(missing_ok=True)
    if over:
        told[last] = {"state": "failed", "kind": "TimeLimit", "text": f"over {limit:g} s in all"}
    elif child.exitcode != 0 or told.get(last, {}).get("state", "begun") == "begun":
        told[last] = {"state": "failed", "kind": "Crash", "text": f"the process ended with {child.exitcode}"}
    return {"stages": told, "seconds": round(time.monotonic() - start, 1)}


def judged(result: dict[str, Any]) -> dict[str, Any]:
    """`result` with its first failed stage, or the last one that passed: "last", "state", and what was said."""
    stages = result["stages"]
    failed = [stage for stage, told in stages.items() if told["state"] != "passed"]
    last = failed[0] if failed else list(stages)[-1]
    return {"last": last} | stages[last] | {key: result[key] for key in ("stages", "seconds")}


@cache
def _forks() -> ForkServerContext:
    """Processes that begin with all libraries imported: those take longer to import than a small model to export."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(MODULES), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    return context


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """By class, the last one of each."""
    if not path.is_file():
        return {}
    return {found["class"]: found for found in map(json.loads, path.read_text().splitlines())}


def _wanted(known: dict[str, Any] | None, options: argparse.Namespace, bundle: Path) -> bool:
    if FIRST not in options.stages:
        told = {} if known is None else known["stages"]
        missing = any(stage not in told for stage in options.stages if stage != "tokens")
        failed = any(told.get(stage, {}).get("state") == "failed" for stage in options.stages)
        again = options.again == "all" or (options.again == "failed" and failed)
        return bundle.exists() and (missing or again)
    return known is None or options.again == "all" or (options.again == "failed" and known["state"] != "passed")


def _append(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="parts of class names, with commas between them")
    parser.add_argument("--again", choices=("failed", "all"), help="what was surveyed is surveyed once more")
    parser.add_argument(
        "--stages", type=lambda text: text.split(","), default=list(STAGES), help=f"of {','.join(STAGES)}; default: all"
    )
    parser.add_argument("--jobs", type=int, default=2, help="models at once")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one model")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "survey.md")
    parser.add_argument("--page", action="store_true", help="write the page of what is known, and survey nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
