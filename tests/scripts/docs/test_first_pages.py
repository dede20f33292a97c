"""The pages of the first ten minutes: their commands have the options that they name, run as they stand in an empty folder, and
print what the page says."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from attn_export.cli.app import cli as exporter
from attn_runtime.cli.app import cli as runtime

PAGES = sorted((Path(__file__).resolve().parents[3] / "docs/start").glob("*.md"))
_BLOCK = re.compile(r"(<!-- needs .*? -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@every_page
def test_every_option_is_there(page):
    commands = [shlex.split(line) for _, kind, text in blocks(page) if kind == "bash" for line in text.splitlines()]
    ours = [words for words in commands if words[0] in ("attn-export", "attn-run")]
    assert len(ours) >= 3
    for words in ours:
        arguments = words[1 : words.index(">")] if ">" in words else words[1:]
        parse({"attn-export": exporter, "attn-run": runtime}[words[0]], arguments)


@pytest.mark.full
@every_page
def test_the_commands_run_as_they_stand_and_print_what_the_page_says(page, tmp_path):
    told = []
    for needs, kind, text in blocks(page):
        if name := re.match(r"(?:#|//) (\w+\.(?:py|cpp))\n", text):
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        elif kind == "bash" and not needs:
            done = subprocess.run(["bash", "-euc", text], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            told = [masked(line) for line in (done.stdout + done.stderr).splitlines()]
        elif kind == "bash":
            told = []
        elif kind == "text" and told:
            for line in text.splitlines():
                # What is left out is "..."; figures are those of the machine that the page was written on.
                pieces = ".*".join(map(re.escape, masked(line).split("...")))
                assert any(re.search(pieces, each) for each in told), (line, told)


def masked(line):
    return " ".join(re.sub(r"\d[\d.]*(e[+-]?\d+)?", "0", line).split())


def blocks(page):
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def parse(command, words):
    """As click would, without running it; a name or an option that is not there is an error."""
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context, info_name=name)
    command.make_parser(context).parse_args(list(words))
