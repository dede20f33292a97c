"""Minutes and megabytes from nothing to the first verified answer, beside Optimum: each way in an empty folder, in turn.

    python scripts/bench/export/first_answer.py [--ways wheel,clone,device,optimum] [--folder FOLDER] [--json FILE]

The model is IgLM-S, a trained GPT-2 kind of 13 million weights, as its package on PyPI has it; to fetch it is no part of any way.

    wheel     a venv, PyTorch for the CPU, the wheels of `make wheels`; to-onnx, verify
    clone     git clone, make install; to-onnx, verify
    device    a venv and the wheel of attn-runtime alone; verify of the bundle that `wheel` made
    optimum   a venv, PyTorch for the CPU, optimum-onnx; optimum-cli export, which checks an answer of each graph; a text of it

pip fetches everything anew (--no-cache-dir). Megabytes are what lies in the folder at the end, without the model.

Expected before measuring: minutes to install are torch's for all but `device`, so equal within a tenth; `clone` installs what
tests need too and takes 1.5 times as long; the export with its proofs takes 2 times Optimum's; `device` is a tenth of all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE, INSIDE = "iglm==0.1.0", "iglm/trained_models/IgLM-S/"
TORCH = "torch==2.13.0"
OPTIMUM = ("optimum-onnx==0.1.0", "transformers<4.58", "onnxruntime==1.31.1")
WRITE = """
import sys, torch
from optimum.onnxruntime import ORTModelForCausalLM
model = ORTModelForCausalLM.from_pretrained(sys.argv[1])
print(model.generate(input_ids=torch.tensor([[31, 26, 8, 18]]), max_new_tokens=8, do_sample=False).tolist())
"""
#: What a way does: (what, command).
Steps = Iterator[tuple[str, list[str]]]


def pip(venv: Path, *packages: str) -> list[str]:
    return [str(venv / "bin" / "pip"), "install", "-q", "--no-cache-dir", "--disable-pip-version-check", *packages]


def made(folder: Path) -> list[str]:
    return [sys.executable, "-m", "venv", str(folder / "venv")]


def proven(programs: Path, model: Path, bundle: Path) -> Steps:
    yield "export", [str(programs / "attn-export"), "to-onnx", str(model), "-o", str(bundle)]
    yield "verify", [str(programs / "attn-run"), "verify", str(bundle)]


def wheels(*names: str) -> list[Path]:
    found = [path for name in names for path in sorted((ROOT / "dist").glob(f"{name}-*.whl"))]
    native = [path for path in found if "x86_64" in path.name or not path.name.startswith("attn_runtime")]
    if len(native) != len(names):
        sys.exit(
            f"error: dist/ holds {[path.name for path in found]}, expected a wheel of each of {names}; run make wheels"
        )
    return native


def wheel(folder: Path, model: Path) -> Steps:
    runtime, exporter = wheels("attn_runtime", "attn_export")
    yield "install", made(folder)
    yield "install", pip(folder / "venv", TORCH)
    yield "install", pip(folder / "venv", TORCH, f"{runtime}[cpu,text]", f"{exporter}[huggingface]")
    yield from proven(folder / "venv" / "bin", model, folder / "iglm.attn")


def clone(folder: Path, model: Path) -> Steps:
    yield "install", ["git", "clone", "-q", str(ROOT), str(folder / "attn-export")]
    yield "install", ["make", "-s", "-C", str(folder / "attn-export"), "install", f"PYTHON={sys.executable}"]
    yield from proven(folder / "attn-export" / ".venv" / "bin", model, folder / "iglm.attn")


def device(folder: Path, model: Path) -> Steps:
    (runtime,) = wheels("attn_runtime")
    yield "install", made(folder)
    yield "install", pip(folder / "venv", f"{runtime}[cpu]")
    bundle = folder.parent / "wheel" / "iglm.attn"
    shutil.copytree(bundle, folder / bundle.name)
    yield "verify", [str(folder / "venv" / "bin" / "attn-run"), "verify", str(folder / bundle.name)]


def optimum(folder: Path, model: Path) -> Steps:
    programs = folder / "venv" / "bin"
    yield "install", made(folder)
    yield "install", pip(folder / "venv", TORCH)
    yield "install", pip(folder / "venv", TORCH, *OPTIMUM)
    export = ["export", "onnx", "--model", str(model), "--task", "text-generation-with-past", str(folder / "onnx")]
    yield "export", [str(programs / "optimum-cli"), *export]
    yield "verify", [str(programs / "python"), "-c", WRITE, str(folder / "onnx")]


WAYS: dict[str, Callable[[Path, Path], Steps]] = {
    "wheel": wheel,
    "clone": clone,
    "device": device,
    "optimum": optimum,
}


def fetched(folder: Path) -> Path:
    """The folder of the saved model."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", PACKAGE]
    subprocess.run([*command, "-d", str(folder)], check=True)
    (package,) = folder.glob("iglm-*.whl")
    model = folder / "IgLM-S"
    model.mkdir()
    with zipfile.ZipFile(package) as archive:
        for name in ("config.json", "pytorch_model.bin"):
            (model / name).write_bytes(archive.read(INSIDE + name))
    return model


def megabytes(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_blocks * 512 for path in files) / 1e6


def measured(way: str, folder: Path, model: Path) -> dict[str, float]:
    """Seconds of each step, and the megabytes that lie there then."""
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    took: dict[str, float] = {}
    for what, command in WAYS[way](folder, model):
        begun = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
        took[what] = took.get(what, 0.0) + time.perf_counter() - begun
        if done.returncode:
            sys.exit(f"error: {way}: {' '.join(command[:4])} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return took | {"MB": megabytes(folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--folder", type=Path, help="where the ways run, empty; else a folder that is removed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        model = fetched(folder)
        found = {way: measured(way, folder / way, model) for way in arguments.ways.split(",")}
    print("| way | install | export | verify | minutes in all | MB |\n|---|---|---|---|---|---|")
    for way, took in found.items():
        seconds = [took.get(what, 0.0) for what in ("install", "export", "verify")]
        told = " | ".join(f"{each:.0f} s" if each else "" for each in seconds)
        print(f"| {way} | {told} | {sum(seconds) / 60:.1f} | {took['MB']:,.0f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
