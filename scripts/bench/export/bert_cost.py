"""What a BERT folder to a proven bundle costs beside `optimum-cli export onnx`: seconds of the whole commands.

Both get the same folder of a BertForSequenceClassification with drawn weights, as fresh processes in turns, best of --repeat
for the tiny one; the base one runs once. What they make differs: optimum-cli traces with TorchScript and compares one answer of
ONNX Runtime with PyTorch's; attn-export captures by torch.export, and holds the graph against PyTorch at the corners of its
ranges (up to 32 rows of 512 tokens) and at sizes between, before and after it is simplified (cases that take PyTorch over a
second: after it alone). What was expected is in the head of ../generate_bench.py.

usage: bert_cost.py [--sizes tiny,base] [--repeat 2] [--optimum-venv FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 1000,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    },
    "base": {},
}


def saved(python: Path, folder: Path, config: dict[str, Any]) -> Path:
    """A folder that Optimum's older transformers wrote, which a newer one reads."""
    code = "import sys, json; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
    code += "from peers.optimum_peer import save_drawn; "
    code += "save_drawn(Path(sys.argv[2]), 'BertForSequenceClassification', json.loads(sys.argv[3]))"
    arguments = [str(HERE.parent), str(folder), json.dumps(config)]
    subprocess.run([str(python), "-c", code, *arguments], check=True, capture_output=True)
    return folder / "torch"


def seconds_of(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])}...: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - start


def measure(python: Path, name: str, repeat: int) -> dict[str, float]:
    """Seconds by who it was."""
    with tempfile.TemporaryDirectory() as folder:
        model = saved(python, Path(folder), SIZES[name])
        ours = [sys.executable, "-m", "attn_export", "to-onnx", str(model), "-o", f"{folder}/x.attn", "--quiet"]
        peer = [str(python.parent / "optimum-cli"), "export", "onnx", "--model", str(model)]
        commands = {
            "attn-export": ours,
            "optimum-cli": [*peer, "--task", "text-classification", f"{folder}/onnx"],
        }
        best: dict[str, float] = {}
        for _ in range(repeat):
            for who, command in commands.items():
                best[who] = min(seconds_of(command), best.get(who, float("inf")))
        return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="tiny,base")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--optimum-venv", type=Path, default=ROOT / "runs" / "bench" / ".venv-optimum")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    python = arguments.optimum_venv / "bin" / "python"
    found = {n: measure(python, n, arguments.repeat if n == "tiny" else 1) for n in arguments.sizes.split(",")}
    if arguments.json:
        print(json.dumps(found))
        return
    for name, seconds in found.items():
        told = ", ".join(f"{who} {took:.1f} s" for who, took in seconds.items())
        print(f"{name}: {told}; {seconds['attn-export'] / seconds['optimum-cli']:.1f} times")


if __name__ == "__main__":
    main()
