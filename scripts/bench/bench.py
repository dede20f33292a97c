"""make bench: what the runtime costs over raw ONNX Runtime, and what an export costs over a bare torch.onnx.export.

Every number is a ratio against a named peer, measured side by side in one run. --quick leaves the 3 GB export out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUNDLE = Path("runs/bench/attentionnet.attn")


def run(title: str, *command: str | Path) -> None:
    print(f"\n== {title}", flush=True)
    code = subprocess.run([str(w) for w in command]).returncode
    if code:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    BUNDLE.parent.mkdir(parents=True, exist_ok=True)
    python = sys.executable
    run("a bundle to measure on (weights are random; latency does not depend on them)",
        python, "-m", "attn_export.cli.app", "to-onnx", "attentionnet", "-o", BUNDLE, "--quiet")  # fmt: skip
    run("calls: attn_runtime over raw ONNX Runtime", python, HERE / "overhead.py", BUNDLE)
    run("generation: attn_runtime beside PyTorch and transformers", python, HERE / "generate_bench.py", "--quick")
    run(
        "export of AttentionNet", python, HERE / "export" / "export_cost.py", "--model", "attentionnet", "--repeat", "5"
    )
    if not arguments.quick:
        run(
            "export of 3 GB of weights", python, HERE / "export" / "export_cost.py", "--model", "large", "--repeat", "2"
        )


if __name__ == "__main__":
    main()
