"""`attn-run compile`, and what it shares with `attn-export to-trt`: options, progress, and what is said at the end."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from ..escape import printable
from .options import json_option, print_json, quiet_option, say, say_over

if TYPE_CHECKING:
    from ..tasks import CompileReport, GraphBuild
    from ..trt.builder import BuildProgress, Compiled

# Imports of our own are inside the functions: --help must not wait for numpy.

#: Seconds between two lines of progress where they can't be written over.
_LINE_EVERY = 10.0
_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def size_in_bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]iB)?", text.strip(), re.IGNORECASE)
    size = int(Fraction(found[1]) * _UNITS[(found[2] or "").upper()]) if found else 0
    if not 1 <= size < 2**63:
        raise click.BadParameter(f"got {text!r}, expected bytes or a size as in 512MiB or 2GiB")
    return size


def build_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that both commands have; all but `quiet` and `as_json` are arguments of `compile_engines`."""
    for option in reversed(
        [
            click.option("--graph", help="This graph alone, of a bundle that has several.  [default: all]"),
            click.option("--backend", "flavour", default="auto", show_default=True, metavar="auto|tensorrt|rtx",
                         help="Which library builds. auto: tensorrt on a GPU, else rtx."),
            click.option("--minShapes", "min_shapes", multiple=True, metavar="SHAPES",
                         help="Least shapes, as in x:1x3x32x32,y:2x3. Repeat the three options for a second profile."),
            click.option("--optShapes", "opt_shapes", multiple=True, metavar="SHAPES",
                         help="Shapes to be fastest at. Alone: the only shapes.  [default: the bundle's ranges]"),
            click.option("--maxShapes", "max_shapes", multiple=True, metavar="SHAPES", help="Greatest shapes."),
            click.option("--workspace", callback=size_in_bytes, metavar="SIZE",
                         help="Most scratch memory, as in 512MiB, 2GiB or bytes.  [default: no limit of ours]"),
            click.option("--builder-level", "level", type=click.IntRange(0, 5),
                         help="How hard the builder looks, 0..5.  [default: the library's]"),
            click.option("--timing-cache", type=click.Path(readable=False),
                         help="File of kernel timings, read and written (tensorrt)."),
            click.option("--compute-capability", "capabilities", multiple=True, metavar="X.Y",
                         help="Build for this GPU, as in 8.9; repeatable (rtx).  [default: 8.0 and later]"),
            click.option("--tf32", is_flag=True, help="Let float32 products round their operands to TF32."),
            click.option("--weakly-typed", "weak", is_flag=True,
                         help="Let TensorRT 8.6 or 10 choose between float16 and float32 for every layer of an fp16 graph."),
            click.option("--keep", is_flag=True, help="Leave an engine that fits as it is."),
            click.option("--require-fused", is_flag=True, help="Exit code 6 unless every attention block is one kernel."),
            click.option("--saveEngine", "save_engine", type=click.Path(readable=False),
                         help="NAME.engine.  [default: in BUNDLE/engines, or beside the ONNX file]"),
            quiet_option,
            json_option,
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("compile")
@click.argument("path", metavar="BUNDLE|MODEL.onnx", type=click.Path(readable=False))
@click.option("--precision", help="Which of the bundle's precisions; fp32 where there is one.")
@build_options
def compile_command(path: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Build a TensorRT engine on this machine, and hold it against what was asked for.

    Writes NAME.engine and its key, NAME.engine.json. Exit code 5: it computes in another precision; 6: attention is not
    fused (--require-fused); 10: no TensorRT here; 14: the build failed.
    """
    from .. import compile_engines

    with BuildPrinter(quiet, as_json) as printer:
        report = compile_engines(path, on_progress=printer.progress, on_build=printer.built, **options)
    printer.end(report)


class BuildPrinter:
    """Progress on stderr while engines are built: one line written over and over on a terminal, a line now and then in a pipe.
    What came out goes to stdout."""

    def __init__(self, quiet: bool, as_json: bool) -> None:
        self._quiet, self._as_json = quiet, as_json
        self._width, self._last, self._failed = 0, time.monotonic(), False
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> BuildPrinter:
        return self

    def __exit__(self, *error: object) -> None:
        self._clear()

    def progress(self, progress: BuildProgress) -> None:
        if self._quiet or self._as_json:
            return
        text = printable(str(progress), 100)
        if self._terminal:
            self._width = say_over(text, self._width)
        elif time.monotonic() - self._last >= _LINE_EVERY:
            self._last = time.monotonic()
            say(text, err=True)

    def built(self, build: GraphBuild) -> None:
        """What became of one graph. The first error is what the command ends with, and is left to that."""
        self._clear()
        self._last = time.monotonic()
        if build.done is None:
            if self._failed:
                say(f"error: {build.error}", err=True)
            self._failed = True
        elif not self._quiet and not self._as_json:
            if build.graph is not None:
                say(f"graph      {build.graph}")
            say(*_lines(build.done))

    def end(self, report: CompileReport) -> None:
        """The JSON, where that is printed. Raises what CompileReport.require raises."""
        if self._as_json:
            print_json(report.to_json())
        report.require()

    def _clear(self) -> None:
        """Clear the line, for what is said next."""
        if self._width:
            self._width = say_over("", self._width)


def _lines(done: Compiled) -> Iterator[str]:
    from ..text_format import bytes_text
    from ..trt import profile_text
    from ..trt.builder import seconds_text

    key = done.key
    scratch = "not told" if done.scratch is None else bytes_text(done.scratch)
    yield f"engine     {done.path}: {bytes_text(key.engine_size)}, scratch {scratch}, {seconds_text(done.seconds)}"
    yield (
        f"for        {key.flavour} {key.version}, {key.os}, compute capability {', '.join(key.compute_capabilities)}, "
        f"{printable(key.precision)}{', WEAKLY TYPED: TensorRT chose the types' if key.weak else ''}"
    )
    for profile in key.profiles:
        yield f"shapes     {printable(profile_text(profile)) or 'fixed'}"
    yield f"audit      {done.audit}"
    if done.attention:
        fused = sum(block.fused for block in done.attention)
        yield f"attention  {fused} of {len(done.attention)} blocks fused"
        for block in done.attention:
            if not block.fused:
                yield f"           {printable(block.block.label)}: {block.why_not}; to fuse it: {block.cure}"
    for note in done.notes:
        yield f"note       {note}"
