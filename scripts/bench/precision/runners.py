"""Who takes part in precision_bench.py: bundles of ours in this process, peers in processes and venvs of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers.venv import peer_python

PEERS = Path(__file__).resolve().parents[1] / "peers"
#: What the venv of each peer holds.
PACKAGES: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino==2026.4.1", "numpy"),
    "quantize_dynamic": ("onnxruntime==1.31.1", "onnx==1.23.2", "numpy"),
    "ctranslate2": ("ctranslate2==4.8.5", "safetensors", "numpy"),
    "genai": (
        "onnxruntime-genai==0.18.0",
        "onnx-ir",
        "onnx",
        "transformers==5.24.0",
        "safetensors",
        "torch==2.13.0",
        "numpy",
    ),
}
Array = NDArray[Any]


@dataclass(frozen=True)
class Work:
    """What all are asked for alike: `inputs` of one graph, or tokens [rows, length] and so many new ones, with beams."""

    name: str
    inputs: Mapping[str, Array] = field(default_factory=dict)
    file: Path | None = None
    tokens: Array | None = None
    new: int = 0
    beams: int = 1


@dataclass(frozen=True)
class Made:
    """Seconds of each call, and the answers: a graph's first output, or the new tokens [rows, new]."""

    seconds: list[float]
    answers: Array
    computes: str = ""


class Runner:
    name: str
    versions: Mapping[str, str] = {}

    def run(self, work: Work, calls: int) -> Made:
        raise NotImplementedError

    def close(self) -> None:
        pass


class OurSession(Runner):
    """A bound call on a bundle's graph."""

    def __init__(self, bundle: Path, precision: str, backend: str, threads: int | str | None) -> None:
        from attn_runtime import open_session

        self.name = f"attn-runtime {precision}, {backend}"
        self.session = open_session(bundle, "cpu", backend, precision=precision, threads=threads)
        self._bound: dict[str, Any] = {}

    def run(self, work: Work, calls: int) -> Made:
        if work.name not in self._bound:
            self._bound[work.name] = self.session.bind({name: value.shape for name, value in work.inputs.items()})
        call = self._bound[work.name]
        for name, value in work.inputs.items():
            call.inputs[name][...] = value
        seconds = []
        for _ in range(calls):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
        return Made(seconds, np.array(next(iter(call.outputs.values()))))

    def close(self) -> None:
        self.session.close()


class OurGenerator(Runner):
    """attn_runtime.open_generator on a bundle."""

    def __init__(self, bundle: Path, precision: str, threads: int | str | None) -> None:
        from attn_runtime import open_generator

        self.name = f"attn-runtime {precision}"
        self.generator = open_generator(bundle, "cpu", "ort", precision=precision, threads=threads)

    def run(self, work: Work, calls: int) -> Made:
        from attn_runtime.generate import GenerateOptions

        assert work.tokens is not None
        options = GenerateOptions(max_length=work.new, beams=work.beams, stop=())
        inputs: dict[str, Array] = {"tokens": work.tokens}
        if self.generator.wiring.encoder is not None:
            inputs = {"source": work.tokens, "source_mask": np.ones(work.tokens.shape, bool)}
        seconds = []
        for _ in range(calls):
            started = time.perf_counter()
            made = self.generator.generate(inputs, options)
            seconds.append(time.perf_counter() - started)
        return Made(seconds, made.tokens)

    def close(self) -> None:
        self.generator.close()


class Peer(Runner):
    """A script of ../peers, asked line by line. RuntimeError where it does not start, or ends before it answers."""

    def __init__(self, name: str, kind: str, arguments: Sequence[object], venvs: Path, log: Path) -> None:
        self.name, self._log = name, log
        python = peer_python(venvs / f".venv-{kind}", PACKAGES[kind])
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [str(python), str(PEERS / f"{kind}_peer.py"), *map(str, arguments)]
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.about = self._answer()
        self.versions = self.about["versions"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code, said = self._process.wait(), self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"its process ended with code {code}: {''.join(said)[:200]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _ask(self, **values: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it ended: what its log says is told when there is no answer
            print(json.dumps(values), file=self._process.stdin, flush=True)
        return self._answer()

    def run(self, work: Work, calls: int) -> Made:
        if work.tokens is None:
            assert work.file is not None
            answers = self._log.with_suffix(".npy")
            found = self._ask(inputs=str(work.file), calls=calls, answers=str(answers))
            return Made(found["seconds"], np.load(answers), found["computes"])
        every = [self._ask(tokens=work.tokens.tolist(), new=work.new, beams=work.beams) for _ in range(calls)]
        return Made([a["seconds"] for a in every], np.array(every[-1]["tokens"]), every[-1]["computes"])

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
