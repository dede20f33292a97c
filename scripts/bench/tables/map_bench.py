"""What `attn-run map` costs over a bare loop around ONNX Runtime, and whether its memory stays flat over a million rows.

    python scripts/bench/tables/map_bench.py [--rows 65536] [--rounds 3] [--million 1000000] [--ray] [--json FILE]

Rates, of a text classifier (textclassifier, random weights; texts of 5 to 60 words), in turn, each in a process of its own:

    bare     JSONL read by json, tokens of `tokenizers` in one call for 8192 rows, which are sorted by length and run 32 at a time
             by onnxruntime itself, on as many threads as there are cores; the likeliest class and its share are kept in lists.
             What one writes oneself, but for errors, files, and a run that goes on
    as read  the same without the sorting, for what that is worth
    map 1    `map_rows` in one process, all cores
    map 2    in two processes, half of the cores each
    ray 1    with `--ray`: an actor with all cores of a cluster that is this machine (`--ray`: needs ray[data])
    ray 2    two actors, half of the cores each

All rates count from the end of the first 8192 rows on (of two processes, of the first two times 8192): what it takes to start,
and to verify, is told beside them.

Rows, of a graph that costs nothing (4 numbers of 16): microseconds a row of map and of a bare loop (json, numpy, onnxruntime),
from JSONL, and of map from Parquet; bytes a row of the output. And the peak of map's resident memory after a tenth of a million
rows and at its end.

Expected before it was run: map 1 is 0.95 times bare or more; map 2 is not slower than map 1; ray 1 is 0.8 times map 1, for the
process that reads and the ways between them, ray 2 0.9 times map 2; as read is slower than bare; a row of numbers costs under 60
microseconds more than bare; memory at the end is within 5% of that after a tenth of the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

WINDOW, BATCH = 8192, 32
RUNS = Path("runs/bench/map")
NET = "import torch\n\n\ndef build():\n    torch.manual_seed(0)\n    return torch.nn.Linear(16, 4)\n"


# --- what is measured, each in a process of its own -----------------------------------------------------------------------


def bare(bundle: Path, rows: Path, output: Path, ordered: bool) -> dict[str, float]:
    import numpy as np
    from tokenizers import Tokenizer

    started = time.perf_counter()
    session = opened(bundle)
    tokenizer = Tokenizer.from_file(str(bundle / "assets/tokenizer.json"))
    labels = json.loads((bundle / "assets/labels.json").read_text())
    found: list[tuple[str, float]] = []
    marks = [(0, started)]
    with rows.open(encoding="utf-8") as file:
        while window := [json.loads(line)["text"] for line in islice(file, WINDOW)]:
            encoded = [each.ids for each in tokenizer.encode_batch(window)]
            order = sorted(range(len(window)), key=lambda n: -len(encoded[n])) if ordered else list(range(len(window)))
            answers: dict[int, tuple[str, float]] = {}
            for at in range(0, len(order), BATCH):
                batch = order[at : at + BATCH]
                length = max(len(encoded[n]) for n in batch)
                tokens, mask = np.zeros((len(batch), length), np.int64), np.zeros((len(batch), length), bool)
                for row, n in enumerate(batch):
                    tokens[row, : len(encoded[n])], mask[row, : len(encoded[n])] = encoded[n], True
                (logits,) = session.run(["logits"], {"tokens": tokens, "mask": mask})
                shares = np.exp(logits - logits.max(1, keepdims=True))
                shares /= shares.sum(1, keepdims=True)
                answers |= {n: (labels[int(s.argmax())], float(s.max())) for n, s in zip(batch, shares, strict=True)}
            found += [answers[n] for n in range(len(window))]
            marks.append((len(found), time.perf_counter()))
    return rates(marks)


def mapped(bundle: Path, rows: Path, output: Path, workers: int, **options: Any) -> dict[str, float]:
    import attn_runtime

    started = time.perf_counter()
    marks = [(0, started)]
    memory: list[int] = []

    def note(now: Any) -> None:
        marks.append((now.rows, time.perf_counter()))
        memory.append(resident())

    report = attn_runtime.map_rows(bundle, [rows], output, workers=workers, restart=True, on_progress=note, **options)
    tenth = next(n for n, (done, _) in enumerate(marks) if done >= report.rows / 10)
    size = sum(file.stat().st_size for file in output.glob("*.parquet"))
    told = {"early_mib": max(memory[:tenth]) / 2**20, "peak_mib": max(memory) / 2**20, "bytes": size / report.rows}
    return rates(marks, workers) | told


def on_ray(bundle: Path, rows: Path, output: Path, actors: int) -> dict[str, float]:
    import ray

    cores = len(os.sched_getaffinity(0))
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, object_store_memory=256 << 20)
    return mapped(bundle, rows, output, actors, ray="auto", threads=cores // actors)


def bare_tensors(bundle: Path, rows: Path) -> dict[str, float]:
    import numpy as np

    session = opened(bundle)
    marks, found = [(0, time.perf_counter())], list[Any]()
    (name,) = (each.name for each in session.get_inputs())
    with rows.open(encoding="utf-8") as file:
        while window := [json.loads(line)["x"] for line in islice(file, WINDOW)]:
            for at in range(0, len(window), BATCH):
                found += list(session.run(None, {name: np.array(window[at : at + BATCH], np.float32)})[0])
            marks.append((len(found), time.perf_counter()))
    return rates(marks)


def opened(bundle: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(
        os.sched_getaffinity(0)
    )  # its own default is fewer, where cores have two threads
    return onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])


def rates(marks: list[tuple[int, float]], first_mark: int = 1) -> dict[str, float]:
    """Rows per second from the first mark of rows on, and seconds until then less what its rows take."""
    (first, early), (last, late) = marks[first_mark], marks[-1]
    rate = (last - first) / (late - early)
    return {"rate": rate, "start": early - marks[0][1] - first / rate}


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


MEASURES = {
    "bare": lambda o: bare(RUNS / "texts.attn", RUNS / "texts.jsonl", RUNS / "out", True),
    "as read": lambda o: bare(RUNS / "texts.attn", RUNS / "texts.jsonl", RUNS / "out", False),
    "map 1": lambda o: mapped(RUNS / "texts.attn", RUNS / "texts.jsonl", RUNS / "out", 1),
    "map 2": lambda o: mapped(RUNS / "texts.attn", RUNS / "texts.jsonl", RUNS / "out", 2),
    "ray 1": lambda o: on_ray(RUNS / "texts.attn", RUNS / "texts.jsonl", RUNS / "out", 1),
    "ray 2": lambda o: on_ray(RUNS / "texts.attn", RUNS / "texts.jsonl", RUNS / "out", 2),
    "rows bare": lambda o: bare_tensors(RUNS / "net.attn", RUNS / "numbers.jsonl"),
    "rows jsonl": lambda o: mapped(RUNS / "net.attn", RUNS / "numbers.jsonl", RUNS / "out-rows", 1, part_rows=WINDOW),
    "rows parquet": lambda o: mapped(
        RUNS / "net.attn", RUNS / "numbers.parquet", RUNS / "out-parquet", 1, part_rows=WINDOW
    ),
}


# --- what it is measured on -----------------------------------------------------------------------------------------------


def texts(count: int) -> Iterator[str]:
    draw = random.Random(0)
    words = json.loads((RUNS / "texts.attn/assets/tokenizer.json").read_text())["model"]["vocab"]
    known = [word for word in words if word.isalpha()][:5000]
    for number in range(count):
        yield json.dumps({"id": number, "text": " ".join(draw.choices(known, k=draw.randint(5, 60)))})


def prepare(rows: int, million: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    RUNS.mkdir(parents=True, exist_ok=True)
    (RUNS / "net.py").write_text(NET)
    export = [sys.executable, "-m", "attn_export.cli.app", "to-onnx", "--quiet", "--force"]
    subprocess.run([*export, "textclassifier", "-o", RUNS / "texts.attn"], check=True)
    net = ["net:build", "-o", "net.attn", "--input", "x:float32[batch,16]", "--dim", f"batch=1:{BATCH}:{BATCH}"]
    subprocess.run([*export, *net], check=True, cwd=RUNS)
    (RUNS / "texts.jsonl").write_text("\n".join(texts(rows)) + "\n")
    draw = np.random.default_rng(0)
    with (
        (RUNS / "numbers.jsonl").open("w") as file,
        pq.ParquetWriter(RUNS / "numbers.parquet", pa.schema([("x", pa.list_(pa.float32()))])) as writer,
    ):
        for _ in range(0, million, 10_000):
            values = draw.standard_normal((10_000, 16)).round(3).astype(np.float32)
            file.writelines(json.dumps({"x": [round(float(v), 3) for v in row]}) + "\n" for row in values)
            writer.write_table(pa.table({"x": pa.array(list(values), pa.list_(pa.float32()))}))


def measure(name: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--measure", name], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=8 * WINDOW)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--million", type=int, default=1_000_000)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(MEASURES[asked.measure](asked)))
        return
    prepare(asked.rows, asked.million)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in MEASURES}
    for _ in range(asked.rounds):
        for name in ("bare", "map 1", "as read", "map 2", *(("ray 1", "ray 2") if asked.ray else ())):
            found[name].append(measure(name))
            print(f"{name}: {found[name][-1]['rate']:,.0f} rows/s", flush=True)
    for name in ("rows bare", "rows jsonl", "rows parquet"):
        found[name].append(measure(name))
    middle = {
        name: {key: statistics.median(each[key] for each in told) for key in told[0]}
        for name, told in found.items()
        if told
    }
    print(
        f"\n| {asked.rows:,} texts | rows/s, best, middle | of bare, best, by round | seconds to start |\n|---|---|---|---|"
    )
    for name in ("bare", "map 1", "map 2", "ray 1", "ray 2", "as read"):
        if not found[name]:
            continue
        mine, bare_one = (max(each["rate"] for each in found[of]) for of in (name, "bare"))
        shares = ", ".join(f"{a['rate'] / b['rate']:.2f}" for a, b in zip(found[name], found["bare"], strict=True))
        rates = f"{mine:,.0f}, {middle[name]['rate']:,.0f}"
        print(f"| {name} | {rates} | {mine / bare_one:.2f}; {shares} | {middle[name]['start']:.1f} |")
    print(
        f"\n| {asked.million:,} rows of 16 numbers | us a row | MiB after a tenth, at most | bytes a row |\n|---|---|---|---|"
    )
    for name in ("rows bare", "rows jsonl", "rows parquet"):
        told = middle[name]
        memory = f"{told['early_mib']:.0f}, {told['peak_mib']:.0f}" if "peak_mib" in told else ""
        print(f"| {name} | {1e6 / told['rate']:.1f} | {memory} | {told.get('bytes', 0):.0f} |")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
