"""Which models of transformers and timm can be exported, with proof? Tries a small one of every class, writes docs/survey.md.

    python scripts/survey_models.py                       # every class; hours. Run again, it goes on where it was
    python scripts/survey_models.py --only Llama,T5       # classes whose name has one of these
    python scripts/survey_models.py --again failed        # those that failed, once more
    python scripts/survey_models.py --page                # the page alone, from what is known

Each model goes through its stages (scripts/model_survey/one_model.py) in a process of its own with a time limit. What came
of it is a line of runs/survey/results.jsonl; the last line of a class counts.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts" / "model_survey")]
RESULTS = ROOT / "runs" / "survey" / "results.jsonl"
#: Seconds for all stages of one model.
LIMIT = 600.0


def main() -> None:
    options = _options()
    from classes import rows
    from page import write_page

    known = read_results(options.results)
    chosen = [row for row in rows() if not options.only or any(part in row.name for part in options.only.split(","))]
    if not options.page:
        todo = [row for row in chosen if _wanted(known.get(row.name), options.again)]
        print(f"{len(chosen)} classes, {len(todo)} to do", flush=True)
        with ThreadPoolExecutor(options.jobs) as pool:
            for done, (row, result) in enumerate(
                zip(todo, pool.map(lambda r: survey(r.name, options.limit), todo), strict=True), 1
            ):
                result |= {"class": row.name, "model_type": row.model_type, "auto_class": row.auto_class}
                known[row.name] = result
                _append(options.results, result)
                print(
                    f"{done}/{len(todo)} {row.name}: {result['last']} {result['state']} {result.get('text', '')[:110]}",
                    flush=True,
                )
    write_page(options.document, [known[row.name] for row in rows() if row.name in known], sum(1 for _ in rows()))


def survey(name: str, limit: float) -> dict[str, Any]:
    """All stages of one class: {"stages": {...}, "last": the last stage, "state": passed, failed or "time limit"}."""
    stages: dict[str, dict[str, Any]] = {}
    last, start = "start", time.monotonic()
    with tempfile.TemporaryDirectory(prefix="survey-") as folder, tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "model_survey" / "one_model.py"), name, folder],
            stdout=said, stderr=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        said.seek(0)
        for line in said.read().splitlines():
            told = json.loads(line)
            last = told.pop("stage")
            stages[last] = told
    if code is None:
        stages[last] = {"state": "failed", "kind": "TimeLimit", "text": f"over {limit:g} s in all"}
    elif code != 0 or stages.get(last, {}).get("state") == "begun":
        stages[last] = {"state": "failed", "kind": "Crash", "text": f"the process ended with {code}"}
    failed = [(stage, told) for stage, told in stages.items() if told["state"] != "passed"]
    stage, told = failed[0] if failed else (last, stages[last])
    return {"stages": stages, "last": stage, "seconds": round(time.monotonic() - start, 1)} | told


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """By class, the last one of each."""
    if not path.is_file():
        return {}
    return {found["class"]: found for found in map(json.loads, path.read_text().splitlines())}


def _wanted(known: dict[str, Any] | None, again: str | None) -> bool:
    return known is None or again == "all" or (again == "failed" and known["state"] != "passed")


def _append(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="parts of class names, with commas between them")
    parser.add_argument("--again", choices=("failed", "all"), help="what was surveyed is surveyed once more")
    parser.add_argument("--jobs", type=int, default=2, help="models at once")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one model")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "survey.md")
    parser.add_argument("--page", action="store_true", help="write the page of what is known, and survey nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
