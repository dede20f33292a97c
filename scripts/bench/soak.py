"""Bundles that are replaced under a server of 16 threads, ten minutes in each language: what fails, is wrong, or grows.

    python scripts/bench/soak.py [--minutes 10] [--threads 16] [--language python] [--language cpp] [--json FILE]

One process serves a classifier and a language model, of which there are two exports each, with other weights, both with
threads="auto"; the language model reads long prompts in slices where other rows are under way. This script
replaces both bundles over and over, as a re-export does. The threads of the process call one session and one generator that
stay open all the time, and open their own from the bundles that are being replaced:

    run         random sizes on the shared session                       bind    the same on buffers of its own
    generate    greedy and drawn, random prompts, on the shared one      cancel  the same, ended after some tokens
    submit      the same one by one beside other threads' requests, of which some are cancelled or have too little time
    open        a bundle: session, labels, one call                      write   a bundle: generator, one answer

Every answer is held against what the export that was opened answers in quiet, computed before it starts: an answer of another
export, or of a mixture of two, is wrong. A bundle that was replaced while it was read may be refused with the line that says
so; any other error counts. Memory and descriptors are those of the process, read by this script twice a second.

Expected before it was run: no error, no wrong answer, descriptors as at the start, memory level after the first minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"classifier": "textclassifier", "writer": "lm"}
#: Calls of each kind whose answers are known; more shapes and prompts would only be more of the same.
CASES = 24
#: Tokens of a prompt; those of a submitted one are read in slices.
LONGEST = 80
#: What a thread does next, and how often of a hundred.
SHARES = {"run": 36, "bind": 16, "generate": 8, "cancel": 6, "submit": 16, "open": 12, "write": 6}
REPLACED = "replaced"  # what the line says that refuses a bundle replaced meanwhile


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--language", action="append", choices=("python", "cpp"), help="[default: both]")
    parser.add_argument("--build", type=Path, default=ROOT / "build/cpp/release", help="a build with ATTN_BENCH")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)  # the process that is measured
    asked = parser.parse_args()
    if asked.serve:
        print(json.dumps(serve(asked.serve, asked.minutes * 60, asked.threads)))
        return 0
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        exports = make_exports(Path(folder))
        for language in asked.language or ("python", "cpp"):
            figures[language] = soak(language, exports, asked)
            print(table(language, figures[language]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2))
    return int(any(f["errors"] or f["wrong"] or f["exit_code"] for f in figures.values()))


def make_exports(folder: Path) -> Path:
    """folder/{0,1}/{classifier,writer}.attn, which differ in their weights."""
    for kind, model in MODELS.items():
        for seed in (0, 1):
            target = folder / str(seed) / f"{kind}.attn"
            target.parent.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "attn_export", "to-onnx", model, "--seed", str(seed), "--sweep", "0", "-q"]
            command += ["--with-extend"] if kind == "writer" else []
            subprocess.run([*command, "-o", target], check=True)
    return folder


def soak(language: str, exports: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of one process that serves for as long as was asked, while its bundles are replaced."""
    live = exports / "live"
    shutil.rmtree(live, ignore_errors=True)
    shutil.copytree(exports / "0", live)
    if language == "python":
        times = ["--minutes", str(asked.minutes), "--threads", str(asked.threads)]
        command = [sys.executable, __file__, "--serve", str(exports), *times]
    else:
        seconds, threads = str(asked.minutes * 60), str(asked.threads)
        command = [str(asked.build / "bench" / "attn_soak"), str(exports), seconds, threads, onnxruntime_library()]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    samples: list[tuple[float, int, int]] = []
    replaced, started = 0, time.monotonic()
    while server.poll() is None:
        if (live / "ready").exists():
            for kind in MODELS:
                replace(exports / str(1 - replaced % 2) / f"{kind}.attn", live / f"{kind}.attn")
            replaced += 1
            if sample := resources(server.pid):
                samples.append((time.monotonic() - started, *sample))
        time.sleep(0.5)
    (output, _) = server.communicate()
    figures = json.loads(output) if server.returncode == 0 else {"counts": {}, "errors": 1, "wrong": 0, "first": ""}
    samples = samples or [(0.0, 0, 0)]  # it ended before it was ready
    halves = {"first half": samples[: len(samples) // 2], "second half": samples[len(samples) // 2 :]}
    return {
        **figures,
        "exit_code": server.returncode,
        "minutes": asked.minutes,
        "threads": asked.threads,
        "replacements": replaced * len(MODELS),
        "memory_mib": {name: size / 2**20 for name, size in _three(samples, 1).items()},
        "descriptors": _three(samples, 2),
        "largest_mib": {name: max(sample[1] for sample in half) / 2**20 for name, half in halves.items()},
    }


def _three(samples: list[tuple[float, int, int]], column: int) -> dict[str, int]:
    """After a tenth of the time, in the middle, near the end: the median of the samples around, for a moment says little."""
    found = {}
    for name, share in (("a tenth", 0.1), ("half", 0.5), ("the end", 0.95)):
        middle = int(share * len(samples))
        around = sorted(sample[column] for sample in samples[max(0, middle - 5) : middle + 6])
        found[name] = around[len(around) // 2]
    return found


def replace(export: Path, target: Path) -> None:
    """Put a copy of `export` in the place of `target`, as an export does."""
    from attn_runtime.files import Staging

    staging = Staging(target)
    try:
        shutil.copytree(export, staging.new / target.name)
        staging.publish()
    except BaseException:
        staging.discard()
        raise


def resources(process: int) -> tuple[int, int] | None:
    """Bytes of resident memory and open descriptors; None once it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE"), len(list(Path(f"/proc/{process}/fd").iterdir()))
    except (OSError, IndexError):
        return None


def onnxruntime_library() -> str:
    import onnxruntime

    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    return str(library)


def table(language: str, f: dict[str, Any]) -> str:
    """A column of docs/reliability.md."""
    counts = "  ".join(f"{name} {f['counts'].get(name, 0):,}" for name in (*SHARES, "refused"))
    memory = ", ".join(f"{size:.0f} MiB at {when}" for when, size in f["memory_mib"].items())
    largest = ", ".join(f"{size:.0f} MiB in the {when}" for when, size in f["largest_mib"].items())
    open_files = ", ".join(f"{count} at {when}" for when, count in f["descriptors"].items())
    first = f"\n  first: {f['first']}" if f["first"] else ""
    return (
        f"{language}: {f['minutes']:g} minutes, {f['threads']} threads, {f['replacements']:,} replacements, "
        f"exit code {f['exit_code']}\n  {counts}\n  errors {f['errors']}, wrong answers {f['wrong']}{first}\n"
        f"  memory {memory}; at most {largest}\n  descriptors {open_files}"
    )


# What the measured process does, in Python; runtime/cpp/bench/soak.cpp does the same in C++.


def serve(exports: Path, seconds: float, threads: int) -> dict[str, Any]:
    """What came of the calls of `threads` threads in `seconds`."""
    from attn_runtime import Bundle, open_generator, open_session

    references = [Reference(exports / name) for name in ("0", "1")]
    with (
        open_session(exports / "0" / "classifier.attn", "cpu", threads="auto") as session,
        open_generator(exports / "0" / "writer.attn", "cpu", threads="auto") as generator,
    ):
        live = exports / "live"
        tally = Tally()
        end = time.monotonic() + seconds

        def opened(kind: str) -> tuple[Bundle, Reference]:
            bundle = Bundle.open(live / f"{kind}.attn")
            return bundle, next(r for r in references if r.manifests[kind] == bundle.manifest)

        def open_one(draw: random.Random) -> bool:
            bundle, reference = opened("classifier")
            with open_session(bundle, "cpu", threads=1) as own:
                return reference.labels == own.asset("labels") and reference.same_call(own.run, draw)

        def write_one(draw: random.Random) -> bool:
            bundle, reference = opened("writer")
            with open_generator(bundle, "cpu", threads=1) as own:
                return reference.same_answer(own, draw)

        first = references[0]
        actions: dict[str, Callable[[random.Random], bool]] = {
            "run": lambda draw: first.same_call(session.run, draw),
            "bind": lambda draw: first.same_bound_call(session, draw),
            "generate": lambda draw: first.same_answer(generator, draw),
            "cancel": lambda draw: first.same_beginning(generator, draw),
            "submit": lambda draw: first.same_submitted(generator, draw),
            "open": open_one,
            "write": write_one,
        }
        workers = [threading.Thread(target=tally.work, args=(actions, end, n)) for n in range(threads)]
        (live / "ready").touch()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return tally.to_json()


class Tally:
    """What the threads did, and what came of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._errors, self._wrong, self._first = 0, 0, ""

    def work(self, actions: dict[str, Callable[[random.Random], bool]], end: float, seed: int) -> None:
        from attn_runtime import BundleError

        draw = random.Random(seed)
        while time.monotonic() < end:
            (name,) = draw.choices(list(SHARES), list(SHARES.values()))
            problem, refused, right = "", False, True
            try:
                right = actions[name](draw)
            except BundleError as error:
                refused = REPLACED in str(error)
                problem = "" if refused else str(error)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            with self._lock:
                self._counts["refused" if refused else name] += 1
                self._errors += bool(problem)
                self._wrong += not right
                if not self._first and (problem or not right):
                    self._first = problem or f"{name}: a wrong answer"

    def to_json(self) -> dict[str, Any]:
        return {"counts": dict(self._counts), "errors": self._errors, "wrong": self._wrong, "first": self._first}


class Reference:
    """What one export answers to known inputs, asked in quiet."""

    def __init__(self, folder: Path) -> None:
        from attn_runtime import Bundle, GenerateOptions, Sample, open_generator, open_session
        from attn_runtime.random_inputs import draw_inputs

        self.manifests = {kind: Bundle.open(folder / f"{kind}.attn").manifest for kind in MODELS}
        draw = random.Random(0)
        with open_session(folder / "classifier.attn", "cpu", threads=1) as session:
            self.labels = session.asset("labels")
            self.calls = []
            for seed in range(CASES):
                dims = {dim.name: dim for spec in session.inputs for dim in spec.dims if dim.name}
                sizes = {name: draw.randint(dim.min, min(dim.max, 2 * dim.opt)) for name, dim in dims.items()}
                inputs = draw_inputs(session.inputs, sizes, seed)
                self.calls.append((inputs, session.run(inputs)))
        with open_generator(folder / "writer.attn", "cpu", threads=1) as generator:
            self.answers = []
            for seed in range(CASES):
                rows, length = draw.randint(1, 2), draw.randint(1, LONGEST if seed % 4 == 0 else 8)
                tokens = [[draw.randrange(3, generator.vocabulary) for _ in range(length)] for _ in range(rows)]
                sample = Sample(temperature=1.5, seed=seed) if seed % 2 else None
                options = GenerateOptions(draw.randint(4, 24), sample=sample, stop=())
                self.answers.append((tokens, options, self._written(generator, tokens, options)))

    def same_call(self, run: Callable[[Any], Any], draw: random.Random) -> bool:
        inputs, expected = draw.choice(self.calls)
        return _close(run(inputs), expected)

    def same_bound_call(self, session: Any, draw: random.Random) -> bool:
        inputs, expected = draw.choice(self.calls)
        bound = session.bind({name: value.shape for name, value in inputs.items()})
        for name, value in inputs.items():
            bound.inputs[name][...] = value
        for _ in range(3):
            bound()
        return _close(bound.outputs, expected)

    def same_answer(self, generator: Any, draw: random.Random) -> bool:
        tokens, options, expected = draw.choice(self.answers)
        return self._written(generator, tokens, options) == expected

    def same_beginning(self, generator: Any, draw: random.Random) -> bool:
        """Ended after some tokens, an answer is the beginning of the whole one."""
        tokens, options, expected = draw.choice(self.answers)
        event, most = threading.Event(), draw.randint(1, 3)
        seen = [0]

        def count(row: int, token: int) -> None:
            seen[0] += row == 0
            if seen[0] >= most:
                event.set()

        found = self._written(generator, tokens, options, on_token=count, cancel=event)
        return all(row and row == whole[: len(row)] for row, whole in zip(found, expected, strict=True))

    def same_submitted(self, generator: Any, draw: random.Random) -> bool:
        """Each row by itself, beside what other threads submitted: the whole answer, or the beginning of one that was ended."""
        import numpy as np
        from attn_runtime import Sample

        tokens, options, expected = draw.choice(self.answers)
        requests = []
        for number, row in enumerate(tokens):
            own = options
            if isinstance(options.sample, Sample):
                own = dataclasses.replace(
                    options, sample=dataclasses.replace(options.sample, seed=options.sample.seed + number)
                )
            deadline = draw.choice([None, None, 0.0, 0.02])
            requests.append(generator.submit({"tokens": np.array([row])}, own, deadline=deadline))
        ended = draw.random() < 0.3
        for request in requests:
            for _ in request:
                if ended:
                    request.cancel()
        found = [(request.result(60), whole) for request, whole in zip(requests, expected, strict=True)]
        return all(
            made.row(0) == (whole if made.stopped[0] == "length" else whole[: made.lengths[0]]) for made, whole in found
        )

    @staticmethod
    def _written(generator: Any, tokens: list[list[int]], options: Any, **more: Any) -> list[list[int]]:
        import numpy as np

        found = generator.generate({"tokens": np.array(tokens)}, options, **more)
        return [found.row(number) for number in range(len(tokens))]


def _close(found: Any, expected: Any) -> bool:
    """As near as one graph's answers are to one another; those of other weights are far from it."""
    import numpy as np

    return all(
        found[name].shape == value.shape
        and float(np.abs(found[name] - value).max()) <= 1e-5 * (1 + np.abs(value).max())
        for name, value in expected.items()
    )


if __name__ == "__main__":
    sys.exit(main())
