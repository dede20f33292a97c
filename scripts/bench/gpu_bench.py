"""How long a model's call takes on this GPU: PyTorch eager and compiled, ONNX Runtime's GPU providers, TensorRT engines.

    python scripts/bench/gpu_bench.py [MODEL ...] [--batch 1,8] [--precision fp32,fp16,int8] [--calls N] [--json]
        [--seconds S] [--tests] [--rows FILE] [--folder FOLDER]

Every built-in model, a BERT-base, a ViT-B/16 and the step of a language model of 100 M parameters (bert, vit-b16, lm-100m; drawn
weights), batch 1 and 8. A call starts with inputs on the GPU and ends with answers there; where a backend has no buffers on the
GPU, the copies are in the number and the row says so. Each of N calls lies between two CUDA events and is waited for: latency,
not throughput. Beside each time stands the largest error against what PyTorch answers in float32 on the CPU, as a share of
max|PyTorch|. TF32 is off everywhere.

Rows that can't be measured here have the reason instead. docs/measured/gpu.md is written only when at least one row was
measured and all of them match. --seconds ends it in time with what there is: models that are not exported by half of it are
left out, and each row is added to --rows, a line of JSON, as soon as it is known. --tests runs tests/gpu while the models are
made. Exit code: 0 when what was measured matches, also where nothing could be measured; 4 when a backend of attn-runtime is off
by more than the bundle's tolerance (PyTorch's own fp16 is shown and not judged); 1 when a test failed.

Expected before measuring: a call of AttentionNet is some 35 kernels of microseconds, so at batch 1 eager PyTorch waits for
its launches: 0.5 to 1 ms. torch.compile with CUDA graphs a third of that, ONNX Runtime with CUDA graphs about as
torch.compile, a TensorRT engine below 0.15 ms. At batch 8 and in fp32 all come closer together; fp16 gains more with
TensorRT, whose kernels it fuses, than with eager PyTorch. BERT and ViT in fp16: TensorRT 0.6 to 0.8 of torch.compile, ONNX
Runtime 1.0 to 1.3 of it; int8 gains little over fp16 at batch 1, a third at batch 8. The language model's step reads 400 MB of
weights in fp32: 0.1 ms at 4 TB/s is its bound, launches make it 1 ms in eager PyTorch, and an engine comes within twice of it.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from on_gpu.models import Preparing
    from on_gpu.runners import Runner
    from on_gpu.timing import Row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs" / "measured" / "gpu.md"
#: Of the time that is given: what the models may take, and the tests of tests/gpu.
_MAKING, _TESTING = 0.5, 0.4


def run(
    preparing: Preparing, found: Sequence[Runner], options: argparse.Namespace, tell: Callable[[Row], object]
) -> int:
    """Tell each row as it is known, until the time is up. Answers the exit code of the tests, 0 without them."""
    from on_gpu.models import jobs
    from on_gpu.timing import EventClock, Row, TimeUp, measure

    started, code = time.monotonic(), 0
    precisions, batches = options.precision.split(","), [int(text) for text in options.batch.split(",")]
    # A process that is only told so could be in a library that never returns: an alarm interrupts what Python runs.
    signal.signal(signal.SIGALRM, _time_up)
    signal.signal(signal.SIGTERM, _time_up)
    signal.setitimer(signal.ITIMER_REAL, options.seconds)
    try:
        if options.tests:
            code = _tests(options.seconds * _TESTING)
        for name, made in preparing.wait(started + options.seconds * _MAKING).items():
            problem = "it was not exported in time" if made is None else made.problems.get("fp32")
            if made is None or problem:
                for batch in batches:
                    tell(Row(name, precisions[0], batch, "-", problem=f"no bundle: {problem}"))
                continue
            for job, batch, expected in jobs(name, made, precisions, batches):
                for runner in found:
                    tell(measure(runner, job, batch, expected, options.calls, EventClock))
    except TimeUp:
        print(f"the {options.seconds:g} seconds are over", file=sys.stderr)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        preparing.stop()
    return code


def _time_up(*_: object) -> None:
    from on_gpu.timing import TimeUp

    raise TimeUp


def _tests(seconds: float) -> int:
    """The exit code of tests/gpu: 0 where all passed or were skipped, and where `seconds` ended them before one failed."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-x", "--timeout", "120", "-p", "no:cacheprovider"]
    try:
        return subprocess.run(command, cwd=ROOT, stdout=sys.stderr, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        print(f"tests/gpu: not done after {seconds:.0f} seconds, none had failed", file=sys.stderr)
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="built-in models, bert, vit-b16, lm-100m; all when none is named")
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--precision", default="fp32,fp16,int8")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=24 * 3600.0, help="end after so many, with what there is")
    parser.add_argument("--tests", action="store_true", help="run tests/gpu first")
    parser.add_argument("--rows", type=Path, help="a file that each row is added to as it is known, a line of JSON")
    parser.add_argument(
        "--folder", type=Path, help="where bundles are made, and kept; a temporary folder when left out"
    )
    options = parser.parse_args()

    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # before any library of NVIDIA's is loaded; they look once
    sys.path.insert(0, str(HERE))
    from attn_models import registry
    from on_gpu.models import SIZES, Preparing
    from on_gpu.page import table
    from on_gpu.runners import runners
    from on_gpu.timing import Row

    # Those that people deploy first: they are what a short run is for.
    models = options.models or ["attentionnet", *SIZES, *(n for n in registry.names() if n != "attentionnet")]
    for name in models:
        if name not in SIZES:
            registry.get(name)
    found, rows = runners(), list[Row]()

    def tell(row: Row) -> None:
        rows.append(row)
        print(table([row])[2], file=sys.stderr, flush=True)
        if options.rows:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    if all(runner.why_not for runner in found):  # nothing to export a model for
        for name in models:
            for precision in options.precision.split(","):
                for batch in options.batch.split(","):
                    rows += [Row(name, precision, int(batch), r.name, problem=str(r.why_not)) for r in found]
        code = _tests(options.seconds * _TESTING) if options.tests else 0
    else:
        with tempfile.TemporaryDirectory() as folder:
            at_once = max(1, (os.cpu_count() or 1) // 4)
            place = options.folder or Path(folder)
            place.mkdir(parents=True, exist_ok=True)
            preparing = Preparing(models, [p for p in options.precision.split(",") if p != "fp32"], place, at_once)
            code = run(preparing, found, options, tell)
    return finish(rows, options.calls, options.json, DOCS) or (1 if code else 0)


def finish(rows: Sequence[Any], calls: int, as_json: bool, docs: Path) -> int:
    """Print the rows, write the page where there is something to tell, and judge."""
    from on_gpu.page import document, table

    measured = [row for row in rows if not row.problem]
    if not (measured or as_json):  # one reason a runner, not one a row
        rows = list({(row.runner, row.problem): row for row in rows}.values())
    wrong = [row for row in measured if not row.matches and row.runner.startswith("attn_runtime")]
    print(json.dumps([asdict(row) for row in rows], indent=2) if as_json else "\n".join(table(rows)))
    if wrong:
        print(f"{len(wrong)} rows do not match PyTorch; {docs.name} is not written", file=sys.stderr)
        return 4
    if measured:
        told = (__doc__ or "").strip().split("\n\n")
        docs.write_text(document(rows, calls, told[2], told[4]), encoding="utf-8")
        print(f"written: {docs}", file=sys.stderr)
    else:
        print(f"nothing could be measured here; {docs.name} is not written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
