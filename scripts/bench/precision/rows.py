"""The rows of the table: who is measured at what, and what is asked of the answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import models
from .runners import Array, OurGenerator, OurSession, Peer, Runner, Work, say
from .turns import measure

#: Texts or pictures that classes are compared on, and how many go into one call.
HELD_OUT, AT_ONCE = 200, 8


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    size: str
    threads: int
    rounds: int
    folder: Path
    venvs: Path
    peers: bool

    @property
    def tiny(self) -> bool:
        return self.size == "tiny"


class Field:
    """The runners of one row, opened one by one; who is missing has a reason."""

    def __init__(self) -> None:
        self.runners: list[Runner] = []
        self.missing: dict[str, str] = {}

    def add(self, name: str, make: Callable[[], Runner]) -> None:
        try:
            self.runners.append(make())
        except Exception as problem:  # of a library or a peer, of any kind: the others are measured
            self.missing[name] = f"{type(problem).__name__}: {problem}"[:300]
            say(f"  no {name}: {self.missing[name]}")

    def close(self) -> None:
        for runner in self.runners:
            runner.close()

    @property
    def versions(self) -> dict[str, str]:
        return {name: version for runner in self.runners for name, version in runner.versions.items()}


def encoder(name: str, asked: Asked) -> dict[str, Any]:
    """bert or vit: batch 1 and 8, and the classes of held-out samples."""
    model, folder = models.model_of(name, asked.size), asked.folder / asked.size
    bundle = models.bundle_of(model, folder)
    field = Field()
    field.add("attn-runtime fp32", lambda: OurSession(bundle, "fp32", "ort", asked.threads))
    for precision, backend in (("int8", "ort"), ("int8", "openvino"), ("int8-dynamic", "ort"), ("bf16", "openvino")):
        field.add(f"attn-runtime {precision}, {backend}", lambda p=precision, b=backend: _ours(bundle, p, b, asked))  # type: ignore[misc]
    if asked.peers:
        graph, log = bundle / "model.onnx", folder / "logs"
        for precision in ("default", "f32"):
            options = (graph, asked.threads, precision)
            title = f"OpenVINO {precision}"
            field.add(title, lambda t=title, o=options: Peer(t, "openvino", o, asked.venvs, log / f"{name}-{t}.log"))  # type: ignore[misc]
        target = folder / f"{name}-quantize-dynamic.onnx"
        field.add(
            "quantize_dynamic",
            lambda: Peer("ONNX Runtime quantize_dynamic", "quantize_dynamic", (graph, asked.threads, target), asked.venvs,
                         log / f"{name}-dynamic.log"),
        )  # fmt: skip
    try:
        ours = field.runners[0]
        assert isinstance(ours, OurSession), field.missing
        held_out, labels = _inputs(model, folder, ours, 2 * AT_ONCE if asked.tiny else HELD_OUT)
        works = [_work(held_out, rows, 0, f"batch {rows}", folder) for rows in (1, 8)]
        found = measure(field.runners, works, asked.rounds, _error)
        classes = {r.name: _classes(r, held_out, len(labels), folder) for r in field.runners}
        reference = classes[ours.name]
        for row in found:
            chosen = classes[row["runner"]]
            if chosen is None or reference is None:
                continue
            row["agreement"] = float((chosen == reference).mean())
            row["accuracy"] = float((chosen == labels).mean())
    finally:
        field.close()
    return {"model": name, "rows": found, "missing": field.missing, "versions": field.versions}


def _ours(bundle: Path, precision: str, backend: str, asked: Asked) -> Runner:
    problem = models.converted(bundle, precision)
    if problem:
        raise RuntimeError(problem)
    return OurSession(bundle, precision, backend, asked.threads)


def _inputs(model: models.Model, folder: Path, ours: OurSession, count: int) -> tuple[dict[str, Array], Array]:
    """Held-out samples as the bundle names and types them, and their classes."""
    config = json.loads((models.saved(model, folder) / "config.json").read_text())
    values, labels = models.samples(model, config, count, seed=1)
    return {spec.name: values[spec.name].astype(spec.dtype) for spec in ours.session.inputs}, labels


def _work(inputs: dict[str, Array], rows: int, start: int, name: str, folder: Path) -> Work:
    part = {key: np.ascontiguousarray(value[start : start + rows]) for key, value in inputs.items()}
    file = folder / "inputs.npz" if name == "classes" else folder / f"inputs-{next(iter(part))}-{rows}.npz"
    np.savez(file, **part)  # type: ignore[arg-type]
    return Work(name, part, file)


def _classes(runner: Runner, inputs: dict[str, Array], count: int, folder: Path) -> Array | None:
    found = []
    for start in range(0, count, AT_ONCE):
        try:
            found.append(runner.run(_work(inputs, AT_ONCE, start, "classes", folder), 1).answers.argmax(-1))
        except Exception:  # its row in the table has the problem already
            return None
    return np.concatenate(found)


def _error(_work: Work, reference: Array, answers: Array) -> dict[str, Any]:
    return {"error": float(np.abs(answers - reference).max() / np.abs(reference).max())}


def translation(asked: Asked) -> dict[str, Any]:
    """Marian's size: greedy and 4 beams, 1 and 8 rows, beside CTranslate2 in int8 with one thread and with all."""
    new, beam_new = (8, 8) if asked.tiny else (128, 32)
    works = [(rows, beams) for beams in (1, 4) for rows in ((1, 2) if asked.tiny else (1, 8))]
    plan = [(rows, beams, new if beams == 1 else beam_new) for rows, beams in works]
    peers = [
        (f"CTranslate2 {kind}, {threads} thread{'s' * (threads > 1)}", "ctranslate2", threads, kind)
        for kind in ("int8", "float32")
        for threads in ((asked.threads,) if kind == "float32" else sorted({1, asked.threads}))
    ]
    return _generation("marian", asked, plan, peers)


def language_model(asked: Asked) -> dict[str, Any]:
    """100 M parameters, 64 new tokens, 1 and 8 rows, beside onnxruntime-genai in int4; its fp32 for what int4 does to tokens."""
    new = 8 if asked.tiny else 64
    plan = [(rows, 1, new) for rows in (1, 8)]
    peers = [(f"onnxruntime-genai {kind}", "genai", asked.threads, kind) for kind in ("int4", "fp32")]
    return _generation("lm", asked, plan, peers)


#: Precisions of a generator, and what makes them besides their name.
GENERATOR = {
    "int8-dynamic": (),
    "int8-weights": (),
    "int4-weights": ("--block-size", "128"),  # faster than the scheme's own 32, and smaller
}
BLOCKS_OF_32 = ("--block-size", "32")


def _generation(
    name: str, asked: Asked, plan: Sequence[tuple[int, int, int]], peers: Sequence[tuple[str, str, int, str]]
) -> dict[str, Any]:
    model, folder = models.model_of(name, asked.size), asked.folder / asked.size
    bundle = models.bundle_of(model, folder)
    field = Field()
    field.add("attn-runtime fp32", lambda: OurGenerator(bundle, "fp32", asked.threads))
    for precision, options in GENERATOR.items():
        field.add(f"attn-runtime {precision}", lambda p=precision, o=options: _our_generator(bundle, p, o, asked))  # type: ignore[misc]
    if asked.peers:
        source = models.saved(model, folder)
        for title, kind, threads, precision in peers:
            # CTranslate2 quantises what it reads; genai's builder writes a folder for each precision.
            target = folder / (f"{name}-{kind}" if kind == "ctranslate2" else f"{name}-{kind}-{precision}")
            options = (source, threads, precision, target)
            log = folder / "logs" / f"{name}-{title}.log"
            field.add(title, lambda t=title, k=kind, o=options, at=log: Peer(t, k, o, asked.venvs, at))  # type: ignore[misc]
    draw = np.random.default_rng(0)
    works = [
        Work(f"{rows} row{'s' * (rows > 1)}, {'greedy' if beams == 1 else f'{beams} beams'}, {new} new",
             tokens=draw.integers(3, model.config["vocab_size"], (rows, models.PROMPT)), new=new, beams=beams)
        for rows, beams, new in plan
    ]  # fmt: skip
    try:
        assert field.runners, field.missing
        found = measure(field.runners, works, asked.rounds, _agreement)
        counts = {work.name: work.new * len(work.tokens) for work in works if work.tokens is not None}
        for row in found:
            if "seconds" in row:
                row["tokens_per_second"] = counts[row["work"]] / row["seconds"]
    finally:
        field.close()
    sizes = {r.name: r.about["bytes"] for r in field.runners if isinstance(r, Peer) and "bytes" in r.about}
    return {"model": name, "rows": found, "missing": field.missing, "versions": field.versions, "peer_bytes": sizes}


def _our_generator(bundle: Path, precision: str, options: Sequence[str], asked: Asked) -> Runner:
    problem = models.converted(bundle, precision, options)
    if problem:
        raise RuntimeError(problem)
    return OurGenerator(bundle, precision, asked.threads)


def _agreement(_work: Work, reference: Array, answers: Array) -> dict[str, Any]:
    """The share of equal tokens at equal places: behind the first that differs, hardly any is equal by itself."""
    if answers.shape != reference.shape:
        raise RuntimeError(f"wrote {answers.shape} tokens instead of {reference.shape}")
    return {"agreement": float((answers == reference).mean())}


def disk(asked: Asked) -> dict[str, Any]:
    """Bytes of the weights of the language model in each precision, int4 in blocks of 128 and of 32."""
    bundle = models.bundle_of(models.model_of("lm", asked.size), asked.folder / asked.size)
    whole = models.weight_bytes(bundle, "fp32")
    rows: list[dict[str, Any]] = [{"work": "bytes on disk", "runner": "fp32", "bytes": whole, "ratio": 1.0}]
    missing: dict[str, str] = {}
    for precision, options in (*GENERATOR.items(), ("int4-weights", BLOCKS_OF_32)):
        title = " ".join((precision, *options))
        with _alone(bundle, asked) if options == BLOCKS_OF_32 else nullcontext(bundle) as one:
            problem = models.converted(one, precision, options)
            if problem:
                missing[title] = problem
                continue
            size = models.weight_bytes(one, precision)
        rows.append({"work": "bytes on disk", "runner": title, "bytes": size, "ratio": size / whole})
    return {"model": "lm", "rows": rows, "missing": missing, "versions": {}}


def conversion(asked: Asked) -> dict[str, Any]:
    """Seconds and peak memory of converting the language model, calibration included where a scheme has one."""
    bundle = models.bundle_of(models.model_of("lm", asked.size), asked.folder / asked.size)
    weights = models.weight_bytes(bundle, "fp32")
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for precision, options in {"int8": (), **GENERATOR}.items():
        with _alone(bundle, asked) as one:
            problem = models.converted(one, precision, options)
            if problem:
                missing[precision] = problem
                say(f"  no {precision}: {problem}")
                continue
            took = json.loads((one.parent / "conversions.json").read_text())[f"lm {precision}"]
        rows.append({"work": "conversion", "runner": precision, "conversion_seconds": took["seconds"],
                     "peak_bytes": took["peak_bytes"], "peak_own_bytes": took["peak_own_bytes"],
                     "peak_ratio": took["peak_bytes"] / weights})  # fmt: skip
    return {"model": "lm", "rows": rows, "missing": missing, "versions": {}}


@contextmanager
def _alone(bundle: Path, asked: Asked) -> Iterator[Path]:
    """A copy of the bundle in a folder of its own, for the time of the context, in fp32 alone: what was converted before is to
    be converted again."""
    folder = asked.folder / asked.size / "conversion"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle, folder / bundle.name)
    path = folder / bundle.name / "manifest.json"
    manifest = json.loads(path.read_text())
    for graph in manifest["graphs"].values():
        for precision in [p for p in graph["precisions"] if p != "fp32"]:
            del graph["precisions"][precision]
    path.write_text(json.dumps(manifest))
    try:
        yield folder / bundle.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


ROWS: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "bert": lambda asked: encoder("bert", asked),
    "vit": lambda asked: encoder("vit", asked),
    "translation": translation,
    "lm": language_model,
    "disk": disk,
    "conversion": conversion,
}
