"""Mutation scores of the built-in models: of graphs that are changed on purpose, how many do the golden cases notice?

    python scripts/bench/export/proof_power.py [NAME...] [--count 60] [--precision fp32 --precision fp16] [--checkpoints runs]
                                        [--bundles FOLDER] [--json FILE]

Each model is exported as `attn-export to-onnx NAME --fp16` does, with the weights in CHECKPOINTS/NAME where there are some,
else with those of a fresh start, and measured as `attn-export verify BUNDLE --mutate COUNT` measures: equivalent mutants are
left aside. With --bundles, bundles that lie there are taken as they are, and made there where they are missing. The table is
printed, and everything, each mutant with what came of it, goes to runs/bench/proof_power.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from attn_export import Console, export
from attn_export.mutation import MutationReport, measure_power
from attn_models import registry

PRECISIONS = ("fp32", "fp16")


def weights(name: str, checkpoints: Path) -> Path | None:
    """The trained weights of a model, None where there are none."""
    file = checkpoints / name / "model.safetensors"
    return file if file.is_file() else None


def bundle_of(name: str, folder: Path, checkpoints: Path, console: Console) -> Path:
    target = folder / f"{name}.attn"
    if not target.exists():
        export(name, target, checkpoint=weights(name, checkpoints), precision="fp16", console=console)
    return target


def row(name: str, report: MutationReport, trained: bool) -> str:
    total = report.total
    score = "" if total.score is None else f"{total.score:.0%}"
    origin = "trained" if trained else "fresh"
    return (
        f"| {name} | {origin} | {report.precision} | {total.made} | {total.caught} | {total.equivalent} | {total.blind} | "
        f"{score} | {report.seconds:.0f} |"
    )


def summary(reports: list[MutationReport], precision: str) -> str:
    chosen = [r.total for r in reports if r.precision == precision]
    made, caught = sum(t.made for t in chosen), sum(t.caught for t in chosen)
    equivalent, blind = sum(t.equivalent for t in chosen), sum(t.blind for t in chosen)
    score = caught / max(1, made - equivalent)
    return f"| **all** | | {precision} | {made} | {caught} | {equivalent} | {blind} | **{score:.1%}** | |"


HEAD = (
    "| model | weights | precision | mutants | caught | equivalent | blind | score | seconds |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models  [default: all]")
    parser.add_argument("--count", type=int, default=60, help="mutants of each model and precision  [default: 60]")
    parser.add_argument("--precision", action="append", help="fp32, fp16; repeatable  [default: both]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoints", type=Path, default=Path("runs"), help="folders of trained weights, by model")
    parser.add_argument("--bundles", type=Path, help="where bundles are kept  [default: nowhere]")
    parser.add_argument("--json", type=Path, default=Path("runs/bench/proof_power.json"))
    arguments = parser.parse_args()
    names = arguments.names or registry.names()
    lines, reports = [HEAD], []
    entries: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.bundles or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            bundle = bundle_of(name, folder, arguments.checkpoints, Console())
            trained = weights(name, arguments.checkpoints) is not None
            for precision in arguments.precision or PRECISIONS:
                console = Console().about(f"{name} {precision}: ")
                report = measure_power(
                    bundle, arguments.count, precision=precision, seed=arguments.seed, console=console
                )
                reports.append(report)
                entries.append({"model": name, "trained": trained, **report.to_json()})
                lines.append(row(name, report, trained))
                print(lines[-1], flush=True)
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(json.dumps(entries, indent=1))
    lines.extend(summary(reports, p) for p in dict.fromkeys(r.precision for r in reports))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
