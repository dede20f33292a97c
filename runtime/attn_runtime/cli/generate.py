"""`attn-run translate` and `attn-run generate`: texts in, texts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from .options import print_json

if TYPE_CHECKING:
    from ..generate.text_generation import TextAnswers

# Imports of our own are inside the commands: --help must not wait for numpy.


def _common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option(
                "--max-length", type=int, help="Most tokens of an answer.  [default: what the model has room for]"
            ),
            click.option(
                "--file", type=click.Path(), help="A text a line; - is stdin. A blank line answers a blank line."
            ),
            click.option("--stream", is_flag=True, help="Print an answer while it is written. One text, one beam."),
            click.option("--precision", help="Which of the bundle's precisions; fp32 where there is one."),
            click.option("--backend", help="Which backend; attn-run doctor lists them. Chosen when left out."),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
            click.option("--threads", type=int, help="Threads that one node may use on the CPU."),
            click.option(
                "--low-memory", is_flag=True, help="On the CPU, keep one copy of the weights; slower from two rows on."
            ),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
        ]
    ):
        command = option(command)
    return command


def _beam_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--beams", default=1, show_default=True, help="Answers that are followed at once."),
            click.option("--length-penalty", default=1.0, show_default=True,
                         help="A score is divided by the length to this power."),
            click.option("--early-stop", is_flag=True, help="Stop when there are as many answers as beams."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("translate")
@click.argument("path", metavar="BUNDLE", type=click.Path())
@click.argument("texts", metavar="TEXT...", nargs=-1)
@_beam_options
@_common_options
def translate_command(path: str, texts: tuple[str, ...], **options: Any) -> None:
    """Translate each TEXT and print it, a line each. TEXT - takes them from stdin, a line each."""
    if texts == ("-",):
        texts, options["file"] = (), "-"
    search = {name: options.pop(name) for name in ("beams", "length_penalty", "early_stop")}
    _run(path, texts, search, None, translate=True, **options)


@click.command("generate")
@click.argument("path", metavar="BUNDLE", type=click.Path())
@click.option("--prompt", "texts", multiple=True, help="Text to go on from; repeatable.")
@click.option("--temperature", type=float, help="Draw tokens; below 1 the likely ones become likelier.")
@click.option("--top-k", type=int, help="Draw from the K likeliest tokens.")
@click.option("--top-p", type=float, help="Draw from the fewest likeliest tokens whose probabilities add up to P.")
@click.option("--seed", type=int, help="Of what is drawn. The same seed gives the same text.  [default: 0]")
@_beam_options
@_common_options
def generate_command(path: str, texts: tuple[str, ...], **options: Any) -> None:
    """Go on from each prompt and print what is written, a line each. Takes the likeliest token unless told to draw."""
    drawn = {name: options.pop(name) for name in ("temperature", "top_k", "top_p", "seed")}
    search = {name: options.pop(name) for name in ("beams", "length_penalty", "early_stop")}
    given = {name: value for name, value in drawn.items() if value is not None}
    _run(path, texts, search, given or None, translate=False, **options)


def _run(
    path: str,
    texts: Sequence[str],
    search: dict[str, Any],
    drawn: dict[str, Any] | None,
    *,
    translate: bool,
    file: str | None,
    max_length: int | None,
    stream: bool,
    as_json: bool,
    **session: Any,
) -> None:
    from ..errors import UsageError
    from ..generate import GenerateOptions, Sample
    from ..generate.text_generation import generate_texts
    from ..preprocess.text import read_lines

    sample = Sample(**drawn) if drawn is not None else None
    options = GenerateOptions(max_length, **search, sample=sample, scores=as_json)
    given = [*texts, *(read_lines(file) if file is not None else ())]
    if not given:
        raise UsageError(f"nothing to {'translate' if translate else 'go on from'}: give a text, or --file")
    if stream and (len(given) > 1 or options.beams > 1 or as_json):
        raise UsageError("--stream: expected one text, one beam and no --json")
    writer = _Writer() if stream else None
    found = generate_texts(
        path,
        given,
        options,
        translate=translate,
        blank=file is not None,
        on_unknown=_tell_unknown,
        on_text=writer,
        **session,
    )
    if writer is not None:
        writer.end(found.answers[0].text)
    elif as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _print(found: TextAnswers) -> None:
    for answer in found.answers:
        click.echo(_clean(" ".join(answer.text.split())))  # a line each, whatever the tokenizer makes of it


def _clean(text: str) -> str:
    """What comes out of a bundle's vocabulary, without control sequences."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def _tell_unknown(text: str, words: Sequence[str]) -> None:
    from ..text_format import printable

    told = ", ".join(f'"{printable(word, 40)}"' for word in dict.fromkeys(words))
    click.echo(f'note: words that the model does not know: {told} (in "{printable(text, 40)}")', err=True)


class _Writer:
    """Prints what a text grows by; where a token changes what was printed before it, all of it on a new line at the end."""

    def __init__(self) -> None:
        self._printed = ""

    def __call__(self, number: int, text: str) -> None:
        text = _clean(text)
        if text.startswith(self._printed):
            click.echo(text[len(self._printed) :], nl=False)
            self._printed = text

    def end(self, text: str) -> None:
        self(0, text)
        click.echo("" if self._printed == _clean(text) else f"\n{_clean(text)}")
