"""`attn-run embed`, `tag`, `fill` and `answer`: what a model of texts knows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..escape import printable
from .options import print_json, run_options, say
from .printers import print_notes, print_passed_over, run_line

if TYPE_CHECKING:
    from ..session import RunReport
    from ..tasks.text import Answers, Embeddings, Filling, Tagging

# Imports of our own are inside the functions: --help must not wait for numpy.

_bundle = click.argument("path", metavar="BUNDLE", type=click.Path(readable=False))
_texts = click.argument("texts", metavar="TEXT...", nargs=-1)
_file = click.option(
    "--file", type=click.Path(readable=False), help="A UTF-8 file of further texts, one a line; - is stdin."
)
_truncate = click.option("--truncate", is_flag=True, help="Cut a text that is too long; otherwise it is refused.")


@click.command("embed")
@_bundle
@_texts
@_file
@click.option("--of", metavar="OUTPUT", help="Which output is meant, where there are several.")
@click.option("--pooling", metavar="mean|first|last", help="For an output with a vector of each token.")
@click.option("--normalize", is_flag=True, help="Divide each vector by its length.")
@click.option("-o", "--output", type=click.Path(readable=False), help="Write them to this .npy, float32 [texts, size].")
@_truncate
@run_options
def embed_command(path: str, texts: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Print the embedding of each TEXT, a JSON list a line. TEXT - is stdin, a text a line.

    Exit code 7: a text is empty or too long.
    """
    from .. import embed

    done = embed(path, texts, stdin=True, **options)
    if as_json:
        print_json(done.to_json())
    else:
        _print_embeddings(done, quiet, options["output"])
        _print_end(done, quiet, verbose)


@click.command("tag")
@_bundle
@_texts
@_file
@_truncate
@run_options
def tag_command(path: str, texts: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Print what the model marks in each TEXT: names, places, whatever its labels are. TEXT - is stdin, a text a line.

    Exit code 7: a text is empty or too long.
    """
    from .. import tag

    done = tag(path, texts, stdin=True, **options)
    if as_json:
        print_json(done.to_json())
    else:
        _print_tagged(done, quiet)
        _print_end(done, quiet, verbose)


@click.command("fill")
@_bundle
@_texts
@_file
@click.option(
    "--top", type=click.IntRange(1), default=3, show_default=True, help="How many words to print for a place."
)
@run_options
def fill_command(path: str, texts: tuple[str, ...], quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Print the likeliest words for the open places of each TEXT, written as the model has it: [MASK] or <mask>.

    TEXT - is stdin, a text a line. Exit code 7: a text is empty, too long, or leaves nothing open.
    """
    from .. import fill

    done = fill(path, texts, stdin=True, **options)
    if as_json:
        print_json(done.to_json())
    else:
        _print_filled(done, quiet)
        _print_end(done, quiet, verbose)


@click.command("answer")
@_bundle
@click.argument("question")
@click.argument("context", required=False)
@click.option("--file", type=click.Path(readable=False), help="The text that is asked, from a UTF-8 file; - is stdin.")
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="How many answers to print.")
@click.option("--max-answer", type=click.IntRange(1), default=15, show_default=True, help="Most tokens of an answer.")
@run_options
def answer_command(path: str, quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Print where CONTEXT answers QUESTION. A context of any length is read in windows that overlap.

    Exit code 7: a text is empty, or the question leaves no room.
    """
    from .. import answer

    done = answer(path, context=_context(options.pop("context"), options.pop("file")), **options)
    if as_json:
        print_json(done.to_json())
    else:
        _print_answers(done, quiet)
        _print_end(done, quiet, verbose)


def _context(context: str | None, file: str | None) -> str:
    from ..errors import UsageError
    from ..preprocess import read_lines

    if (context is None) == (file is None):
        raise UsageError("context: give a text to be asked, or --file")
    return context if context is not None else "\n".join(read_lines(str(file)))


def _print_embeddings(done: Embeddings, quiet: bool, output: str | None) -> None:
    import json

    print_notes(done.inputs, quiet)
    if output is None:
        say(*(json.dumps([round(float(value), 6) for value in each.values]) for each in done.inputs))
    elif not quiet:
        say(f"{printable(output)}: {len(done.inputs)} embeddings of {done.inputs[0].values.size} numbers")


def _print_tagged(done: Tagging, quiet: bool) -> None:
    from ..text_format import columns

    print_notes(done.inputs, quiet)
    rows = []
    for each in done.inputs:
        for entity in each.entities:
            place = f"{entity.begin}..{entity.end}"
            rows.append((printable(entity.label), f"{entity.probability:.1%}", place, printable(entity.text, 100)))
        if not each.entities:
            rows.append(("-", "", "", f"nothing in {printable(each.given, 100)}"))
    say(*columns(rows).split("\n"))


def _print_filled(done: Filling, quiet: bool) -> None:
    from ..text_format import columns

    print_notes(done.inputs, quiet)
    rows = [
        (*(f"{printable(word.text)} {word.probability:.1%}" for word in words), printable(each.given, 100))
        for each in done.inputs
        for words in each.places
    ]
    say(*columns(rows).split("\n"))


def _print_answers(done: Answers, quiet: bool) -> None:
    from ..text_format import columns

    rows = [(f"{a.probability:.1%}", f"{a.begin}..{a.end}", printable(a.text, 200)) for a in done.answers]
    if rows:
        say(*([row[2] for row in rows] if quiet else columns(rows).split("\n")))


def _print_end(done: RunReport, quiet: bool, verbose: bool) -> None:
    if not quiet:
        say(run_line(done), err=True)
    print_passed_over(done, verbose)
