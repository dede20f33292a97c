"""From the start of a process to its first answer, and a session that is opened again, beside bare ONNX Runtime.

    python scripts/bench/user/cold_start.py [--quick] [--rounds N] [--folder FOLDER] [--json FILE]

Each process opens a bundle (bare: its ONNX file), answers one input of zeros, and prints the sum, which must be that of all
others. It is timed from its start until that line is there; all programs take turns, byte code is written and the files are in
memory. One thread, on the CPU. The C++ programs are those of runtime/cpp/bench (cmake -DATTN_BENCH=ON), where they are built.

    ort       attn_runtime.open_session(bundle, "cpu", "ort")
    native    the same by the C++ library from Python; C++ is the C interface without Python
    kept      with `cache`, where the graph lies as ONNX Runtime optimised it
    paranoid  with every file of the bundle read for its hash

The bundles: AttentionNet of the zoo (5 MB), and a vision Transformer of ViT-B/16's size (346 MB, drawn weights).

Expected before measuring: of a bare start of AttentionNet in Python (118 ms on this machine alone), imports of ours and the
manifest are 20 ms, so 1.15; kept saves 15 of ONNX Runtime's 21 ms of session, so 1.0; native needs no onnxruntime package, which
costs 20 ms to import: 0.95. In C++ 1.1, kept 0.8. Of the large one hashes are not read, so 1.02, kept 0.75, paranoid 1.3. To
open a session again takes a quarter (AttentionNet) and a half of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

# Found from here where this file is run by itself.
from exported import exported  # noqa: E402
from user.row import Asked, Row  # noqa: E402

BUILD = ROOT / "build" / "cpp" / "release"
WHAT, AGAIN = "start to first answer", "a session opened again"

OURS = """
import sys
import attn_runtime
how = dict(pair.split("=") for pair in sys.argv[3:])
with attn_runtime.open_session(sys.argv[1], "cpu", sys.argv[2], threads=1, cache=how.get("cache"),
                               paranoid="paranoid" in how) as session:
    import numpy
    spec = session.inputs[0]
    answers = session.run({spec.name: numpy.zeros(spec.shape({}), spec.dtype)})
    print(f"{float(answers[session.outputs[0].name].sum(dtype='float64')):.6f}", flush=True)
"""
BARE = """
import sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", options, ["CPUExecutionProvider"])
shape = [int(size) for size in sys.argv[3].split(",")]
answers = session.run([sys.argv[4]], {sys.argv[2]: numpy.zeros(shape, "float32")})
print(f"{float(answers[0].sum(dtype='float64')):.6f}", flush=True)
"""
#: Prints the milliseconds that opening a session of an open bundle takes, without imports and the bundle's own opening.
SESSION = """
import sys, time
import attn_runtime, numpy, onnxruntime
bundle = attn_runtime.Bundle.open(sys.argv[1])
import attn_runtime.backends.ort, attn_runtime.session.opening, attn_runtime.ort.session_options
begun = time.perf_counter()
session = attn_runtime.open_session(bundle, "cpu", "ort", threads=1, cache=sys.argv[2] if len(sys.argv) > 2 else None)
print(f"{(time.perf_counter() - begun) * 1e3:.4f}", flush=True)
"""
EXPORT = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(768) for _ in range(2))
        self.qkv, self.out = nn.Linear(768, 2304), nn.Linear(768, 768)
        self.up, self.down = nn.Linear(768, 3072), nn.Linear(3072, 768)

    def forward(self, x_BTC):
        B, T, C = x_BTC.shape
        q, k, v = self.qkv(self.norms[0](x_BTC)).view(B, T, 3, 12, 64).permute(2, 0, 3, 1, 4).unbind(0)
        x_BTC = x_BTC + self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, C))
        return x_BTC + self.down(nn.functional.gelu(self.up(self.norms[1](x_BTC))))


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.place = nn.Conv2d(3, 768, 16, 16), nn.Parameter(torch.randn(1, 196, 768) * 0.02)
        self.layers, self.norm, self.head = nn.Sequential(*(Layer() for _ in range(12))), nn.LayerNorm(768), nn.Linear(768, 1000)

    def forward(self, image):
        return self.head(self.norm(self.layers(self.patch(image).flatten(2).transpose(1, 2) + self.place)).mean(1))


def build():
    torch.manual_seed(0)
    return Vit()
"""


@dataclass
class Program:
    """Who is started: `command`, the seconds from each start to the line that it prints, and of processor time until it ended."""

    name: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)

    def run(self, environment: dict[str, str]) -> None:
        begun = time.perf_counter()
        with subprocess.Popen(self.command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            self.seconds.append(time.perf_counter() - begun)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not line:
            raise RuntimeError(f"{self.name}: exit code {process.returncode}")
        self.told.append(float(line))
        self.used.append(used.ru_utime + used.ru_stime)

    @property
    def ms(self) -> float:
        return median(self.seconds) * 1e3


def bundles(asked: Asked) -> Iterator[tuple[str, str, Path]]:
    """Name, short name and place of each, exported where it is missing."""
    yield "AttentionNet", "attentionnet", exported("attentionnet", asked.folder / "attentionnet.attn")
    if not asked.quick:
        source = asked.folder / "start_vit.py"
        source.write_text(EXPORT)
        path = os.pathsep.join([str(asked.folder), os.environ.get("PYTHONPATH", "")])
        image = ("--input", "image:float32[batch,3,224,224]")
        bundle = exported(
            "start_vit:build", asked.folder / "start_vit.attn", ["batch=1:1:2"], *image,
            environment={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        yield "ViT-B/16's size, 346 MB", "vit", bundle


def programs(bundle: Path, cache: Path, quick: bool) -> dict[str, Program]:
    from attn_runtime import Bundle
    from attn_runtime.native import capi

    graph = Bundle.open(bundle).graph()
    ends = [graph.inputs[0], graph.outputs[0]]
    told = [text for spec in ends for text in (spec.name, ",".join(map(str, spec.shape({}))))]
    python, place = [sys.executable, "-c"], str(bundle)
    made = [
        Program("bare", [*python, BARE, place, *told[:3]]),
        Program("ort", [*python, OURS, place, "ort"]),
        Program("ort, kept", [*python, OURS, place, "ort", f"cache={cache}"]),
        Program("ort, paranoid", [*python, OURS, place, "ort", "paranoid=1"]),
        Program("session", [*python, SESSION, place]),
        Program("session, kept", [*python, SESSION, place, str(cache)]),
    ]
    if capi.why_unavailable() is None:
        made += [
            Program("native", [*python, OURS, place, "native"]),
            Program("native, kept", [*python, OURS, place, "native", f"cache={cache}"]),
        ]
    library = str(capi.onnxruntime_library())
    if (BUILD / "bench" / "attn_bench_start").exists():
        made += [
            Program("bare C", [str(BUILD / "bench" / "attn_bench_start_bare"), place, library, *told]),
            Program("C++", [str(BUILD / "bench" / "attn_bench_start"), place, library, "-"]),
            Program("C++, kept", [str(BUILD / "bench" / "attn_bench_start"), place, library, str(cache)]),
        ]
    return {program.name: program for program in made if not quick or "paranoid" not in program.name}


def measure(asked: Asked) -> list[Row]:
    asked.folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "PYTHONPYCACHEPREFIX": str(asked.folder / "byte code"),
        "XDG_CACHE_HOME": str(asked.folder / "user"),
    }
    cache = asked.folder / "kept"
    cache.mkdir(mode=0o700, exist_ok=True)
    rows: list[Row] = []
    for name, short, bundle in bundles(asked):
        started = programs(bundle, cache, asked.quick)
        for _ in range(2):  # byte code, hashes that are remembered, graphs that are kept
            for program in started.values():
                program.run(environment)
        for program in started.values():
            program.seconds.clear(), program.used.clear()
        for round_ in range(asked.rounds):
            order = list(started.values())
            for program in order if round_ % 2 else reversed(order):
                program.run(environment)
        rows += rows_of(name, short == "attentionnet", started)
    return rows


def rows_of(name: str, small: bool, started: dict[str, Program]) -> list[Row]:
    answers = {round(value, 3) for who, program in started.items() if "session" not in who for value in program.told}
    if max(answers) - min(answers) > 2e-3 * max(1.0, abs(max(answers))):
        raise RuntimeError(f"{name}: answers differ: {sorted(answers)}")

    def row(cell: str, ours: str, peer: str, beside: str, goal: float | None) -> Row:
        least = " and ".join(f"{min(started[who].seconds) * 1e3:.0f}" for who in (ours, peer))
        used = median(started[ours].used) / median(started[peer].used)
        note = f"medians of {len(started[ours].seconds)} starts; minima {least} ms; of processor time, end and all, {used:.3f}"
        return Row(WHAT, f"{name}, {cell}", started[ours].ms, started[peer].ms, "ms", goal, beside, note)

    large = None if small else 0.85
    found = []
    for ours, peer, goal in [
        ("ort", "bare", 1.15 if small else None),
        ("ort, kept", "bare", large),
        ("ort, paranoid", "bare", None),
        ("native", "bare", 1.15 if small else None),
        ("native, kept", "bare", large),
        ("C++", "bare C", 1.03 if small else None),
        ("C++, kept", "bare C", large),
    ]:
        if ours in started:
            who = "ONNX Runtime's C interface" if peer == "bare C" else "onnxruntime in Python"
            found.append(row(ours if ours.startswith("C++") else f"Python, {ours}", ours, peer, who, goal))
    again, fresh = (median(started[who].told[2:]) for who in ("session, kept", "session"))
    found.append(
        Row(AGAIN, name, again, fresh, "ms", 0.5, "the same session optimised anew", "open_session of an open bundle")
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="AttentionNet alone, three rounds")
    parser.add_argument("--rounds", type=int, help="starts of each; 3 with --quick, else 15")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench" / "user")
    parser.add_argument("--json", type=Path, help="write the rows here")
    told = parser.parse_args()
    rounds = told.rounds or (3 if told.quick else 15)
    rows = measure(Asked(told.quick, rounds, told.folder, told.folder, True))
    for each in rows:
        goal = f", goal {each.goal}: {'met' if each.met else 'NOT met'}" if each.goal else ""
        print(
            f"{each.what}, {each.cell}: {each.ours:.1f} {each.unit}, {each.beside} {each.peer:.1f}, ratio {each.ratio:.3f}{goal}"
        )
        print(f"    {each.note}")
    if told.json:
        content: list[dict[str, Any]] = [each.told() for each in rows]
        told.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
