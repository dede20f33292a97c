"""What the command lines may do: read options, call one public function, print. Told from their source."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

#: More is a program of its own.
MAX_STATEMENTS = 15

#: What every file of a command line may import of a package besides its public names: errors, and how to put things in words.
_WORDS = {"errors", "escape", "text_format", "logs"}
#: What prints, draws, or ends the process with the exit code of what was printed; what knows what an option may be; and what
#: limits the process itself.
_PRINTING = re.compile(r"\w+_(lines?|text)|plot_\w+|require(_\w+)?|read_lines|schemes|check_(file|plot)|limit_openmp")


def commands(folder: Path) -> dict[str, ast.FunctionDef]:
    """ "file.py:function" -> every function under a click command's decorator."""
    found = {}
    for file in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(_is_command(d) for d in node.decorator_list):
                found[f"{file.name}:{node.name}"] = node
    return found


def _is_command(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr == "command"
    )


def statements(function: ast.FunctionDef) -> int:
    """How many there are in the body, at any depth, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return sum(isinstance(node, ast.stmt) for outer in body for node in ast.walk(outer))


def public_functions(function: ast.FunctionDef, package: ModuleType) -> set[str]:
    """The functions of the package's front door that it imports; classes of options and errors are not among them."""
    names = {alias.name for node in ast.walk(function) if isinstance(node, ast.ImportFrom) and _front(node, package)
             for alias in node.names}  # fmt: skip
    return {name for name in names if not inspect.isclass(getattr(package, name))}


def _front(node: ast.ImportFrom, package: ModuleType) -> bool:
    return (node.level == 2 and node.module is None) or (node.level == 0 and node.module == package.__name__)


def around_the_front_door(folder: Path, package: ModuleType) -> Iterator[str]:
    """What the files of a command line import that is neither public nor for printing."""
    for file in sorted(folder.glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        typing = {id(n) for block in ast.walk(tree) if isinstance(block, ast.If) for n in ast.walk(block)
                  if ast.unparse(block.test) == "TYPE_CHECKING"}  # fmt: skip
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or id(node) in typing or not _is_ours(node):
                continue
            module = (node.module or "").removeprefix("attn_runtime").removeprefix(".")
            for alias in node.names:
                public = not module and alias.name in {*package.__all__, "__version__"}
                if not (public or module in {*_WORDS, "lazy"} or _PRINTING.fullmatch(alias.name)):
                    yield f"{file.name}:{node.lineno} imports {alias.name} of {module or package.__name__}"


def _is_ours(node: ast.ImportFrom) -> bool:
    """Of this package or attn_runtime, and no other file of a command line."""
    name = node.module or ""
    return node.level == 2 or (node.level == 0 and name.startswith("attn_runtime") and ".cli" not in name)
