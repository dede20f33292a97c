"""Tokens per second of greedy generation on the CPU: attn-runtime beside PyTorch, transformers and Optimum.

    python scripts/bench/generate_bench.py [--quick] [--size lm,translator,marian] [--threads N] [--rounds N]
        [--no-optimum] [--optimum-venv FOLDER] [--docs]
    python scripts/bench/generate_bench.py --size llama,qwen2,qwen2-wide,marian-mt --rounds 3 --docs     # folders
    python scripts/bench/generate_bench.py --size bert [--bert tiny,base] --docs

Everybody writes the same number of tokens (nothing stops early; what was written is counted), with the same number of
threads, in turns: one measurement of each, then the next round, and the medians are compared. 16 and 128 new tokens,
1 and 8 rows, prompts and sources of 16 tokens, fp32. Weights are random: the time of a step does not depend on them.

    lm          the built-in language model as it is; transformers' peer is a LlamaForCausalLM of the same sizes
    translator  the built-in translator as it is; the peer is a MarianMTModel of the same sizes
    marian      a translator of Marian's usual sizes: width 512, 8 heads, 6 + 6 layers, feed-forward 2048; 8000 words

Folders that save_pretrained wrote, with drawn weights, which attn-export, transformers and Optimum each read: all must
write the same tokens.

    llama, qwen2    LlamaForCausalLM and Qwen2ForCausalLM of the sizes of lm
    qwen2-wide      Qwen2ForCausalLM of the width, depth and words of marian
    marian-mt       MarianMTModel of the sizes of marian
    bert            no tokens: seconds from a folder to a bundle, beside optimum-cli's (scripts/bench/export/bert_cost.py)

The runners: attn-runtime (the bundle's graphs on ONNX Runtime); PyTorch's own cached loop over the same module
(attn_models.reference_generation.cached), whose tokens must be the same; the same module as one ONNX graph
that reads everything again for each token; transformers' `generate`;
Optimum's ORTModelForSeq2SeqLM or ORTModelForCausalLM on what Optimum exported, in runs/bench/.venv-optimum (made by this
script, 2 GB; it pins an older transformers, which saves the folders). Bundles and peers are kept in runs/bench/ for the next
run.

Expected before measuring: at the small sizes a step is some hundred calls of microseconds, so PyTorch and transformers are
bound by Python and dispatch: attn-runtime 5 times as fast as PyTorch's loop, 10 times as fast as transformers, 3 times as
fast as Optimum, which copies its growing cache through Python at every step. At Marian's size and one row a step reads all
decoder weights (25 M parameters, 100 MB) from memory, which costs everybody the same: 1.5 to 2 times PyTorch, 1.2 times
Optimum. At 8 rows the products weigh more still and all come closer. Without a cache, 16 tokens cost little more than
with one at the small sizes, and 128 tokens many times as much.

Expected of folders before measuring: as above, since the graphs of a folder differ little from those of a built-in model.
At the small sizes 5 times transformers and 2 to 3 times Optimum; at the wide ones 2.5 to 3.5 times transformers, and 1.3
(one row) to 2 times Optimum (eight).

BERT, after one run of the tiny one (14 s of processor time beside 4): optimum-cli traces with TorchScript, opens one session
and compares one answer; a bundle is captured by torch.export, whose imports and re-tracing alone take as long as the whole
of optimum-cli, and is held against PyTorch at 7 shapes twice: 2.5 to 3 times for a tiny one, more for the base one, whose
largest corner (32 x 512 tokens) is tens of seconds of arithmetic. The goal of 1.5 times is then missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generate_runners import Model, Runner

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BENCH = ROOT / "runs" / "bench"
RESULT = BENCH / "generate.json"
DOCS = ROOT / "docs" / "measured" / "generation.md"
PROMPT = 16
WORK = ((1, 16), (1, 128), (8, 16), (8, 128))  # (rows, new tokens)
LONGEST = 160  # tokens of a row, for which the graphs are exported
OPTIMUM = ("torch==2.13.0", "optimum-onnx==0.1.0", "transformers<4.58", "onnxruntime==1.31.1")
#: Recomputing 128 tokens of 8 rows at Marian's size takes minutes.
LEFT_OUT = {("marian", "ONNX without a cache"): {(1, 128), (8, 16), (8, 128)}}
#: Between measurements. Threads of the one before wait busily for their next call: a session of ONNX Runtime's for 40 ms alone.
SETTLE_S = 0.25
#: A measurement that takes longer than this is made once.
ONCE_S = 6.0

SIZES = ("lm", "translator", "marian")
FOLDERS = ("llama", "qwen2", "qwen2-wide", "marian-mt")
BERT = "bert"

MARIAN = {"vocabulary": 8000, "width": 512, "heads": 8, "layers": 6, "feed_forward": 2048}


def sizes_of(name: str) -> tuple[str, dict[str, int]]:
    """The module with `of_size`, and its arguments."""
    from attn_models.data.translation import text as translation_text
    from attn_models.zoo import lm

    if name == "lm":
        config = {"width": lm.WIDTH, "layers": lm.LAYERS, "heads": lm.HEADS, "kv_heads": lm.KV_HEADS}
        return "attn_models.zoo.lm", {**config, "feed_forward": lm.FEED_FORWARD, "max_length": LONGEST}
    if name == "translator":
        config = {"vocabulary": len(translation_text.tokens()), "width": 128, "heads": 4, "layers": 2}
        return "attn_models.zoo.translator", {**config, "feed_forward": 256, "max_length": LONGEST}
    return "attn_models.zoo.translator", {**MARIAN, "max_length": LONGEST}


def model_of(name: str) -> Model:
    """What the folder of this name holds."""
    from attn_models.data import lexicon
    from generate_runners import Model

    if name == "marian-mt":
        return Model("MarianMTModel", marian_config({**MARIAN, "max_length": LONGEST}))
    if name == "qwen2-wide":
        return Model("Qwen2ForCausalLM", decoder_config({**MARIAN, "kv_heads": 2}))
    sizes = {**sizes_of("lm")[1], "vocabulary": len(lexicon())}
    return Model("LlamaForCausalLM" if name == "llama" else "Qwen2ForCausalLM", decoder_config(sizes))


def kept(what: str, config: dict[str, Any], suffix: str = "") -> Path:
    """Where something made for these sizes lies in runs/bench/."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return BENCH / f"{what}-{digest}{suffix}"


def bundle_of(name: str, source: str, config: dict[str, int], options: Sequence[str], fresh: bool) -> Path:
    """The bundle of this size, exported unless it lies there from an earlier run."""
    target = kept(f"generate-{name}", config, ".attn")
    if not target.exists() or fresh:
        command = [sys.executable, "-m", "attn_export", "to-onnx", source, "-o", str(target), "--quiet"]
        subprocess.run([*command, *options], check=True)
    return target


def _dims(encodes: bool) -> list[str]:
    ranges = ["batch=1:1:8", *(["source=1:16:16", "prompt=1:1:2"] if encodes else ["prompt=1:16:16"])]
    return [word for dim in ranges for word in ("--dim", dim)]


def marian_config(config: dict[str, int]) -> dict[str, Any]:
    """Arguments of MarianConfig for a translator of these sizes."""
    both = {
        "layers": config["layers"],
        "attention_heads": config["heads"],
        "ffn_dim": config["feed_forward"],
    }
    return {
        "vocab_size": config["vocabulary"],
        "d_model": config["width"],
        **{f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in both.items()},
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "forced_eos_token_id": None,
        "activation_function": "relu",
    }


def decoder_config(config: dict[str, int]) -> dict[str, Any]:
    """Arguments of LlamaConfig or Qwen2Config for a language model of these sizes."""
    return {
        "vocab_size": config["vocabulary"],
        "hidden_size": config["width"],
        "intermediate_size": config["feed_forward"],
        "num_hidden_layers": config["layers"],
        "num_attention_heads": config["heads"],
        "num_key_value_heads": config["kv_heads"],
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def optimum_runner(
    folder: Path, model: Model, arguments: argparse.Namespace, same_weights: bool = False
) -> tuple[list[Runner], dict[str, str]]:
    """Optimum on what it makes in `folder`, and why it is missing where it is."""
    import generate_runners as runners
    from peers.venv import peer_python

    if arguments.no_optimum:
        return [], {}
    try:
        python = peer_python(arguments.optimum_venv, OPTIMUM)
        return [runners.Optimum(python, folder, model, arguments.threads, same_weights)], {}
    except (RuntimeError, OSError) as problem:
        return [], {"optimum": str(problem)}


def folder_runners(name: str, arguments: argparse.Namespace) -> tuple[list[Runner], dict[str, str], int]:
    """As `open_runners`, of a folder: all read the same weights."""
    import generate_runners as runners
    import transformers
    from peers.optimum_peer import save_drawn

    model = model_of(name)
    folder = kept(f"folder-{name}", {"class": model.name, **model.config})
    peers, missing = optimum_runner(
        folder, model, arguments, same_weights=True
    )  # first: it saves a folder that is not there
    saved = save_drawn(folder, model.name, model.config)
    options = [*_dims(model.begin is not None), "--sweep", "0"]
    bundle = bundle_of(name, str(saved), model.config, options, arguments.fresh)
    transformers.utils.logging.disable_progress_bar()
    living = getattr(transformers, model.name).from_pretrained(saved)
    found = [
        runners.OurRuntime(bundle, arguments.threads),
        runners.HuggingFace(living, pad=model.config["pad_token_id"], begin=model.begin, same_weights=True),
        *peers,
    ]
    return found, missing, model.config["vocab_size"]


def open_runners(name: str, arguments: argparse.Namespace) -> tuple[list[Runner], dict[str, str], int]:
    """The runners of this size, why others are missing, and how many words there are."""
    import importlib

    import generate_runners as runners
    import torch
    import transformers
    from attn_export.source.resolve import load_source

    module_name, config = sizes_of(name)
    given = [f"{k}={v}" for k, v in config.items()]
    options = [*(word for pair in given for word in ("--config", pair)), *_dims("translator" in module_name)]
    bundle = bundle_of(name, f"{module_name}:of_size", config, options, arguments.fresh)
    source = load_source(f"{module_name}:of_size", config=given)
    spec = importlib.import_module(module_name).of_size(**config)
    vocabulary = spec.graphs[-1].outputs[0].dims[-1].opt
    found: list[Runner] = [
        runners.OurRuntime(bundle, arguments.threads),
        runners.PyTorchCached(spec, source.module),
        runners.NoCache(spec, source.module, kept(f"generate-{name}", config, "-whole.onnx"), arguments.threads),
    ]
    torch.manual_seed(0)
    if name == "lm":
        llama = transformers.LlamaConfig(**decoder_config({**config, "vocabulary": vocabulary}))
        found.append(runners.HuggingFace(transformers.LlamaForCausalLM(llama), pad=0, begin=None))
        return found, {}, vocabulary
    sizes = marian_config(config)
    marian = transformers.MarianMTModel(transformers.MarianConfig(**sizes))
    found.append(runners.HuggingFace(marian, pad=0, begin=0))
    peers, missing = optimum_runner(kept(f"optimum-{name}", sizes), runners.Model("MarianMTModel", sizes), arguments)
    return [*found, *peers], missing, vocabulary


def measure(name: str, arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything of one size: seconds of every runner at every work, round by round."""
    import numpy as np

    runners, missing, vocabulary = (folder_runners if name in FOLDERS else open_runners)(name, arguments)
    say(f"{name}: {', '.join(r.name for r in runners)}" + "".join(f"; no {n}: {why}" for n, why in missing.items()))
    draw = np.random.default_rng(0)
    prompts = {rows: draw.integers(3, vocabulary, (rows, PROMPT)) for rows, _ in WORK}
    seconds: dict[str, dict[str, list[float]]] = {r.name: {} for r in runners}
    equal: dict[str, str] = {}
    try:
        for turn in range(arguments.rounds + 1):  # the first warms up, and compares
            for rows, new in WORK:
                written = {}
                for runner in runners[turn % len(runners) :] + runners[: turn % len(runners)]:
                    key = f"{rows}x{new}"
                    if (rows, new) in LEFT_OUT.get((name, runner.name), ()):
                        continue
                    so_far = seconds[runner.name].setdefault(key, [])
                    if turn > 1 and so_far and so_far[0] > ONCE_S:
                        continue
                    time.sleep(SETTLE_S)
                    made = runner.run(prompts[rows], new)
                    if made.tokens.shape != (rows, new):
                        sys.exit(f"{runner.name} wrote {made.tokens.shape} tokens instead of {rows} x {new}")
                    written[runner.name] = made.tokens
                    if turn:
                        so_far.append(made.seconds)
                if not turn:
                    equal[f"{rows}x{new}"] = _compared(runners, written, prompts[rows], new)
            say(f"{name}: {'warm-up' if not turn else f'round {turn} of {arguments.rounds}'} done")
    finally:
        for runner in runners:
            runner.close()
    sizes = model_of(name).config if name in FOLDERS else sizes_of(name)[1]
    sizes = {k: v for k, v in sizes.items() if type(v) is int and not k.endswith("_token_id")}
    return {"seconds": seconds, "missing": missing, "same_tokens": equal, "sizes": sizes}


def _compared(runners: list[Runner], written: dict[str, Any], prompt: Any, new: int) -> str:
    """Whether those that share weights wrote the same tokens; random weights leave some steps to rounding."""
    ours, *others = [written[r.name] for r in runners if r.same_weights and r.name in written]
    share = min(float((ours == tokens).mean()) for tokens in others)
    if share == 1:
        return "the same"
    margin = float(runners[1].margin(prompt, new))  # type: ignore[attr-defined]
    if margin > 1e-4:
        sys.exit(f"attn-runtime wrote other tokens than its peers ({100 * share:.1f} % the same, margin {margin:.2g})")
    return f"{100 * share:.1f} % the same; PyTorch's own choice was {margin:.0e} logits apart"


def table(measured: dict[str, Any]) -> str:
    """Tokens per second, all rows together, and in brackets how many times as fast attn-runtime is."""
    lines = []
    for name, found in measured.items():
        sizes = ", ".join(f"{k} {v}" for k, v in found["sizes"].items())
        lines += ["", f"### {name} ({sizes})", ""]
        lines.append("| tokens/s (attn-runtime is ... times as fast) | " + " | ".join(
            f"{rows} row{'s' * (rows > 1)}, {new} new" for rows, new in WORK) + " |")  # fmt: skip
        lines.append("|---" * (1 + len(WORK)) + "|")
        ours = {key: median(times) for key, times in found["seconds"]["attn-runtime"].items()}
        for runner, times in found["seconds"].items():
            cells = []
            for rows, new in WORK:
                key = f"{rows}x{new}"
                if not times.get(key):
                    cells.append("not measured")
                    continue
                middle = median(times[key])
                ratio = "" if runner == "attn-runtime" else f" ({middle / ours[key]:.1f})"
                cells.append(f"{rows * new / middle:,.0f}{ratio}")
            lines.append(f"| {runner} | {' | '.join(cells)} |")
        lines += [f"| {runner} | {why} |" for runner, why in found["missing"].items()]
    return "\n".join(lines).strip()


def machine() -> str:
    with suppress(OSError, StopIteration):
        line = next(x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name"))
        return f"{line.split(':')[1].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def document(result: dict[str, Any], names: Sequence[str], marker: str) -> None:
    """Put the table of these sizes between two markers of docs/measured/generation.md; what is around it stays."""
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    text = DOCS.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    rounds = "" if marker == BERT else f", medians of {result['rounds']} rounds"
    head = (
        f"{result['date']}, {result['machine']}, {result['threads']} thread{'s' * (result['threads'] > 1)}{rounds}; "
        f"load of the machine before and after: {result['load'][0]:.1f} and {result['load'][1]:.1f}. {versions}."
    )
    told = (
        bert_table(result[BERT])
        if marker == BERT
        else table({n: result["sizes"][n] for n in names if n in result["sizes"]})
    )
    DOCS.write_text(f"{before}{begin}\n{head}\n\n{told}\n\n{end}{after}", encoding="utf-8")


def bert(arguments: argparse.Namespace) -> dict[str, Any]:
    """What scripts/bench/export/bert_cost.py measures, in processes of its own."""
    command = [sys.executable, str(HERE / "export" / "bert_cost.py"), "--json"]
    command += ["--optimum-venv", str(arguments.optimum_venv), "--sizes", arguments.bert]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def bert_table(found: dict[str, Any]) -> str:
    lines = ["| seconds, whole command | attn-export to-onnx | optimum-cli export onnx | |", "|---|---|---|---|"]
    for name, seconds in found.items():
        ours, peer = seconds["attn-export"], seconds["optimum-cli"]
        lines.append(f"| BERT, {name} | {ours:.1f} | {peer:.1f} | {ours / peer:.1f} times |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small sizes, three rounds, no Optimum")
    parser.add_argument("--size", default=",".join(SIZES), help="which, separated by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bert", default="tiny,base", help="which sizes of BERT")
    parser.add_argument("--no-optimum", action="store_true")
    parser.add_argument("--optimum-venv", type=Path, default=BENCH / ".venv-optimum", help="made where it is missing")
    parser.add_argument("--fresh", action="store_true", help="export the bundles again")
    parser.add_argument("--docs", action="store_true", help=f"also write {DOCS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.rounds, arguments.no_optimum = "lm,translator", 3, True
    chosen = arguments.size.split(",")
    for name in chosen:
        if name not in (*SIZES, *FOLDERS, BERT):
            parser.error(f'--size: unknown size "{name}"; available: {", ".join((*SIZES, *FOLDERS, BERT))}')
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before torch is imported
    import torch

    torch.set_num_threads(arguments.threads)
    from attn_export.torchvision_import import ready_torchvision

    ready_torchvision()  # transformers imports it with its classes, whatever torch it was built for
    BENCH.mkdir(parents=True, exist_ok=True)
    before = os.getloadavg()[0]
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "versions": {p: version(p) for p in ("torch", "onnxruntime", "transformers")},
        "sizes": {},
    }
    if not arguments.no_optimum and arguments.size != "lm":
        result["versions"]["optimum-onnx"] = "0.1.0"
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    for name in chosen:
        if name == BERT:
            result[BERT] = bert(arguments)
        else:
            result["sizes"][name] = measure(name, arguments, say)
        result["load"] = [before, os.getloadavg()[0]]
        RESULT.write_text(json.dumps(result, indent=1) + "\n")  # after each size: a killed run keeps what it has
    print(table(result["sizes"]))
    if BERT in result:
        print(bert_table(result[BERT]))
    if arguments.docs:
        for marker, names in (("measured", SIZES), ("folders", FOLDERS), (BERT, (BERT,))):
            if set(names) & set(chosen):
                document(result, names, marker)


if __name__ == "__main__":
    main()
