"""Export itself: a proven bundle beside the bare `torch.onnx.export` calls of its graphs, and a conversion beside its export.

    python -m user.export_time [--quick] [--rounds N] [--folder FOLDER]         (in scripts/bench)

Each side is a fresh process, from the folder that save_pretrained made to files on the disk, in turns; medians. The bare side
loads the model as ours does (its imports and the look at the folder are in both), and has the same views, ranges and opset.
Beside the seconds, the seconds of processors of both are in `note`: on a busy machine the ratio of these says more.

Expected before measuring (two cores, AVX2; of the bare side's time): a generator of Marian's size takes 2.5 to 3 times three
bare exports, of which the captures are one, arithmetic at the largest corners one, and what PyTorch writes without a cache
most of the rest. BERT of the base size at T up to 512 takes 2 times on such cores: PyTorch and ONNX Runtime must each answer
eight rows of 512 tokens once, which is 0.7 TFLOP, and a bare export has no arithmetic. Its goal of 1.5 needs cores that are
twice as quick. A graph of 3.2 GB takes 1.1 times, and 2.1 times its weights in memory: PyTorch's copy, and that of ONNX
Runtime, which is mapped. ALBERT in fp16 takes 3 times its export.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from export.export_cost import Cost, commands, cost_of
from exported import export_command
from peers.optimum_peer import save_drawn

from .row import Asked, Row

WHAT = "export"
BERT, ALBERT = "BertForSequenceClassification", "AlbertForSequenceClassification"
#: What the small ones of --quick are.
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 1000,
}
SHARED = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 12}
LARGE_GB = 3.2


def measure(asked: Asked) -> list[Row]:
    asked = replace(asked, folder=asked.folder.resolve())  # the commands run in another
    if asked.quick:
        return [_beside_bare("BERT, tiny", BERT, TINY, ["batch=1:2:4", "length=1:8:32"], None, asked)]
    from generate_bench import model_of

    marian = model_of("marian-mt")
    return [
        _beside_bare("generator of Marian's size", marian.name, marian.config, [], 3.0, asked),
        _beside_bare("BERT, base, T up to 512", BERT, {}, ["batch=1:4:8", "length=1:128:512"], 1.5, asked),
        *_large(asked),
        _converted(asked),
    ]


def _folder(name: str, config: dict[str, object], asked: Asked) -> str:
    from attn_export.torchvision_import import ready_torchvision

    ready_torchvision()
    place = asked.folder / "-".join(["export", name, str(config.get("hidden_size", "base"))])
    return str(save_drawn(place, name, config))


def _beside_bare(
    cell: str, name: str, config: dict[str, object], dims: list[str], goal: float | None, asked: Asked
) -> Row:
    folder = _folder(name, config, asked)
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        given = [word for dim in dims for word in ("--dim", dim)]
        bare = [sys.executable, "bare_export.py", folder, f"{place}/bare.onnx", *given]
        turns = [
            (cost_of(export_command(folder, Path(place, "x.attn"), dims, "--force")), cost_of(bare))
            for _ in range(asked.rounds)
        ]
    return _row(cell, turns, goal, "bare torch.onnx.export of each graph")


def _large(asked: Asked) -> list[Row]:
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        both = commands("large", LARGE_GB, 16, Path(place))
        bare, ours = both["bare torch.onnx.export"], both["attn-export to-onnx"]
        turns = [(cost_of(ours), cost_of(bare)) for _ in range(asked.rounds)]
        peak = cost_of(ours, memory=True).peak
        weights = sum(f.stat().st_size for f in Path(place, "ours.attn").glob("model.onnx*"))
    cell = f"layers of {weights / 1e9:.1f} GB"
    memory = Row(WHAT, f"{cell}, peak memory", peak / 1e6, weights / 1e6, "MB", 1.6, "its weights")
    return [_row(cell, turns, 1.1, "bare torch.onnx.export"), memory]


def _converted(asked: Asked) -> Row:
    folder = _folder(ALBERT, {**SHARED, "vocab_size": 8000, "embedding_size": 128}, asked)
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        target = Path(place, "x.attn")
        export = export_command(folder, target, ["batch=1:2:4", "length=1:16:64"], "--force")
        convert = [sys.executable, "-m", "attn_export", "convert", str(target), "--precision", "fp16", "--quiet"]
        turns = [(cost_of(export), cost_of(convert))[::-1] for _ in range(asked.rounds)]
    return _row("ALBERT, 12 shared layers, to fp16", turns, 4.0, "its export")


def _row(cell: str, turns: list[tuple[Cost, Cost]], goal: float | None, beside: str) -> Row:
    seconds = [median(cost.seconds for cost in side) for side in zip(*turns, strict=True)]
    ours, peer = (median(cost.processor for cost in side) for side in zip(*turns, strict=True))
    note = f"of processors {ours:.0f} beside {peer:.0f} s, {ours / peer:.2f}"
    return Row(WHAT, cell, seconds[0], seconds[1], "s", goal, beside, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("../../runs/bench"))
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for row in measure(Asked(arguments.quick, arguments.rounds, folder, folder, True)):
        goal = "" if row.goal is None else f" (goal {row.goal:g}, {'met' if row.met else 'not met'})"
        told = f"{row.cell}: {row.ours:.0f} {row.unit} beside {row.peer:.0f} of {row.beside}"
        print(f"{told}, {row.ratio:.2f} times{goal}; {row.note}", flush=True)


if __name__ == "__main__":
    main()
