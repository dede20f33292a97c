"""`attn-export inspect`: a table of the attention in a model, and of what its engines made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attn_runtime.cli.options import json_option, print_json, quiet_already_option
from attn_runtime.escape import printable

if TYPE_CHECKING:
    from attn_runtime.bundle import AttentionBlock
    from rich.table import Table

    from ..attention import InspectedEngine, InspectedFile

#: A pipe has no width: every row stays one line.
_UNBOUNDED = 10_000


@click.command("inspect")
@click.argument("path", metavar="BUNDLE|MODEL.onnx", type=click.Path(readable=False, path_type=Path))
@click.option("--graph", help="Which graph of a bundle that has several.  [default: all]")
@click.option("--precision", help="Which of the bundle's precisions.  [default: all]")
@click.option("--engine", is_flag=True, help="Exit code 10 when no engine has been built.")
@click.option("--require-fused", is_flag=True, help="Exit code 6 unless every block is fused in every engine.")
@quiet_already_option
@json_option
def inspect_command(
    path: Path, graph: str | None, precision: str | None, engine: bool, require_fused: bool, as_json: bool
) -> None:
    """Tell of every attention block: its shape, and for each engine whether it is one fused kernel, and why not.

    Fused or not is told from the list of layers that the build printed, which lies in each engine's key.
    """
    from .. import inspect

    files = inspect(path, graph, precision)
    if engine or require_fused:
        _require("engines", path, files)
    if as_json:
        print_json({"path": str(path), "files": [file.to_json() for file in files]})
    else:
        _print(files)
    if require_fused:
        _require("fused", path, files)


def _require(what: str, path: Path, files: tuple[InspectedFile, ...]) -> None:
    """End with the exit code of what is missing."""
    from ..attention import require_engines, require_fused

    (require_engines if what == "engines" else require_fused)(path, files)


def _print(files: tuple[InspectedFile, ...]) -> None:
    from rich.console import Console

    # A name may look like markup ("[bold]") or like the code of an emoji (":key:").
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=_UNBOUNDED)
    for number, file in enumerate(files):
        if number:
            console.print()
        for part in _parts(file):
            console.print(printable(part, None) if isinstance(part, str) else part)


def _parts(file: InspectedFile) -> Iterator[str | Table]:
    names = [printable(n) for n in (file.graph, file.precision) if n]
    count = len(file.blocks)
    told = f"{count} attention block{'s' if count != 1 else ''}" if count else "no attention"
    place = f" ({', '.join(names)})" if names else ""
    yield f"{printable(file.name)}{place}: {told}"
    if count:
        yield _table(file)
    for engine in file.engines:
        yield from _engine(file, engine)
    if not file.engines:
        yield (
            f"no engine; one is built from {file.instead} instead"
            if file.instead
            else f"no engine; {file.command} builds one"
        )


def _table(file: InspectedFile) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    # A narrow terminal folds the block's path and leaves the rest whole.
    table.add_column("block", overflow="fold", min_width=min(12, max(len(b.label) for b in file.blocks)))
    for head in ("heads", "size", "queries x keys", "mask", "type"):
        table.add_column(head, no_wrap=True)
    for engine in file.sound:
        table.add_column(printable(_short(engine.name, file)), no_wrap=True)
    for block in file.blocks:
        fused = [_fused(engine, block) for engine in file.sound]
        table.add_row(*(printable(cell) for cell in (*_row(block), *fused)))
    return table


def _short(engine: str, file: InspectedFile) -> str:
    """ "rtx" or "rtx-sm89": what an engine's name says beyond its file's."""
    return engine.removeprefix(f"{file.graph}.{file.precision}.").removesuffix(".engine")


def _row(block: AttentionBlock) -> list[str]:
    heads = _two(block.heads, block.kv_heads)
    lengths = f"{block.query_length} x {block.key_length}"
    return [block.label, heads, _two(block.head_size, block.value_size), lengths, block.mask, block.dtype]


def _two(first: int | None, second: int | None) -> str:
    """ "64", or "8/2" where queries and keys (or keys and values) differ; "?" for what the graph does not tell."""
    texts = ["?" if n is None else str(n) for n in (first, second)]
    return texts[0] if texts[0] == texts[1] else "/".join(texts)


def _fused(engine: InspectedEngine, block: AttentionBlock) -> str:
    found = engine.fusion_of(block)
    return "not told" if found is None else "fused" if found.fused else "no"


def _engine(file: InspectedFile, engine: InspectedEngine) -> Iterator[str]:
    from attn_runtime.text_format import bytes_text

    name, key = printable(engine.name), engine.key
    if key is None or engine.problem:
        yield f"{name} {printable(engine.problem)}; {file.command} builds it again"
        return
    scratch = "not told" if key.scratch is None else bytes_text(key.scratch)
    fused = len(file.blocks) - len(engine.unfused(file.blocks))
    kernels = {found.kernel.partition("_0x")[0] for found in key.attention if found.fused}
    by = f" by {', '.join(map(printable, sorted(kernels)))}" if kernels else ""
    yield f"{name}: {key.flavour} {key.version}, scratch {scratch}, {fused} of {len(file.blocks)} blocks fused{by}"
    for block in file.blocks:
        found = engine.fusion_of(block)
        if found is None:
            yield f"  {printable(block.label)}: the engine's key does not tell of it; attn-export to-trt looks"
        elif not found.fused:
            yield f"  {printable(block.label)}: {printable(found.why_not)}. To fuse it: {printable(found.cure)}"
