"""How long a model's call takes on this GPU: PyTorch eager and compiled, ONNX Runtime's GPU providers, TensorRT engines.

    python scripts/bench/gpu_bench.py [MODEL ...] [--batch 1,8] [--precision fp32,fp16] [--calls N] [--json]

Every built-in model, fp32 and fp16, batch 1 and 8. A call starts with inputs on the GPU and ends with answers there;
where a backend has no buffers on the GPU, the copies are in the number and the row says so. Each of N calls lies between
two CUDA events and is waited for: latency, not throughput. Beside each time stands the largest error against what
PyTorch answers in float32 on the CPU, as a share of max|PyTorch|. TF32 is off everywhere.

Rows that can't be measured here have the reason instead. docs/measured/gpu.md is written only when at least one row was
measured and all of them match. Exit code: 0 when what was measured matches, also where nothing could be measured; 4 when a
backend of attn-runtime is off by more than the bundle's tolerance (PyTorch's own fp16 is shown and not judged).

Expected before measuring: a call of AttentionNet is some 35 kernels of microseconds, so at batch 1 eager PyTorch waits for
its launches: 0.5 to 1 ms. torch.compile with CUDA graphs a third of that, ONNX Runtime with CUDA graphs about as
torch.compile, a TensorRT engine below 0.15 ms. At batch 8 and in fp32 all come closer together; fp16 gains more with
TensorRT, whose kernels it fuses, than with eager PyTorch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_runners import Job, Opened, Runner

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs" / "measured" / "gpu.md"
PACKAGES = ("torch", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx-cu13", "cuda-python", "attn-runtime")
# A GPU at rest has slow clocks, and a library compiles or captures in its first calls.
_WARM_UP_CALLS, _WARM_UP_S = 20, 0.5


@dataclass(frozen=True)
class Row:
    """Times in milliseconds; `error` is a share of max|PyTorch|; all None where `problem` says why not."""

    model: str
    precision: str
    batch: int
    runner: str
    p50_ms: float | None = None
    p99_ms: float | None = None
    error: float | None = None
    limit: float | None = None
    matches: bool | None = None
    note: str = ""
    problem: str = ""


class EventClock:
    """Times between two CUDA events on the default stream, in milliseconds."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._cuda: Any = runtime
        self._start, self._end = (self._do(runtime.cudaEventCreate) for _ in range(2))

    def time(self, call: Callable[[], object]) -> float:
        """Of one call, which is waited for."""
        self._do(self._cuda.cudaEventRecord, self._start, 0)
        call()
        self._do(self._cuda.cudaEventRecord, self._end, 0)
        self._do(self._cuda.cudaEventSynchronize, self._end)
        return float(self._do(self._cuda.cudaEventElapsedTime, self._start, self._end))

    def _do(self, function: Any, *arguments: Any) -> Any:
        error, *results = function(*arguments)
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise RuntimeError(f"{function.__name__} answers {error.name}")
        return results[0] if results else None


def measure(
    runner: Runner, job: Job, batch: int, expected: dict[str, Any], calls: int, clock: Callable[[], Any]
) -> Row:
    """One row. Whatever goes wrong with a library becomes the row's reason: the others are still measured."""
    import numpy as np
    from attn_runtime.bundle import Bundle
    from attn_runtime.compare import compare_all

    about = (job.model, job.precision, batch, runner.name)
    if reason := runner.why_not or job.problem:
        return Row(*about, problem=reason)
    opened: Opened | None = None
    try:
        opened = runner.open(job)
        timer = clock()
        until = time.perf_counter() + _WARM_UP_S
        for number in itertools.count():
            if number >= _WARM_UP_CALLS and time.perf_counter() > until:
                break
            timer.time(opened.call)
        times = [timer.time(opened.call) for _ in range(calls)]
        entry = Bundle.open(job.bundle, check_hashes=False).graph().precisions[job.precision]
        got = {name: value.astype(expected[name].dtype) for name, value in opened.answers().items()}
        differences = list(compare_all(expected, got, entry.tolerance, half_io=entry.half_io))
    except Exception as error:
        return Row(*about, problem=_told(error))
    finally:
        if opened is not None:
            with suppress(
                Exception
            ):  # a GPU that failed fails this too, and what was measured is not to be lost for it
                opened.close()
    worst = max(differences, key=lambda d: d.max_error / (d.max_reference or 1))
    p50, p99 = (float(p) for p in np.percentile(times, [50, 99]))
    scale = worst.max_reference or 1
    return Row(
        *about, p50, p99, worst.max_error / scale, worst.limit / scale, all(d.passed for d in differences), opened.note
    )


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def jobs(models: Sequence[str], precisions: Sequence[str], batches: Sequence[int], folder: Path) -> Iterable[Any]:
    """(job, batch, what PyTorch answers): each model exported once, each precision made once."""
    import numpy as np
    import torch
    from attn_export import export
    from attn_export.console import Console
    from attn_export.precision.conversion import add_precision
    from attn_export.source.resolve import load_source
    from attn_runtime.bundle import Bundle
    from attn_runtime.random_inputs import draw_inputs
    from attn_runtime.spec import named_dims
    from gpu_runners import Job

    for model in models:
        source = load_source(model)
        bundle = folder / f"{model}.attn"
        export(source, bundle)
        problems = {}
        if "fp16" in precisions:
            try:
                add_precision(bundle, "fp16", console=Console(True))
            except Exception as error:  # fp32 is still to be measured
                problems["fp16"] = f"there is no fp16 of it: {_told(error)}"
        graph = Bundle.open(bundle).graph()
        dims = named_dims(graph.inputs)
        batch_dim = graph.inputs[0].dims[0].name
        for precision in precisions:
            for batch in batches:
                sizes = {name: dim.opt for name, dim in dims.items()} | ({batch_dim: batch} if batch_dim else {})
                inputs = draw_inputs(graph.inputs, sizes, seed=7)
                with torch.inference_mode():
                    answer = source.module.eval()(*(torch.from_numpy(v) for v in inputs.values()))
                leaves = torch.utils._pytree.tree_leaves(answer)
                names = [spec.name for spec in graph.outputs]
                expected = {n: np.asarray(v.numpy()) for n, v in zip(names, leaves, strict=True)}
                problem = problems.get(precision)
                yield Job(model, source.module, bundle, precision, sizes, inputs, names, problem), batch, expected


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown."""
    lines = [
        "| model | precision | batch | by | p50 ms | p99 ms | error, of max\\|PyTorch\\| | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        about = f"| {row.model} | {row.precision} | {row.batch} | {row.runner} |"
        if row.problem:
            lines.append(f"{about} – | – | – | {row.problem.replace('|', '/')} |")
            continue
        judged = "" if row.matches else f" (allowed {row.limit:.1e})"
        lines.append(f"{about} {row.p50_ms:.3f} | {row.p99_ms:.3f} | {row.error:.1e}{judged} | {row.note} |")
    return lines


def document(rows: Sequence[Row], calls: int) -> str:
    """docs/measured/gpu.md, whole."""
    from attn_runtime.device.gpus import compute_capability, driver_version, find_gpus

    told = (__doc__ or "").strip().split("\n\n")
    installed = []
    for package in PACKAGES:
        try:
            installed.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    machine = f"{find_gpus().names[0]}, compute capability {compute_capability(0)}, driver for CUDA {driver_version()}"
    return "\n".join(
        [
            "# Latency on a GPU",
            "",
            f"Measured on {date.today().isoformat()} by `python scripts/bench/gpu_bench.py`, {calls} calls a row.",
            "",
            f"- {machine}",
            f"- {', '.join(installed)}",
            "",
            told[2].replace("\n", " "),
            "",
            told[4].replace("\n", " "),
            "",
            *table(rows),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="built-in models; all of them when none is named")
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--precision", default="fp32,fp16")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # before any library of NVIDIA's is loaded; they look once
    sys.path.insert(0, str(HERE))
    from attn_models import registry
    from gpu_runners import runners

    models = options.models or registry.names()
    for name in models:
        registry.get(name)
    precisions, batches = options.precision.split(","), [int(text) for text in options.batch.split(",")]
    found = runners()
    if all(runner.why_not for runner in found):  # nothing to export a model for
        rows = [
            Row(model, precision, batch, runner.name, problem=str(runner.why_not))
            for model in models
            for precision in precisions
            for batch in batches
            for runner in found
        ]
    else:
        with tempfile.TemporaryDirectory() as folder:
            rows = []
            for job, batch, expected in jobs(models, precisions, batches, Path(folder)):
                for runner in found:
                    rows.append(measure(runner, job, batch, expected, options.calls, EventClock))
                    print(table(rows[-1:])[2], file=sys.stderr, flush=True)
    return finish(rows, options.calls, options.json, DOCS)


def finish(rows: Sequence[Row], calls: int, as_json: bool, docs: Path) -> int:
    """Print the rows, write the page where there is something to tell, and judge."""
    measured = [row for row in rows if not row.problem]
    wrong = [row for row in measured if not row.matches and row.runner.startswith("attn_runtime")]
    print(json.dumps([asdict(row) for row in rows], indent=2) if as_json else "\n".join(table(rows)))
    if wrong:
        print(f"{len(wrong)} rows do not match PyTorch; {docs.name} is not written", file=sys.stderr)
        return 4
    if measured:
        docs.write_text(document(rows, calls), encoding="utf-8")
        print(f"written: {docs}", file=sys.stderr)
    else:
        print(f"nothing could be measured here; {docs.name} is not written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
