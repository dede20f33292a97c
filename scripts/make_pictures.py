"""Draw the pictures of the task pages anew, by the commands that those pages tell of.

    make demo && python scripts/make_pictures.py

Takes the bundles of `make demo`, works on copies, and writes under docs/. Figures in the pictures are this machine's. Those
of diff, bisect, report and the ViT come from bundles that the demo does not make, and stay.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "runs/demo"
#: Where a picture belongs -> the command that draws it, in a folder with the demo's bundles; its last word is the file.
PICTURES = {
    "docs/use/bench.png": "attn-run bench attentionnet.attn --seconds 1 --plot",
    "docs/use/front.png": "attn-export convert attentionnet.attn --precision int8 --plot",
    "docs/attention/translator.png": "attn-run attention fr.attn|The small cats are tired|--layer|cross_attention|--plot",
}
#: A page is read at this many pixels, and a clone carries every one of them.
WIDTH, MOST_BYTES = 1000, 60_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for bundle in ("attentionnet.attn", "fr.attn"):
            if not (DEMO / bundle).exists():
                sys.exit(f"{DEMO / bundle} is missing; run make demo first")
            shutil.copytree(DEMO / bundle, work / bundle)
        for target, command in PICTURES.items():
            first, *rest = command.split("|")
            drawn = work / Path(target).name
            print("$", first, *rest, drawn.name, flush=True)
            program, *arguments = first.split()
            subprocess.run(
                [Path(sys.executable).parent / program, *arguments, *rest, drawn.name],
                cwd=work,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            shrink(drawn, ROOT / target)


def shrink(drawn: Path, target: Path) -> None:
    """Fewer pixels and 64 colours: lines and letters stay as they are."""
    with Image.open(drawn) as picture:
        small = picture.convert("RGB")
    if small.width > WIDTH:
        small = small.resize((WIDTH, round(small.height * WIDTH / small.width)), Image.Resampling.LANCZOS)
    small.quantize(64).save(target, optimize=True)
    if target.stat().st_size > MOST_BYTES:
        sys.exit(f"{target}: {target.stat().st_size} bytes, expected {MOST_BYTES} at most; draw less")


if __name__ == "__main__":
    main()
