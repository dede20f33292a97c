"""What users feel, beside named peers: answers on idle and on busy machines, beams, batches, threads, requests, starts,
exports.

    python scripts/bench/user_bench.py [--rows generators,one_shot,...] [--quick] [--rounds N] [--json FILE] [--docs]
        [--no-peers] [--folder FOLDER] [--venvs FOLDER]

Each module of scripts/bench/user/ that has a `measure` is a row, found by its file; its head says what is measured,
against whom, and what was expected before. A number of ours stands beside one of somebody else's, or of ours in another
state: the ratio is what ours costs over what that costs (time over time; for rates the other way round), and the goal
is the most that it may be. Answers are compared beside each time, and the run fails where they differ.

Everybody takes turns: one measurement of each, then the next round, medians. Busy is a process of the same priority
that spins for each two cores, wherever the system puts it. Models, bundles and what peers make of them are kept in
FOLDER (runs/bench/user); peers live in venvs of their own (FOLDER/.venv-NAME in runs/bench, made where they are
missing).

--quick takes less than three minutes: tiny models, one round, those peers whose venv is there. --docs writes the tables
into docs/measured/user.md, each module's in a place of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import date
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BENCH = ROOT / "runs" / "bench"
DOCS = ROOT / "docs" / "measured" / "user.md"
#: Modules of user/ that others share: they measure nothing by themselves.
SHARED = ("field", "machine", "report", "row")


def names() -> list[str]:
    return sorted(file.stem for file in (HERE / "user").glob("*.py") if file.stem not in SHARED)


def run(chosen: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """All that is asked for, written to --json after each module: a killed run keeps what it has."""
    from generate_bench import machine
    from precision.runners import PACKAGES, say
    from user.row import Asked

    arguments.folder.mkdir(parents=True, exist_ok=True)
    asked = Asked(arguments.quick, arguments.rounds, arguments.folder, arguments.venvs, not arguments.no_peers)
    peers = dict(PACKAGES[kind][0].split("==") for kind in ("ctranslate2", "genai", "openvino"))
    before = os.getloadavg()[0]
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "rounds": asked.rounds,
        "quick": asked.quick,
        "versions": {"onnxruntime": version("onnxruntime"), **(peers if asked.peers else {})},
        "load": [before, before],
        "rows": {},
        "took_seconds": {},
    }
    for name in chosen:
        say(name)
        started = time.perf_counter()
        result["rows"][name] = [row.told() for row in import_module(f"user.{name}").measure(asked)]
        result["took_seconds"][name] = time.perf_counter() - started
        result["load"] = [before, os.getloadavg()[0]]
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(names()), help="which, separated by commas")
    parser.add_argument("--quick", action="store_true", help="tiny models, one round, peers that are installed")
    parser.add_argument("--rounds", type=int, help="5, with --quick 1")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    parser.add_argument("--docs", action="store_true", help=f"also write {DOCS.relative_to(ROOT)}")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--folder", type=Path, default=BENCH / "user", help="where models and bundles are kept")
    parser.add_argument("--venvs", type=Path, default=BENCH, help="where the venvs of peers are kept")
    arguments = parser.parse_args()
    chosen = arguments.rows.split(",")
    for name in chosen:
        if name not in names():
            parser.error(f'--rows: unknown row "{name}"; available: {", ".join(names())}')
    arguments.rounds = (1 if arguments.quick else 5) if arguments.rounds is None else arguments.rounds
    if arguments.rounds < 1:
        parser.error("--rounds: expected 1 or more")
    if arguments.quick and arguments.docs:
        parser.error("--docs: a quick run is of tiny models; run it without --quick")
    os.environ.pop("OMP_NUM_THREADS", None)  # everybody is told how many threads to take
    sys.path.insert(0, str(HERE))
    from user.report import head, put, tables

    try:
        result = run(chosen, arguments)
    except RuntimeError as problem:  # answers differ, or ours failed
        sys.exit(f"{problem}")
    print(head(result))
    for name, rows in result["rows"].items():
        print(f"\n## {name}\n\n{tables(rows)}")
        if arguments.docs:
            put(DOCS, name, f"{head(result)}\n\n{tables(rows)}\n")


if __name__ == "__main__":
    main()
