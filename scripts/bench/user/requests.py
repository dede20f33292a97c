"""Many requests of different lengths to one generator: submitted one by one, beside batches of what has arrived.

    python scripts/bench/user/requests.py [--quick] [--rounds N] [--folder FOLDER]

64 requests to a language model of drawn weights (width 512, 6 layers, 8000 words; --quick: width 64, 2 layers), greedy, fp32, one
thread. Prompts have 4 to 256 tokens, answers too, evenly drawn, and requests come at random within a tenth of the time that they
take one after the other.

    batches    what one does without `submit`: all that has arrived, at most 64 rows, is generated as one batch, padded, until the
               longest answer of the batch is written; then what has arrived in the meantime
    requests   `submit`, 64 rows

Beside that, the most that could be hoped for: as many rows, of the mean lengths, that begin and end together.

Tokens per second are those of the answers over the time from the first arrival to the last token. The first token of a request is
timed from its arrival; p95 over requests. Both must write the same tokens.

Expected before measuring, of 32 rows: a batch is as long as its longest prompt and its longest answer, near 256 each,
where 130 are needed on average: twice the steps and twice the prompts. A step of many rows costs here nearly as much
a row as one of few (a row of 32 takes 2.7 ms of width 512, a row alone 4.3), so that requests that fill rows as
others end bring 1.7 to 2.0 times the tokens per second, and not 2.5. The first token of a request waits for a free
row, not for a batch: p95 is that of the 32 that wait, 0.5 to 0.6 of the batches', where a request of the second batch
waits for all of the first.

Found: 2.0 times the tokens per second and 0.33 of the p95 with 32 rows, 1.8 and 0.17 with 64, where nobody waits for
a row. What is padded is the bound: a useful row of a step stands beside one that is not, and prompts are half
padding.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from user.row import Asked, Row

if TYPE_CHECKING:
    from attn_runtime import Generator

REQUESTS, ROWS, SHORTEST, LONGEST = 64, 64, 4, 256
WHAT = "requests that arrive at random"


@dataclass
class Ask:
    """One request: when it comes, and what became of it, in seconds from the start."""

    at: float
    prompt: np.ndarray
    length: int
    tokens: list[int] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0

    def take(self, token: int, now: float) -> None:
        """A token behind the end is computed along with others', and of no use."""
        if len(self.tokens) < self.length:
            self.first = self.first or now
            self.tokens.append(token)
            self.last = now


def measure(asked: Asked) -> list[Row]:
    from attn_runtime import RequestLimits, open_generator

    bundle = bundle_of(asked.folder / "requests", asked.quick)
    with open_generator(bundle, "cpu", "ort", threads=1, requests=RequestLimits(rows=ROWS)) as generator:
        load = drawn(generator.vocabulary, 1 / 8 if asked.quick else 1.0)
        spread(generator, load)
        found: dict[str, list[tuple[float, float]]] = {"batches": [], "requests": []}
        full: list[float] = []
        for _ in range(asked.rounds):
            wrote = {}
            for name, run in (("batches", in_batches), ("requests", submitted)):
                fresh = [Ask(each.at, each.prompt, each.length) for each in load]
                run(generator, fresh)
                wrote[name] = [each.tokens for each in fresh]
                found[name].append(figures(fresh))
            if wrote["batches"] != wrote["requests"]:
                raise RuntimeError(f"{WHAT}: batches and requests wrote different tokens")
            full.append(unpadded(generator, load))
    rates, firsts = ({name: median(pair[n] for pair in pairs) for name, pairs in found.items()} for n in (0, 1))
    cell = f"{bundle.stem}, {REQUESTS} requests, {SHORTEST}..{max(each.length for each in load)} tokens"
    beside = "batches of what has arrived"
    return [
        Row(WHAT, f"{cell}: all tokens", rates["requests"], rates["batches"], "tokens/s", 1 / 2.5, beside),
        Row(WHAT, f"{cell}: first token, p95", firsts["requests"] * 1e3, firsts["batches"] * 1e3, "ms", 0.3, beside),
        Row(
            WHAT,
            f"{cell}: all tokens",
            rates["requests"],
            median(full),
            "tokens/s",
            None,
            "rows of one length, all full",
        ),
    ]


def figures(load: list[Ask]) -> tuple[float, float]:
    """(tokens per second, seconds to the first token, p95)"""
    seconds = max(each.last for each in load) - min(each.at for each in load)
    waited = sorted(each.first - each.at for each in load)
    return sum(each.length for each in load) / seconds, waited[int(0.95 * len(waited))]


def unpadded(generator: Generator, load: list[Ask]) -> float:
    """Tokens per second of as many rows that begin and end together, of the mean lengths: nothing is padded, nobody waits."""
    from attn_runtime import GenerateOptions

    prompt, length = (
        round(sum(sizes) / len(load)) for sizes in ((each.prompt.size for each in load), (each.length for each in load))
    )
    tokens = np.random.default_rng(0).integers(3, generator.vocabulary, (ROWS, prompt))
    started = time.perf_counter()
    generator.generate({"tokens": tokens}, GenerateOptions(length, stop=()))
    return ROWS * length / (time.perf_counter() - started)


def drawn(vocabulary: int, share: float, seed: int = 0) -> list[Ask]:
    """`share` of the longest lengths."""
    rng, longest = random.Random(seed), max(SHORTEST, int(LONGEST * share))
    return [
        Ask(0.0, np.array([rng.choices(range(3, vocabulary), k=rng.randint(SHORTEST, longest))]), length)
        for length in (rng.randint(SHORTEST, longest) for _ in range(REQUESTS))
    ]


def spread(generator: Generator, load: list[Ask], seed: int = 1) -> None:
    """Let them come at random within a tenth of what all take one after the other, by what four of them take."""
    from attn_runtime import GenerateOptions

    started = time.perf_counter()
    for each in load[:4]:
        generator.generate({"tokens": each.prompt}, GenerateOptions(each.length, stop=()))
    alone = (time.perf_counter() - started) * sum(each.length for each in load) / sum(each.length for each in load[:4])
    rng = random.Random(seed)
    for each, at in zip(load, sorted(rng.uniform(0, alone / 10) for _ in load), strict=True):
        each.at = at


def submitted(generator: Generator, load: list[Ask]) -> None:
    from attn_runtime import GenerateOptions

    started, requests = time.perf_counter(), []
    for each in load:
        time.sleep(max(0.0, each.at - (time.perf_counter() - started)))

        def take(token: int, each: Ask = each) -> None:
            each.take(token, time.perf_counter() - started)

        requests.append(generator.submit({"tokens": each.prompt}, GenerateOptions(each.length, stop=()), take))
    for request in requests:
        request.result()


def in_batches(generator: Generator, load: list[Ask]) -> None:
    from attn_runtime import GenerateOptions

    started, waiting, come = time.perf_counter(), list[Ask](), threading.Condition()

    def arrive() -> None:
        for each in load:
            time.sleep(max(0.0, each.at - (time.perf_counter() - started)))
            with come:
                waiting.append(each)
                come.notify()

    thread = threading.Thread(target=arrive)
    thread.start()
    left = len(load)
    while left:
        with come:
            come.wait_for(lambda: bool(waiting))
            batch, waiting[:] = waiting[:ROWS], waiting[ROWS:]
        longest = max(each.prompt.shape[1] for each in batch)
        tokens = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros(tokens.shape, bool)
        for row, each in enumerate(batch):
            tokens[row, : each.prompt.shape[1]] = each.prompt
            mask[row, : each.prompt.shape[1]] = True

        def take(row: int, token: int, batch: list[Ask] = batch) -> None:
            batch[row].take(token, time.perf_counter() - started)

        options = GenerateOptions(max(each.length for each in batch), stop=())
        generator.generate({"tokens": tokens, "tokens_mask": mask}, options, take)
        left -= len(batch)
    thread.join()


def bundle_of(folder: Path, quick: bool) -> Path:
    """A language model for prompts and answers of these lengths and 32 rows, exported unless it lies there."""
    from dataclasses import replace

    from exported import exported
    from precision.models import model_of, saved

    model = model_of("lm-22m", "tiny" if quick else "full")
    model = replace(model, config={**model.config, "max_position_embeddings": 2 * LONGEST + 8})
    folder = folder / ("tiny" if quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    return exported(saved(model, folder), folder / "lm-22m.attn", [f"batch=1:1:{ROWS}", f"prompt=1:16:{LONGEST}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[3] / "runs" / "bench" / "user")
    given: Any = parser.parse_args()
    for row in measure(Asked(given.quick, given.rounds, given.folder, given.folder, False)):
        print(f"{row.cell}: {row.ours:.1f} beside {row.peer:.1f} {row.unit}, {row.ratio:.2f} (goal {row.goal})")


if __name__ == "__main__":
    main()
