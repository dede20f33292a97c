"""One call of a model: batches of 8 beside OpenVINO, threads, and what the slowest calls take where cores are busy.

Built-in models with drawn weights, fp32, a bound call; OpenVINO computes in fp32 and is compiled for the sizes. Ours is on
ONNX Runtime, and beside that on the backend that `attn-run bench --remember` would choose, ONNX Runtime or OpenVINO.
Answers are within 1e-4 of max|answer| of each other, or the run fails. p50 and p99 are of single calls in a row, with
threads="auto".

Expected before measuring (2 cores): at batch 8 OpenVINO takes 0.65 of our time for vit, textclassifier and keywords and
1.0 for attentionnet. One thread is as fast as two for calls under a millisecond. With one core busy a call on two
threads takes its usual time or, where the second thread has lost its core, 2 to 4 ms more: p99 is 3 to 10 times p50 for
calls of a millisecond, 1.5 times for those of 10 ms; with one thread p99 is 2 times p50 and less, but for calls that
are short beside a turn of the scheduler.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
from exported import exported
from precision.rows import Field, _error
from precision.runners import Array, OurSession, Work
from precision.turns import keep_going

from .field import BUSY, OURS, add_peers, best, fixed_of, lead_of, named, peers_of, seconds_of, why_missing, with_ours
from .machine import busy
from .row import Asked, Row

MODELS = ("vit", "textclassifier", "keywords", "attentionnet")
QUICK = ("vit", "textclassifier")
BATCHES = (1, 8)
#: Ours, on the backend that is not the usual one.
OTHER = f"{OURS} on OpenVINO"
#: Most of max|answer| that two fp32 answers may differ by.
SAME = 1e-4


def measure(asked: Asked) -> list[Row]:
    return [row for name in (QUICK if asked.quick else MODELS) for row in of_model(name, asked)]


def of_model(name: str, asked: Asked) -> list[Row]:
    """All rows of one model."""
    from attn_runtime import open_session
    from attn_runtime.random_inputs import draw_inputs

    folder = asked.folder / "built-in"
    bundle = exported(name, folder / f"{name}.attn")
    works = []
    with open_session(bundle, "cpu", "ort", threads=1) as session:
        usual = {dim.name: dim.opt for spec in session.inputs for dim in spec.dims if dim.name}
        for batch in BATCHES:
            inputs = draw_inputs(session.inputs, {**usual, "batch": batch}, seed=0)
            file = folder / f"{name}-{batch}.npz"
            np.savez(file, **inputs)  # type: ignore[arg-type]
            works += [Work(f"batch {batch}{state}", inputs, file) for state in ("", BUSY)]
    field = with_ours(lambda threads: OurSession(bundle, "fp32", "ort", threads))
    field.add(OTHER, lambda: named(OurSession(bundle, "fp32", "openvino", None), OTHER))
    graph = bundle / "model.onnx"
    add_peers(field, "OpenVINO fp32", "openvino", lambda n: (graph, n, "f32"), asked, folder / "logs" / name)
    found = seconds_of(field, works, asked, same_answers)
    rows = [row for work in works for row in _of_work(name, work, found, field)]
    for state in ("", BUSY):
        p50, p99 = percentiles(bundle, works[0], 200 if asked.quick else 1000, state, lead_of(asked))
        rows.append(Row("single calls, p99 beside p50", f"{name}, batch 1{state}", p99 * 1e3, p50 * 1e3, "ms",
                        3.0 if state else None, "p50"))  # fmt: skip
    return rows


def same_answers(work: Work, reference: Array, answers: Array) -> dict[str, float]:
    """RuntimeError where answers differ by more than rounding."""
    found = _error(work, reference, answers)
    if not found["error"] <= SAME:
        raise RuntimeError(
            f"its answer is {found['error']:.1e} of max|answer| from that of {OURS}, expected {SAME} or less"
        )
    return found


def _of_work(name: str, work: Work, found: dict[str, dict[str, float]], field: Field) -> list[Row]:
    seconds, cell = found[work.name], f"{name}, {work.name}"
    (peer, taken), (fixed, least) = best(seconds, peers_of(seconds)), best(seconds, fixed_of(seconds))
    ours = seconds[OURS] * 1e3
    rows = [Row("threads", cell, ours, least and least * 1e3, "ms", 1.05, fixed)]
    if work.name.endswith(BUSY):
        return rows
    goal = 1.0 if work.name == f"batch {BATCHES[-1]}" else None
    by, chosen = best(seconds, (OURS, OTHER))
    assert chosen is not None
    beside = taken and taken * 1e3
    return [
        Row("one call", cell, ours, beside, "ms", goal, peer, why_missing(field)),
        Row("one call, backend by measurement", cell, chosen * 1e3, beside, "ms", goal, peer, f"the fastest is {by}"),
        *rows,
    ]


def percentiles(bundle: Path, work: Work, calls: int, state: str, lead_s: float) -> tuple[float, float]:
    """Seconds that half of the single calls and 99 of 100 take at most, with half of the cores taken where `state` is BUSY."""
    ours = OurSession(bundle, "fp32", "ort", "auto")
    try:
        with busy() if state else nullcontext():
            keep_going(ours, work, lead_s)
            seconds = ours.run(work, calls).seconds
    finally:
        ours.close()
    p50, p99 = np.percentile(seconds, (50, 99))
    return float(p50), float(p99)
