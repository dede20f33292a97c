"""The main job on two trained models, command by command, as a user would type it; everything lands in runs/demo/.

An image classifier, in fp32 and in fp16 as a TensorRT-RTX engine, which builds without a GPU: its precision audited, its
attention fused. Then a translator: three graphs with a KV cache, held against what PyTorch generates without one; and a
language model that others trained and saved, from PyPI, whose tokens are those of transformers' generate. Ends with a
table of what was measured, also written to runs/demo/table.md, and a translated sentence. Any command that fails ends the
demo with its exit code; so does a model that is not accurate enough or a wrong answer.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from attn_models.data.digits import save_test_images
from demo_saved_model import PACKAGE, export_saved_model

DEMO = Path("runs/demo")
TRAINED = DEMO / "train"
BUNDLE = DEMO / "attentionnet.attn"
TRANSLATOR = DEMO / "translator"
FRENCH = DEMO / "fr.attn"
#: Least accuracy of the trained models on what training never saw: images, and sentences translated without a mistake.
LEAST_ACCURACY = {"attentionnet": 0.97, "translator": 0.98}
IMAGES = 5
SENTENCE, EXPECTED = "I am a student", "je suis étudiant"


def run(*command: str | Path) -> str:
    """Print and run a command; its stdout is printed too, as it comes, and returned."""
    words = [str(w) for w in command]
    print(f"\n$ {shlex.join(words)}", flush=True)
    said = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as ran:
        assert ran.stdout
        for line in ran.stdout:
            print(line, end="", flush=True)
            said.append(line)
    if ran.returncode:
        sys.exit(ran.returncode)
    return "".join(said)


def quiet_json(*command: str | Path) -> dict[str, object]:
    """The result in the JSON that a command prints, without showing it."""
    ran = subprocess.run([str(w) for w in command], stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        sys.exit(ran.returncode)
    return dict(json.loads(ran.stdout)["result"])


def classify() -> None:
    """Images of the test split, which training never saw, through the bundle; the name of each says what it shows."""
    images = save_test_images(DEMO / "images", IMAGES)
    run("attn-run", "run", BUNDLE, images[0], "--top", "3")
    right = 0
    for image in images:
        told = quiet_json("attn-run", "run", BUNDLE, image, "--json")
        top = told["top"][0][0]  # type: ignore[index]
        shown = image.stem.rpartition("-")[2]
        right += top["label"] == shown
        print(f"{image.name}: {top['label']} ({top['probability']:.1%})")
    if right < IMAGES - 1:  # one in five may be among the few percent that the model gets wrong
        sys.exit(f"error: {IMAGES - right} of {IMAGES} unseen images were classified wrongly")


def train(name: str, folder: Path) -> None:
    run(sys.executable, "-m", "attn_models.train", name, "--out", folder)
    accuracy = json.loads((folder / "metrics.json").read_text())["accuracy"]
    if accuracy < LEAST_ACCURACY[name]:
        sys.exit(f"error: {name}: test accuracy {accuracy:.2%}, expected at least {LEAST_ACCURACY[name]:.0%}")


def translate() -> None:
    """The sentence, with its attention drawn; the last line of the demo is its translation."""
    said = run("attn-run", "translate", FRENCH, SENTENCE).strip()
    if said != EXPECTED:
        sys.exit(f"error: {SENTENCE!r} was translated as {said!r}, expected {EXPECTED!r}")


def table(seconds: float, saved: str) -> str:
    """What was measured, in Markdown."""
    metrics = json.loads((TRAINED / "metrics.json").read_text())
    manifest = json.loads((BUNDLE / "manifest.json").read_text())
    graph = manifest["graphs"]["model"]
    bench = json.loads((DEMO / "bench.json").read_text())
    rows = [("test accuracy (360 images not trained on)", f"{metrics['accuracy']:.2%}")]
    for stage in graph["stages"]:
        allowed = graph["precisions"][stage["precision"]]["tolerance"]["rtol"]
        errors = [c["max_error"] / c["max_reference"] for c in stage["checks"]]
        if not errors:
            continue  # held against PyTorch as what a later pass made of it
        rows.append(
            (
                f"{stage['name']}{for_what(stage)}: worst error of max\\|PyTorch\\|, {len(errors)} shapes",
                f"{max(errors):.1e} (allowed {allowed:.0e}), {stage['nodes_after']} nodes",
            )
        )
    total = sum(f["size"] for f in manifest["files"].values())
    sizes = [manifest["files"][name]["size"] / 1e6 for name in ("model.onnx", "model.int8.onnx")]
    rows.append(("model.onnx, model.int8.onnx", f"{sizes[0]:.2f} MB, {sizes[1]:.2f} MB"))
    rows.append(("whole bundle, golden cases included", f"{total / 1e6:.2f} MB"))
    for size in bench["results"]:
        rows.append(
            (
                f"latency at batch {size['batch']}, {bench['backend']} on {bench['device']}",
                f"p50 {size['p50_ms']:.2f} ms, p99 {size['p99_ms']:.2f} ms, {size['throughput']:.0f} images/s",
            )
        )
    rows += engine_rows()
    rows.append(("training", f"{metrics['seconds']:.0f} s"))
    rows += translator_rows()
    rows.append((f"a saved model of Hugging Face ({PACKAGE})", saved))
    rows.append(("demo, training included, installation not", f"{seconds:.0f} s"))
    return "\n".join(["| measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def for_what(stage: dict[str, str]) -> str:
    """What a stage of the same name may differ in."""
    return "" if stage["precision"] in ("fp32", stage["name"]) else f" ({stage['precision']})"


def engine_rows() -> list[tuple[str, str]]:
    """What the key beside the engine tells of it."""
    (path,) = (BUNDLE / "engines").glob("*.engine.json")
    key = json.loads(path.read_text())
    audit = ", ".join(f"{count} in {dtype}" for dtype, count in key["audit"]["counts"].items())
    fused = sum(block["fused"] for block in key["attention"])
    return [
        (
            f"engine, {key['flavour']} {key['version']}",
            f"{key['engine_size'] / 1e6:.2f} MB, not executed without a GPU",
        ),
        ("its layers that multiply or convolve", audit),
        ("its attention blocks", f"{fused} of {len(key['attention'])} fused ({key['attention'][0]['kernel'][:16]}...)"),
    ]


def translator_rows() -> list[tuple[str, str]]:
    """What the translator's training and its bundle's manifest tell of it."""
    metrics = json.loads((TRANSLATOR / "metrics.json").read_text())
    manifest = json.loads((FRENCH / "manifest.json").read_text())
    graphs = manifest["graphs"].values()
    worst = max(
        c["max_error"] / c["max_reference"]
        for g in graphs
        for s in g["stages"]
        for c in s["checks"]
        if c["max_reference"]
    )
    return [
        (
            "translator: sentences not trained on, without a mistake",
            f"{metrics['accuracy']:.1%} of {metrics['test_samples']}",
        ),
        ("its three graphs: worst error of max\\|PyTorch\\|", f"{worst:.1e} (allowed 2e-05)"),
        ("its training", f"{metrics['seconds']:.0f} s"),
    ]


def main() -> None:
    start = time.perf_counter()
    DEMO.mkdir(parents=True, exist_ok=True)
    train("attentionnet", TRAINED)
    weights = TRAINED / "model.safetensors"
    run("attn-export", "to-onnx", "attentionnet", "--checkpoint", weights, "-o", BUNDLE)
    run("attn-export", "verify", BUNDLE, "attentionnet", "--checkpoint", weights)
    run("attn-run", "verify", BUNDLE)
    run("attn-run", "bench", BUNDLE, "--plot", DEMO / "bench.png", "--seconds", "1")
    (DEMO / "bench.json").write_text(json.dumps(quiet_json("attn-run", "bench", BUNDLE, "--seconds", "1", "--json")))
    classify()
    # The engine is compiled for RTX cards, on this CPU; --require-fused would end the demo with 6, a silent fp32 with 5.
    run("attn-export", "to-trt", BUNDLE, "--fp16", "--backend", "rtx", "--require-fused")
    run("attn-export", "inspect", BUNDLE, "--engine")
    run("attn-export", "convert", BUNDLE, "--precision", "int8", "--skip-pass", "attention")
    run("attn-run", "verify", BUNDLE, "--precision", "int8")
    train("translator", TRANSLATOR)
    run(
        "attn-export",
        "to-onnx",
        "translator",
        "--checkpoint",
        TRANSLATOR / "model.safetensors",
        "-o",
        FRENCH,
        "--with-attention",
    )
    run("attn-run", "verify", FRENCH)
    run("attn-run", "attention", FRENCH, SENTENCE, "--plot", DEMO / "attention.png")
    run("attn-export", "report", BUNDLE, "-o", DEMO / "report.html")
    run("attn-export", "report", FRENCH, "-o", DEMO / "translator.html", "--input", SENTENCE)
    saved = export_saved_model(DEMO, run)
    told = table(time.perf_counter() - start, saved)
    (DEMO / "table.md").write_text(told + "\n")
    print(
        f"\n{told}\n\nThe bundles are {BUNDLE} and {FRENCH}, the pictures {DEMO / 'bench.png'} and {DEMO / 'attention.png'}, "
        f"the pages {DEMO / 'report.html'} and {DEMO / 'translator.html'}."
    )
    translate()


if __name__ == "__main__":
    main()
