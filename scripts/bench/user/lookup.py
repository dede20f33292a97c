"""Prompt lookup: answers that repeat what they were asked, beside the same generator without guesses.

    PYTHONPATH=scripts/bench python -m user.lookup [--quick] [--rounds N] [--no-peers] [--json FILE]

copier    a LlamaForCausalLM of 21 M parameters whose layers compute what drawn ones do and say next to nothing: the token
          that follows is a fixed permutation of the last one, by its head. So an answer is known before it is written, and
          the prompt says how much of it can be guessed: what follows there is the answer ("repeats"), the answer with
          another token put in place of each eighth or third one, text without a token in common with the answer
          ("nothing to guess"), or the tokens of the answer, each of them followed by a wrong one ("all guesses wrong").
          What a step costs does not depend on weights; how often guesses are right is set, not found
stories   the zoo's language model, fitted on its stories here, going on from beginnings of held-out ones: what a small
          trained model repeats of itself

All with LOOKUP guesses at most, one thread, fp32, 1 and 8 rows. Tokens are those that greedy search writes, or the run
fails. The peer is transformers' generate(prompt_lookup_num_tokens=LOOKUP) on the same weights, one row (it takes no more).

Expected before measuring: a call of 11 tokens costs 1.4 steps at one row of the 21 M, whose step reads 67 MB of weights
whatever it computes, and 3 at eight; so "repeats" comes to 5 to 7 times the rate at one row and 2.5 at eight, where rows
end together; every eighth token another one 2.5 times, every third 1.4; nothing to guess 0.98, all wrong 0.95 (the guesses
of the first calls, 10 + 5 + 2 + 1 of them). Stories: about half of the guesses right, 1.2 times. transformers gains less
by it, since its time is Python's: 3 times its own rate, and its rate is a fifth of ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .row import Asked, Row

Tokens = NDArray[np.int64]

LOOKUP = 10
PROMPT, NEW, PIECE = 96, 64, 8  # tokens of a prompt and of an answer; how often what is repeated is another token
SIZES = {"words": 8000, "width": 512, "layers": 4, "heads": 8, "inner": 1408}
TINY = {"words": 400, "width": 64, "layers": 1, "heads": 4, "inner": 128}
#: Of the drawn weights of a layer's last products: the stream stays the token's, whatever the layers add.
_QUIET = 0.02


@dataclass(frozen=True)
class Case:
    """Prompts int64 [rows, prompt] of one length, and the most that lookup may cost beside greedy search."""

    cell: str
    prompts: Tokens
    goal: float | None
    new: int = NEW


def measure(asked: Asked) -> list[Row]:
    folder = asked.folder / "lookup"
    folder.mkdir(parents=True, exist_ok=True)
    name = "copier (tiny)" if asked.quick else "copier, 21 M"
    saved, following = copier(folder / ("copier-tiny" if asked.quick else "copier"), TINY if asked.quick else SIZES)
    rows = of_generator(exported(str(saved), saved.with_suffix(".attn")), cases(name, following), asked.rounds)
    if asked.peers:
        rows += of_transformers(saved, cases(name, following)[0], rows[0], 1 if asked.quick else asked.rounds)
    if not asked.quick:
        rows += of_generator(fitted(folder), story_cases(), asked.rounds)
    return rows


def copier(folder: Path, sizes: dict[str, int]) -> tuple[Path, Tokens]:
    """A folder as save_pretrained writes it, and of each token the one that follows it."""
    following = np.roll(np.random.default_rng(5).permutation(sizes["words"]), 1)
    order = np.argsort(following)
    following = following[(order + 1) % len(order)]  # of the permutation one circle, so that nothing repeats itself
    if (folder / "config.json").exists():
        return folder, following
    import torch
    from attn_export.torchvision_import import ready_torchvision

    ready_torchvision()
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = {"num_attention_heads": sizes["heads"], "num_key_value_heads": sizes["heads"]}
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=sizes["words"], hidden_size=sizes["width"], intermediate_size=sizes["inner"], **heads,
            num_hidden_layers=sizes["layers"], max_position_embeddings=256, tie_word_embeddings=False,
            bos_token_id=None, eos_token_id=None, pad_token_id=0,
        )
    )  # fmt: skip
    with torch.no_grad():
        words = torch.randn(sizes["words"], sizes["width"]) / sizes["width"] ** 0.5
        model.model.embed_tokens.weight.copy_(words)
        model.lm_head.weight[torch.from_numpy(following)] = words
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight *= _QUIET
            layer.mlp.down_proj.weight *= _QUIET
    model.save_pretrained(folder)
    return folder, following


def exported(source: str, target: Path, checkpoint: Path | None = None) -> Path:
    """The bundle of a generator with the graph `extend`, unless it is there. At every corner, without the sizes between."""
    if not target.exists():
        from attn_export import ExportOptions, export

        dims = ["batch=1:1:8"]
        export(
            source,
            target,
            dims=dims,
            checkpoint=checkpoint,
            options=ExportOptions(extend=True, sweep=0, stage_seconds=3600),
        )
    return target


def cases(name: str, following: Tokens) -> list[Case]:
    draw = np.random.default_rng(1)

    def trail(start: int, count: int) -> list[int]:
        found = [start]
        while len(found) < count:
            found.append(int(following[found[-1]]))
        return found

    def prompt(kind: str) -> list[int]:
        # What is to be written, as the prompt has it, and then its first token again.
        clean = trail(int(draw.integers(3, len(following))), NEW + 2)
        others = sorted(set(range(3, len(following))) - set(clean))
        noise = draw.choice(others, PROMPT).tolist()
        if kind == "wrong":
            shown = [token for pair in zip(clean, noise, strict=False) for token in pair][: PROMPT - 1]
        elif kind == "nothing":
            shown = noise[: PROMPT - 1]
        else:
            every = {"repeats": NEW + 3, "eighth": PIECE, "third": 3}[kind]
            shown = [noise[n] if n % every == every - 1 else token for n, token in enumerate(clean)]
            shown = noise[: PROMPT - 1 - len(shown)] + shown
        return [*shown, clean[0]]

    told = {
        "repeats": ("repeats its prompt", 1 / 1.6),
        "eighth": ("repeats it, each eighth token another", 1 / 1.6),
        "third": ("repeats it, each third token another", None),
        "nothing": ("nothing to guess", 1.05),
        "wrong": ("all guesses wrong", 1.1),
    }
    return [
        Case(f"{name}, {cell}, {rows} row{'s' * (rows > 1)}", np.array([prompt(kind) for _ in range(rows)]), goal)
        for kind, (cell, goal) in told.items()
        for rows in (1, 8)
    ]


def of_generator(bundle: Path, works: list[Case], rounds: int) -> list[Row]:
    """Tokens a second with guesses and without, in turns. RuntimeError where the tokens differ."""
    from attn_runtime import GenerateOptions, open_generator

    rows = []
    with open_generator(bundle, "cpu", "ort", threads=1) as generator:
        for work in works:
            given = {"tokens": work.prompts}
            options = [GenerateOptions(work.new, stop=(), beams=1, sample=False, lookup=n) for n in (LOOKUP, 0)]
            found, wanted = (generator.generate(given, option) for option in options)
            if not np.array_equal(found.tokens, wanted.tokens):
                raise RuntimeError(f"{work.cell}: other tokens with guesses than without")
            calls: list[Callable[[], object]] = [lambda o=o, i=given: generator.generate(i, o) for o in options]  # type: ignore[misc]
            ours, plain = in_turns(calls, rounds)
            tokens = found.tokens.size
            assert found.drafted is not None and found.accepted is not None
            note = f"{found.drafted} guessed, {found.accepted} right, of {tokens} tokens"
            rows.append(
                Row("lookup", work.cell, tokens / ours, tokens / plain, "tokens/s", work.goal, "without lookup", note)
            )
    return rows


def of_transformers(folder: Path, work: Case, ours: Row, rounds: int) -> list[Row]:
    """The same prompt, one row, through transformers with its prompt lookup, and what it gains by it."""
    import torch
    from transformers import LlamaForCausalLM

    torch.set_num_threads(1)
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    tokens = torch.from_numpy(work.prompts[:1])

    def write(**more: Any) -> Any:
        with torch.no_grad():
            return model.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=work.new, do_sample=False, **more
            )

    guessing = {"prompt_lookup_num_tokens": LOOKUP}
    if not torch.equal(write(**guessing), write()):
        raise RuntimeError(f"{work.cell}: transformers writes other tokens with prompt lookup than without")
    fast, plain = in_turns([lambda: write(**guessing), write], rounds)
    note = f"transformers gains {plain / fast:.2f} times by it"
    peer = "transformers, prompt_lookup_num_tokens"
    return [Row("lookup", work.cell, ours.ours, work.new / fast, "tokens/s", 1.0, peer, note)]


def in_turns(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each, three calls a turn."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, mine in zip(calls, taken, strict=True):
            for _ in range(3):
                begun = time.perf_counter()
                call()
                mine.append(time.perf_counter() - begun)
    return [median(each) for each in taken]


def fitted(folder: Path) -> Path:
    """The bundle of the zoo's language model, trained here unless it was."""
    weights = folder / "lm" / "model.safetensors"
    if not weights.exists():
        import subprocess

        command = [sys.executable, "-m", "attn_models.train", "lm", "--out", str(weights.parent), "--quiet"]
        subprocess.run(command, check=True)
    return exported("lm", folder / "lm.attn", weights)


def story_cases() -> list[Case]:
    from attn_models.data import draw_stories, encode

    found = []
    for number, story in enumerate(draw_stories(1000, 3, held_out=True)):
        row = encode(str(story))[:PROMPT]
        found.append(Case(f"stories, fitted, beginning {number}, {len(row)} tokens, 1 row", np.array([row]), None))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model, one round, nothing trained")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[3] / "runs" / "bench" / "user")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    rows = measure(Asked(arguments.quick, rounds, arguments.folder, arguments.folder.parent, not arguments.no_peers))
    for row in rows:
        ratio = f"{1 / row.ratio:.2f} times" if row.ratio else ""
        print(f"{row.cell}: {row.ours:,.0f} {row.unit}, {row.beside} {row.peer:,.0f}: {ratio}; {row.note}")
    if arguments.json:
        arguments.json.write_text(json.dumps([row.told() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
