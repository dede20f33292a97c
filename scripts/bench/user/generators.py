"""Generation: greedy with idle and with busy cores, beams, threads, and how far a step is from reading its weights once.

translation   MarianMTModels of Marian's size (6 + 6 layers, width 512) and of 4 + 4 layers of width 256, beside CTranslate2 fp32
lm            LlamaForCausalLMs of 22 and 100 M parameters, beside onnxruntime-genai fp32

Everybody reads the same drawn weights, nothing stops early, and the tokens are ours, or the run fails. Ours is
with threads="auto"; a peer is told at its best number of threads.

Expected before measuring (AMD EPYC, 2 cores, AVX2, no AVX-512, L3 of 32 MB): idle, translation leads CTranslate2 by 1.1
(width 256) to 2 times, lm trails genai by 1.1 to 1.2. One core busy: two threads meet at the end of every node, and the
one that has lost its core is waited for until the scheduler gives it back, 2 to 4 ms later: 0.5 of idle at one row, 0.2
at eight, and one thread is then 1.5 (one row) to 3 times as fast as two; CTranslate2 with one thread keeps 0.9 of its
own idle and leads both. Beams: ours takes 0.5 of CTranslate2's time at one row of Marian's size, 0.8 at eight, 1.0 and
1.6 at width 256. A step of one row takes 1.2 (100 M) to 2 times (width 256) of what reading its weights takes, one of
eight 1.5 to 4 times.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from precision import models
from precision.rows import Field
from precision.runners import Array, OurGenerator, Work

from .field import BUSY, OURS, add_peers, best, counts, fixed_of, peers_of, seconds_of, why_missing, with_ours
from .machine import bytes_a_second
from .row import Asked, Row

CELLS = {
    "marian": "translation, Marian's size",
    "marian-256": "translation, width 256",
    "lm-22m": "lm, 22 M",
    "lm": "lm, 100 M",
}
QUICK = ("marian", "lm")
ROWS = (1, 8)


def measure(asked: Asked) -> list[Row]:
    return [row for name in (QUICK if asked.quick else CELLS) for row in of_model(name, asked)]


def of_model(name: str, asked: Asked) -> list[Row]:
    """All rows of one size."""
    size = "tiny" if asked.quick else "full"
    model, folder = models.model_of(name, size), asked.folder / size
    folder.mkdir(parents=True, exist_ok=True)
    bundle = models.bundle_of(model, folder)
    field = with_ours(lambda threads: OurGenerator(bundle, "fp32", threads))
    beams = name.startswith("marian")
    kind, precision, title = (
        ("ctranslate2", "float32", "CTranslate2") if beams else ("genai", "fp32", "onnxruntime-genai")
    )
    # CTranslate2 quantises what it reads; genai's builder writes a folder for each precision.
    target = folder / (f"{name}-{kind}" if beams else f"{name}-{kind}-{precision}")
    add_peers(
        field, title, kind, lambda n: (models.saved(model, folder), n, precision, target), asked, folder / "logs" / name
    )
    new, beam_new = (8, 8) if asked.quick else (64, 32)
    draw = np.random.default_rng(0)
    works = []
    for rows in ROWS:
        tokens = draw.integers(3, model.config["vocab_size"], (rows, models.PROMPT))
        title = f"{rows} row{'s' * (rows > 1)}"
        works += [Work(f"{title}{state}", tokens=tokens, new=new) for state in ("", BUSY)]
        works += [Work(f"{title}, 4 beams", tokens=tokens, new=beam_new, beams=4)] if beams else []
    found = seconds_of(field, works, asked, same_tokens)
    cell = f"{CELLS[name]}{' (tiny)' if asked.quick else ''}"
    told = [row for work in works for row in _of_work(f"{cell}, {work.name}", work, found, field)]
    return [*told, *_roofline(cell, bundle, works, found)]


def same_tokens(_work: Work, reference: Array, answers: Array) -> dict[str, float]:
    """RuntimeError where tokens [rows, new] differ."""
    if answers.shape != reference.shape:
        raise RuntimeError(f"wrote {answers.shape} tokens instead of {reference.shape}")
    if not (answers == reference).all():
        share = float((answers == reference).mean())
        raise RuntimeError(f"{share:.1%} of its tokens are those of {OURS}, expected all")
    return {"agreement": 1.0}


def _of_work(cell: str, work: Work, found: dict[str, dict[str, float]], field: Field) -> list[Row]:
    seconds = found[work.name]

    def rate(taken: float | None) -> float | None:
        assert work.tokens is not None
        return taken and work.new * len(work.tokens) / taken

    ours, (peer, taken), (fixed, least) = (
        rate(seconds[OURS]),
        best(seconds, peers_of(seconds)),
        best(seconds, fixed_of(seconds)),
    )
    assert ours is not None
    missing = why_missing(field)
    rows = [Row("threads", cell, ours, rate(least), "tokens/s", 1.05, fixed)]
    if work.beams > 1:
        return [Row("beam search", cell, ours, rate(taken), "tokens/s", 0.67, peer, missing), *rows]
    if work.name.endswith(BUSY):
        idle = rate(found[work.name.removesuffix(BUSY)][OURS])
        rows.append(
            Row(
                "generation, one core busy, beside idle",
                cell.removesuffix(BUSY),
                ours,
                idle,
                "tokens/s",
                1 / 0.6,
                "idle",
            )
        )
        cell = cell.removesuffix(BUSY)
    state = f"generation{BUSY}" if work.name.endswith(BUSY) else "generation, idle"
    return [Row(state, cell, ours, rate(taken), "tokens/s", 1.0, peer, missing), *rows]


def _roofline(cell: str, bundle: Path, works: list[Work], found: dict[str, dict[str, float]]) -> list[Row]:
    """Milliseconds of a token beside those of reading a step's weights, at the best number of threads each."""
    size = weights_of_step(bundle)
    rate = max(bytes_a_second(size, threads) for threads in counts())
    note = f"{size / 1e6:,.1f} MB a step, read at {rate / 1e9:.1f} GB/s"
    rows = []
    for work in works:
        if work.beams > 1 or work.name.endswith(BUSY):
            continue
        _, least = best(found[work.name], (OURS, *fixed_of(found[work.name])))
        assert least is not None
        limit = size / rate
        rows.append(Row("roofline", f"{cell}, {work.name}", least / work.new * 1e3, limit * 1e3, "ms a step", None,
                        "reading the weights", note))  # fmt: skip
    return rows


def weights_of_step(bundle: Path) -> int:
    """Bytes of the weights that a step reads whole: all of its graph's but those that are only looked up in."""
    import onnx
    from attn_runtime.bundle import Bundle
    from attn_runtime.generate.graphs import GraphIO

    opened = Bundle.open(bundle)
    wiring = GraphIO.of(opened, "fp32")
    graph = onnx.load(str(opened.graph(wiring.step.name).precisions["fp32"].file), load_external_data=False).graph
    read = {name for node in graph.node for at, name in enumerate(node.input) if (node.op_type, at) != ("Gather", 0)}
    return sum(prod(value.dims) * 4 for value in graph.initializer if value.name in read and value.data_type == 1)
