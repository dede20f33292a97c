"""`attn-run translate` and `attn-run generate`: texts in, texts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..escape import printable
from .options import (
    clean,
    json_option,
    place_options,
    print_json,
    quiet_option,
    say,
    say_as_it_is,
    say_line_as_it_is,
    threads_option,
    verbose_option,
)
from .printers import print_passed_over

if TYPE_CHECKING:
    from ..generate import Sample, TextAnswers

#: Options of GenerateOptions that the commands hand on.
_ASKED = [
    "max_length",
    "min_length",
    "beams",
    "length_penalty",
    "early_stop",
    "repetition_penalty",
    "no_repeat_ngram",
    "lookup",
    "begin",
]

# Imports of our own are inside the commands: --help must not wait for numpy.


def _common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options: list[Callable[..., Any]] = [
        click.option(
            "--max-length",
            type=int,
            help="Most tokens of an answer.  [default: the bundle's, or what the model has room for]",
        ),
        click.option("--min-length", type=int, help="An answer has so many tokens before it may end."),
        click.option(
            "--repetition-penalty", type=float, help="Above 1: tokens that are there already become less likely."
        ),
        click.option(
            "--no-repeat-ngram", type=int, metavar="N", help="No N tokens in a row come twice; 0 for no such rule."
        ),
        click.option(
            "--greedy", is_flag=True, help="The likeliest token each time, whatever the bundle does by default."
        ),
        click.option(
            "--lookup",
            type=int,
            metavar="N",
            help="Guess up to N tokens ahead, as they stand in the text: the same answer, sooner where it repeats it.",
        ),
        click.option(
            "--file",
            type=click.Path(readable=False),
            help="A text a line; - is stdin. A blank line answers a blank line.",
        ),
        click.option("--stream", is_flag=True, help="Print an answer while it is written. One text, one beam."),
        place_options,
        threads_option,
        click.option(
            "--low-memory", is_flag=True, help="On the CPU, keep one copy of the weights; slower from two rows on."
        ),
        quiet_option,
        verbose_option,
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _beam_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--beams", type=int, help="Answers that are followed at once.  [default: the bundle's, or 1]"),
            click.option("--length-penalty", type=float,
                         help="A score is divided by the length to this power.  [default: the bundle's, or 1]"),
            click.option("--early-stop/--no-early-stop", default=None,
                         help="Stop when there are as many answers as beams.  [default: the bundle's, or not]"),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("translate")
@click.argument("path", metavar="BUNDLE", type=click.Path(readable=False))
@click.argument("texts", metavar="TEXT...", nargs=-1)
@click.option("--to", metavar="LANGUAGE", help="The language to translate into, where the bundle has several.")
@_beam_options
@_common_options
def translate_command(path: str, texts: tuple[str, ...], to: str | None, **options: Any) -> None:
    """Translate each TEXT and print it, a line each. TEXT - is stdin, a text a line."""
    from .. import generate_texts

    options["begin"] = None if to is None else {"language": to}
    printer = _Printer(**{name: options.pop(name) for name in ("stream", "as_json", "quiet", "verbose")})
    texts, options = _prepared(texts, options, None, printer, "translate", stdin="-")
    printer.end(generate_texts(path, texts, translate=True, **options))


@click.command("generate")
@click.argument("path", metavar="BUNDLE", type=click.Path(readable=False))
@click.option("--prompt", "texts", multiple=True, help="Text to go on from; repeatable.")
@click.option("--temperature", type=float, help="Draw tokens; below 1 the likely ones become likelier.")
@click.option("--top-k", type=int, help="Draw from the K likeliest tokens.")
@click.option("--top-p", type=float, help="Draw from the fewest likeliest tokens whose probabilities add up to P.")
@click.option("--seed", type=int, help="Of what is drawn. The same seed gives the same text.  [default: 0]")
@_beam_options
@_common_options
def generate_command(path: str, texts: tuple[str, ...], **options: Any) -> None:
    """Go on from each prompt and print what is written, a line each. Takes the likeliest token unless told to draw."""
    from .. import Sample, generate_texts

    drawn = {
        name: value for name in ("temperature", "top_k", "top_p", "seed") if (value := options.pop(name)) is not None
    }
    printer = _Printer(**{name: options.pop(name) for name in ("stream", "as_json", "quiet", "verbose")})
    texts, options = _prepared(texts, options, Sample(**drawn) if drawn else None, printer, "go on from")
    printer.end(generate_texts(path, texts, translate=False, **options))


def _prepared(
    texts: tuple[str, ...],
    options: dict[str, Any],
    sample: Sample | None,
    printer: _Printer,
    verb: str,
    stdin: str | None = None,
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The texts with those of --file, and the arguments of `generate_texts`. A text that is `stdin` stands for the lines of
    stdin. UsageError where there is no text."""
    from .. import GenerateOptions
    from ..preprocess import read_lines

    file = options.pop("file")
    asked = {name: options.pop(name, None) for name in _ASKED}
    drawn: Sample | bool | None = sample
    if options.pop("greedy"):
        if sample is not None or (asked["beams"] or 1) > 1:
            raise UsageError("--greedy: leave --beams, --temperature, --top-k, --top-p and --seed out")
        asked["beams"], drawn = 1, False
    chosen = GenerateOptions(**asked, sample=drawn, scores=printer.as_json)
    blank = file is not None or stdin in texts
    texts = tuple(text for each in texts for text in (read_lines(each) if each == stdin else (each,)))
    texts = (*texts, *(read_lines(file) if file is not None else ()))
    if not texts:
        raise UsageError(f"nothing to {verb}: give a text, or --file")
    if printer.stream and (len(texts) > 1 or (chosen.beams or 1) > 1 or printer.as_json):
        raise UsageError("--stream: expected one text, one beam and no --json")
    return texts, {
        **options,
        "options": chosen,
        "blank": blank,
        "on_unknown": None if printer.quiet else _print_unknown,
        "on_text": printer.grow if printer.stream else None,
    }


def _print_unknown(text: str, words: Sequence[str]) -> None:
    listed = ", ".join(f'"{printable(word, 40)}"' for word in dict.fromkeys(words))
    say(f'note: words that the model does not know: {listed} (in "{printable(text, 40)}")', err=True)


class _Printer:
    """Prints answers, a line each, or what an answer grows by."""

    def __init__(self, stream: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
        self.stream, self.as_json, self.quiet, self.verbose = stream, as_json, quiet, verbose
        self._printed = 0  # characters

    def grow(self, number: int, text: str) -> None:
        say_as_it_is(clean(text[self._printed :]), newline=False)
        self._printed = len(text)

    def end(self, written: TextAnswers) -> None:
        for note in () if self.quiet or self.as_json else written.notes:
            say(f"note: {note}", err=True)
        print_passed_over(written, self.verbose and not self.as_json)
        if self.as_json:
            print_json(written.to_json())
        elif self.stream:
            say("")
        else:
            for answer in written.answers:
                say_line_as_it_is(answer.text)
