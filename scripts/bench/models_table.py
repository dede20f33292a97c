"""Measure every built-in model: accuracy, parity after each stage and precision, size, latency against PyTorch.

    python scripts/bench/models_table.py [NAME...] [--runs runs] [--write docs/use/models.md]

A model that has no weights in RUNS/NAME is trained there first, at its default settings. Latency is of one call of a graph on
the CPU at batch 1 and the other dims at their opt: the runtime's bound call, PyTorch eager and torch.compile of the same
module, in turns in one run, on the same number of threads; medians of the rounds. With --write, the tables replace what lies
between the two markers in that file.

Expected before the first run: ONNX Runtime ahead of eager everywhere, most where a graph is many small nodes (a decoder's
step, 3x or more), least where one convolution is most of the time; torch.compile between the two on small graphs, for
its calls cost more than a bound call; parity in fp32 around 1e-6 of max|PyTorch|, fp16 around 1e-3, bf16 around 1e-2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_export import export
from attn_export.console import Console
from attn_export.precision.conversion import add_precision
from attn_export.source.resolve import Source, load_source
from attn_models import registry
from attn_models.spec import GraphSpec, ModelSpec
from attn_runtime.bundle import Bundle
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.session import open_session
from attn_runtime.spec import named_dims

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ROUNDS, ROUND_SECONDS = 7, 0.15
#: Between turns. The threads of the one before wait busily for their next call: ONNX Runtime's for 40 ms.
SETTLE_S = 0.25


def trained(name: str, runs: Path) -> dict[str, Any]:
    """The metrics of the weights in runs/NAME, which are trained now where there are none."""
    folder = runs / name
    if not (folder / "metrics.json").exists():
        subprocess.run([sys.executable, "-m", "attn_models.train", name, "--out", str(folder)], check=True)
    return dict(json.loads((folder / "metrics.json").read_text()))


def bundle_of(spec: ModelSpec, source: Source, folder: Path) -> Bundle:
    target = folder / f"{spec.name}.attn"
    export(source, target, console=Console())
    for kind in ("fp16", "bf16"):
        add_precision(target, kind, console=Console())
    return Bundle.open(target)


def parity(bundle: Bundle) -> list[dict[str, str]]:
    """Per graph, the worst error after each stage, relative to max|PyTorch| of its tensor; and the sizes of its files."""
    rows = []
    for name, graph in bundle.manifest["graphs"].items():
        row = {"graph": bundle.name if len(bundle.graphs) == 1 else f"{bundle.name} {name}"}
        for stage in graph["stages"]:
            column = stage["name"] if stage["precision"] == "fp32" else stage["precision"]
            if column.endswith("-trt"):
                continue
            errors = [c["max_error"] / c["max_reference"] for c in stage["checks"] if c["max_reference"]]
            if errors:  # else it was held against PyTorch as what a later pass made of it
                row[column] = f"{max(errors):.1e}"
        files = bundle.manifest["files"]
        for kind in ("fp32", "fp16"):
            entry = graph["precisions"][kind]
            row[f"{kind} MB"] = f"{sum(files[f]['size'] for f in (entry['file'], *entry['data'])) / 1e6:.2f}"
        rows.append(row)
    return rows


def latency(source: Source, spec: GraphSpec, bundle: Bundle, threads: int) -> dict[str, str]:
    """One call at batch 1, in ms: the runtime, eager, compiled; the peers also as a ratio to the runtime."""
    module = spec.view(source.module).eval()
    sizes = {name: dim.opt for name, dim in named_dims(spec.inputs).items()} | {"batch": 1}
    inputs = draw_inputs(spec.inputs, sizes, 0)
    tensors = [torch.from_numpy(np.array(v)) for v in inputs.values()]
    compiled = torch.compile(module, dynamic=False)
    with open_session(bundle, "cpu", graph=spec.name, threads=threads) as session, torch.inference_mode():
        bound = session.bind(sizes)
        for name, value in inputs.items():
            bound.inputs[name][...] = value
        found = turns({"runtime": bound, "eager": lambda: module(*tensors), "compile": lambda: compiled(*tensors)})
    row = {"graph": bundle.name if len(bundle.graphs) == 1 else f"{bundle.name} {spec.name}"}
    row["at"] = ", ".join(f"{n}={s}" for n, s in sizes.items())
    row["attn_runtime ms"] = f"{found['runtime'] * 1000:.3f}"
    for peer, title in (("eager", "PyTorch eager"), ("compile", "torch.compile")):
        row[f"{title} ms"] = f"{found[peer] * 1000:.3f} ({found[peer] / found['runtime']:.1f}x)"
    return row


def turns(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of one call: the median over rounds, in which each is called in its turn."""
    counts = {}
    for name, call in calls.items():
        for _ in range(3):
            call()
        started = time.perf_counter()
        call()
        counts[name] = max(1, int(ROUND_SECONDS / max(time.perf_counter() - started, 1e-6)))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            time.sleep(SETTLE_S)
            call()
            started = time.perf_counter()
            for _ in range(counts[name]):
                call()
            seconds[name].append((time.perf_counter() - started) / counts[name])
    return {name: statistics.median(values) for name, values in seconds.items()}


def markdown(rows: list[dict[str, str]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(row.get(column, '') for column in columns)} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="models; all of them when left out")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trained weights")
    parser.add_argument("--bundles", type=Path, default=Path("runs/bench/models"), help="folder for the bundles")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path, help="file with the two markers to put the tables between")
    arguments = parser.parse_args()
    arguments.bundles.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    accuracies: list[dict[str, str]] = []
    parities: list[dict[str, str]] = []
    latencies: list[dict[str, str]] = []
    for name in arguments.names or registry.names():
        spec = registry.get(name)
        metrics = trained(name, arguments.runs)
        source = load_source(name, checkpoint=arguments.runs / name / "model.safetensors")
        bundle = bundle_of(spec, source, arguments.bundles)
        accuracies.append(
            {
                "model": name,
                "task": spec.task,
                "parameters": f"{source.parameters / 1e6:.2f} M",
                "accuracy": f"{metrics['accuracy']:.2%} of {metrics['test_samples']} {metrics.get('measure', 'samples')}",
                "training": f"{metrics['seconds']:.0f} s, {metrics['epochs']} epochs, {metrics['train_samples']} samples",
            }
        )
        parities += parity(bundle)
        latencies += [latency(source, graph, bundle, arguments.threads) for graph in spec.graphs]
    told = "\n\n".join(
        [
            "Accuracy on samples that training never saw:",
            markdown(accuracies),
            "Worst error after each stage and in each precision, relative to max\\|PyTorch\\|, over every corner of the "
            "declared ranges; MB of the graph and its weights (graphs of one model share theirs):",
            markdown(parities),
            f"One call on {arguments.threads} CPU threads, batch 1; in brackets, how many times the runtime's:",
            markdown(latencies),
        ]
    )
    print(f"\n{told}")
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        arguments.write.write_text(f"{before}{BEGIN}\n{told}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
