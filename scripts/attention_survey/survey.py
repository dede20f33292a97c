"""Which attention does this TensorRT fuse? Builds a grid of single blocks and writes docs/attention/survey.md.

    python scripts/attention_survey/survey.py                    # with the flavour that is installed
    python scripts/attention_survey/survey.py --flavour rtx --quick -o survey.md

Each cell (scripts/attention_survey/grid.py) is one ONNX graph (tests/support/graphs/attention_cells.py). Whether it is fused
tells attn_runtime.trt.fused_attention from the build's own list of layers, its scratch memory the build's log.
TensorRT-RTX needs no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from attn_export.attention.blocks import find_blocks
from attn_runtime.errors import AttnError, BackendError
from attn_runtime.escape import markdown_code, markdown_text
from attn_runtime.files.atomic_write import write_file
from attn_runtime.text_format import bytes_text
from attn_runtime.trt import library
from attn_runtime.trt.builder.network import BuildOptions, Built, build
from attn_runtime.trt.fused_attention import fusion

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from grid import sections
from support.graphs.attention_cells import BATCH, LENGTH, Cell, graph, profile

DOCUMENT = Path(__file__).parents[2] / "docs" / "attention" / "survey.md"


@dataclass(frozen=True)
class Answer:
    """`outcome` is "fused", "unfused" or "refused" (the build failed); `scratch` in bytes."""

    cell: Cell
    outcome: str
    kernel: str
    note: str
    scratch: int | None

    @property
    def surprise(self) -> bool:
        return bool(self.cell.expected) and self.cell.expected != self.outcome


def survey(cell: Cell, flavour: library.Library, folder: Path) -> Answer:
    """Build one cell."""
    model = graph(cell)
    path = folder / "cell.onnx"
    onnx.save(model, path)
    (block,) = find_blocks(ir.from_proto(model))
    profiles = [p for p in [profile(model)] if p]
    with _hushed():
        built = build(flavour, path, profiles)
        if built.plan is None:
            again = build(flavour, path, profiles, BuildOptions(decomposable=True))
            cure = "builds, unfused, when marked decomposable" if again.plan else "nor when marked decomposable"
            return Answer(cell, "refused", "", f"{_said(built)}; {cure}", None)
    found = fusion([block], built.layers)[0]
    kernel = found.kernel.partition("_0x")[0]
    return Answer(cell, "fused" if found.fused else "unfused", kernel, found.why_not, built.scratch)


def document(answers: Mapping[str, Sequence[Answer]], flavour: library.Library) -> str:
    """The whole page."""
    every = [a for several in answers.values() for a in several]
    surprises = [(section, a) for section, several in answers.items() for a in several if a.surprise]
    counts = ", ".join(f"{sum(a.outcome == o for a in every)} {o}" for o in ("fused", "unfused", "refused"))
    lines = [
        "# Which attention TensorRT fuses",
        "",
        f"**{flavour.api.__name__} {flavour.version}**: {len(every)} single blocks built, {counts}. Written by "
        "`python scripts/attention_survey/survey.py`; run it again with another version. Nothing was "
        "executed: this tells what the compiler makes of a block, not how fast it is. "
        "docs/attention/fusion.md says how that is known.",
        "",
        "Unless a row says otherwise: float16, batch 1, 8 heads of 64 elements, 1024 queries and keys, scale on the queries, "
        "no mask, written out in MatMul and Softmax (opset 18; 22 for bfloat16), queries, keys and values being inputs of "
        f"the graph. A dynamic batch is {_range(BATCH)}, a dynamic length {_range(LENGTH)} (min:opt:max); scratch memory "
        "is that of the whole engine, at the largest shapes.",
        "",
        '"Known before" is what builds by hand with TensorRT-RTX 1.7.1.116 had shown before this survey was first run.',
        "",
        "## Where it differs from what was known",
        "",
    ]
    lines += [
        f"- {section}: {markdown_text(a.cell.title)} was {a.cell.expected}, and is {a.outcome}"
        + (f" ({markdown_text(a.note, 1000)})" if a.note else "")
        for section, a in surprises
    ] or ["Nowhere."]
    for section, several in answers.items():
        rows = [["", "", "scratch", "known before", "kernel, or why not"]]
        rows += [
            [
                markdown_text(a.cell.title),
                f"**{a.outcome}**" if a.surprise else a.outcome,
                "" if a.scratch is None else bytes_text(a.scratch),
                a.cell.expected,
                markdown_code(a.kernel) if a.kernel else markdown_text(a.note, 1000),
            ]
            for a in several
        ]
        lines += ["", f"## {section}", "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(rows[0])} |"
    yield f"|{'---|' * len(rows[0])}"
    yield from (f"| {' | '.join(row)} |" for row in rows[1:])


def _range(sizes: tuple[int, int, int]) -> str:
    return ":".join(map(str, sizes))


def _said(built: Built) -> str:
    """The library's words, less its places in the source and its links."""
    if built.problems:
        return (
            built.problems[0].text.partition("API Usage Error ")[2].partition(" In ")[0].strip("( ") or "parser error"
        )
    known = "Attention operation was not supported by a dedicated kernel"
    text = " ".join(built.errors)
    return known if known in text else text[:160]


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """TensorRT-RTX prints internal errors to stderr past its logger; the answer has them."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def chosen_flavour(name: str | None) -> library.Library:
    """The one asked for, or the first that is here. Raises BackendError when it is not."""
    reasons = {n: library.why_unavailable(n) for n in ([name] if name else ("tensorrt", "rtx"))}
    for found, reason in reasons.items():
        if reason is None:
            return library.load(found)
    raise BackendError("no TensorRT to survey: " + "; ".join(f"{n}: {reason}" for n, reason in reasons.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flavour", metavar="rtx|tensorrt", help="[default: the one that is installed]")
    parser.add_argument("--quick", action="store_true", help="a few cells only; needs -o")
    parser.add_argument("-o", "--output", type=Path, help=f"[default: docs/{DOCUMENT.name}]")
    options = parser.parse_args()
    if options.quick and options.output is None:
        parser.error("--quick: name a file with -o, so that the whole survey is not replaced by a part of it")
    start = time.monotonic()
    try:
        flavour = chosen_flavour(options.flavour)
        answers: dict[str, list[Answer]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for section, cells in sections(options.quick).items():
                answers[section] = [survey(cell, flavour, Path(folder)) for cell in cells]
                fused = sum(a.outcome == "fused" for a in answers[section])
                print(f"{fused:3} of {len(cells):3} fused  {section}", flush=True)
        target = options.output or DOCUMENT
        write_file(target, document(answers, flavour).encode())
    except AttnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    surprises = sum(a.surprise for several in answers.values() for a in several)
    print(f"{target}: {surprises} differ from what was known before, {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
