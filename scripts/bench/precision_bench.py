"""What quantised and half precisions gain on a CPU, beside peers, with the answers checked beside each number.

    python scripts/bench/precision_bench.py [--rows bert,vit,translation,lm,disk,conversion] [--threads N] [--rounds N]
        [--json FILE] [--markdown] [--no-peers] [--size full|tiny] [--folder FOLDER] [--venvs FOLDER]

    bert         BertForSequenceClassification of BERT-base's size, 128 tokens, batch 1 and 8
    vit          ViTForImageClassification of ViT-B/16's size, batch 1 and 8
    translation  MarianMTModel of Marian's size (6 + 6 layers, width 512): greedy with 128 new tokens and 4 beams with 32,
                 1 and 8 rows
    lm           LlamaForCausalLM of 100 M parameters (12 layers, width 768, 20000 words): 64 new tokens, 1 and 8 rows
    disk         bytes of lm's weights in each precision, int4 in blocks of 128 and of 32
    conversion   seconds and peak memory of converting lm, of the process and all below it; a page that several of them map is
                 divided between them (Linux's PSS), and mapped files count

Everybody reads the same weights and has the same number of threads (CTranslate2 one as well, its best may be that), and takes
turns: one measurement of each, then the next round, medians. "Of fp32" is the time over that of our fp32 graph on ONNX Runtime.
Weights are drawn. The heads of bert and vit are fitted, so that their classes mean something, and fp32 is right for nearly all of
200 held-out samples: agreement is the share of those whose class is that of our fp32; accuracy is against what they were made as.
The error is the largest, of max of our fp32's answers. For generators, agreement is the share of tokens that our fp32 wrote:
rounding decides early with drawn weights, and a token that differs makes those behind it differ, for peers as for ours.
Conversions are allowed any error here.

The peers, in venvs of their own (FOLDER/.venv-NAME, made where they are missing): OpenVINO on our fp32 graph with fixed sizes, by
default (it takes bfloat16 where the processor has it, and the table says so) and in fp32; ONNX Runtime's quantize_dynamic on the
same graph; CTranslate2 in int8, one thread and all, and in fp32; onnxruntime-genai by its builder, int4 and fp32. Models, bundles
and what peers make of them are kept in FOLDER (runs/bench/precision) for the next run.

Expected before the whole was measured, from graphs timed alone with one thread on a processor with AVX-512 VNNI and bfloat16 and
without AMX (an instruction does four times as many products in int8 as in fp32, twice as many in bfloat16). bert, batch 1:
int8-dynamic 0.35 of fp32 (products 0.25, and what stays in fp32 a tenth), OpenVINO's default 0.5, int8 like int8-dynamic or a
little less; batch 8 the same. vit the same. Class agreement 99 % for all of them, 99.5 % in bf16. translation, greedy, 1 row:
bound by memory, int8 0.35 and int4 0.25, CTranslate2's int8 0.4; 8 rows: int8-dynamic 0.5, CTranslate2 0.45; beams: CTranslate2
leads, 1.2 to 1.5 times, since our loop is Python. lm: genai's int4 with blocks of 32, 0.25 at one row and 0.55 at eight; ours
with blocks of 32 as fast within a tenth, int8-dynamic faster at eight. disk: int4 0.14 to 0.17 of fp32. conversion: minutes, and
a peak of 4 times the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BENCH = ROOT / "runs" / "bench"
NAMES = ("bert", "vit", "translation", "lm", "disk", "conversion")


def run(names: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """All that is asked for, written to --json after each row: a killed run keeps what it has."""
    from generate_bench import machine
    from precision.rows import ROWS, Asked
    from precision.runners import say

    (arguments.folder / arguments.size).mkdir(parents=True, exist_ok=True)
    asked = Asked(
        arguments.size, arguments.threads, arguments.rounds, arguments.folder, arguments.venvs, not arguments.no_peers
    )
    before = os.getloadavg()[0]
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "size": asked.size,
        "threads": asked.threads,
        "rounds": asked.rounds,
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "transformers")},
        "rows": {},
    }
    for name in names:
        say(name)
        started = time.perf_counter()
        found = ROWS[name](asked)
        # A peer's ONNX Runtime may be another than ours, and so may its transformers.
        result["versions"] |= {
            f"{package} of peers" if result["versions"].get(package, told) != told else package: told
            for package, told in found.pop("versions").items()
        }
        result["rows"][name] = {**found, "took_seconds": time.perf_counter() - started}
        result["load"] = [before, os.getloadavg()[0]]
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(NAMES), help="which, separated by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    parser.add_argument("--markdown", action="store_true", help="print tables (done without --json as well)")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--size", choices=("full", "tiny"), default="full", help="tiny: to try the script")
    parser.add_argument("--folder", type=Path, default=BENCH / "precision", help="where models and bundles are kept")
    parser.add_argument("--venvs", type=Path, default=BENCH, help="where the venvs of peers are kept")
    arguments = parser.parse_args()
    names = arguments.rows.split(",")
    for name in names:
        if name not in NAMES:
            parser.error(f'--rows: unknown row "{name}"; available: {", ".join(NAMES)}')
    if arguments.threads < 1 or arguments.rounds < 1:
        parser.error("--threads and --rounds: expected 1 or more")
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before torch is imported
    sys.path.insert(0, str(HERE))
    result = run(names, arguments)
    if arguments.markdown or not arguments.json:
        from precision.report import markdown

        print(markdown(result))


if __name__ == "__main__":
    main()
