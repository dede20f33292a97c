"""What the programs print, draw and write passes the functions of `attn_runtime.escape`: no module has a way round them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from support.checks.import_graph import repository

GRAPH = repository()
#: Module -> the names and attributes in it.
WORDS = {
    module: {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }
    for module, tree in GRAPH.modules.items()
}
#: Where text goes to a terminal, and what for. All else calls these.
PRINTS = {
    "attn_runtime.cli.options",  # say, say_over, say_as_it_is, print_json
    "attn_runtime.jetson.bootstrap",  # before click is there
    "attn_export.console",
    "attn_export.deploy.triton.model",  # into the log of the server, where it runs
    "attn_export.cli.inspect",  # tables of rich
    "attn_models.training.progress",  # a bar of rich
}
_PRINTING = {"echo", "secho", "print", "print_exception", "print_exc", "echo_via_pager"}
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
#: What makes text of a picture, and which of its arguments that is.
_DRAWING = {"set_title": 0, "suptitle": 0, "set_xlabel": 0, "set_ylabel": 0, "set_label": 0, "text": 2}
#: Modules of the standard library that escape, each for one destination.
_ESCAPING = {"html", "shlex", "xml.sax.saxutils"}


def prints(tree: ast.AST) -> Iterator[int]:
    """Lines that print, or write to a standard stream."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        if name in _PRINTING:
            yield node.lineno
        stream = getattr(called, "value", None)
        if (
            name in ("write", "writelines")
            and isinstance(stream, ast.Attribute)
            and stream.attr in _STREAMS | {"buffer"}
        ):
            yield node.lineno


def draws_foreign_text(tree: ast.AST) -> Iterator[int]:
    """Lines that give a picture text which is neither written there, nor a number with its format, nor from `plot_text`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            place = _DRAWING.get(node.func.attr)
            texts = node.args[place : place + 1] if place is not None else []
            texts += [word.value for word in node.keywords if word.arg in ("label", "labels")]
            yield from (text.lineno for text in texts if not _drawn_as_it_is(text))


def _drawn_as_it_is(text: ast.expr) -> bool:
    if isinstance(text, ast.JoinedStr):
        return all(
            isinstance(part, ast.Constant)
            or (isinstance(part, ast.FormattedValue) and (part.format_spec is not None or _drawn_as_it_is(part.value)))
            for part in text.values
        )
    if isinstance(text, ast.Call):
        return isinstance(text.func, ast.Name) and text.func.id == "plot_text"
    return isinstance(text, ast.Constant)


def writes_html(tree: ast.AST) -> Iterator[int]:
    """Lines that put a value between tags."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            written = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            if "</" in written:
                yield node.lineno


@pytest.mark.parametrize(
    "text, lines",
    [("click.echo(x)", 1), ("print(x)", 1), ("console.print(x)", 1), ("sys.stderr.write(x)", 1),
     ("sys.stdout.buffer.write(x)", 1), ("file.write(x)", 0), ("say(x)", 0), ("print_json(x)", 0)],
)  # fmt: skip
def test_the_reader_of_prints_reads_them(text: str, lines: int) -> None:
    assert len(list(prints(ast.parse(text)))) == lines


@pytest.mark.parametrize(
    "text, lines",
    [("axes.set_title(name)", 1), ("axes.set_title(f'a {name}')", 1), ("axes.plot(x, label=name)", 1), ("a.text(0, 0, n)", 1),
     ("axes.set_title(plot_text(name))", 0), ("axes.set_title(f'{plot_text(a)} {b:.3f}', fontsize=9)", 0),
     ("axes.plot(x, label='mean')", 0)],
)  # fmt: skip
def test_the_reader_of_pictures_reads_them(text: str, lines: int) -> None:
    assert len(list(draws_foreign_text(ast.parse(text)))) == lines


def test_only_these_modules_print() -> None:
    found = {module for module, tree in GRAPH.modules.items() if list(prints(tree))}
    assert found == PRINTS


def test_text_of_pictures_passes_plot_text() -> None:
    drawn = [f"{module}:{line}" for module, tree in GRAPH.modules.items() for line in draws_foreign_text(tree)]
    assert not drawn
    drawing = {module for module, words in WORDS.items() if "savefig" in words}
    assert drawing == {"attn_runtime.tasks.plots.picture_file"}
    assert "plotting" in WORDS[drawing.pop()], "draws while TeX may be on"


def test_one_module_writes_html() -> None:
    assert {m for m, tree in GRAPH.modules.items() if list(writes_html(tree))} == {"attn_runtime.page.html"}


def test_nobody_escapes_in_a_way_of_its_own() -> None:
    found = [
        f"{module} imports {name}"
        for module, tree in GRAPH.modules.items()
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if name in _ESCAPING and module != "attn_runtime.escape"
    ]
    assert not found
    assert not [module for module, words in WORDS.items() if "isprintable" in words]
