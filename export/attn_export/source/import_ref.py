"""``package.module:callable`` -> what it names or returns; the current folder is importable, as with `python -m`."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attn_models.spec import ModelSpec
from attn_runtime.errors import AttnError, UsageError, did_you_mean
from torch import nn

from ..quiet import captured_output


def parse_config(texts: Sequence[str]) -> dict[str, Any]:
    """``["classes=10", "name=tiny"]`` -> Python values: literals where they parse, strings otherwise."""
    values: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise UsageError(f"--config {text}: expected KEY=VALUE")
        if key in values:
            raise UsageError(f"--config {key}: given twice")
        try:
            values[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[key] = value
    return values


def import_attribute(ref: str) -> Any:
    """What "package.module:attribute" names. UsageError, in one line, where there is none or its module can't be imported."""
    module_name, _, attribute = ref.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        with captured_output():
            found = importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not (module_name + ".").startswith(problem.name + "."):
            raise UsageError(
                f"{ref}: importing {module_name} needs {problem.name}, which is not installed"
            ) from problem
        raise UsageError(
            f"{ref}: there is no module {problem.name} on the path or in {here}; expected package.module:callable"
        ) from problem
    except SystemExit as problem:  # a script that runs when it is imported, and its argument parser
        raise UsageError(
            f"{ref}: importing {module_name} ended with sys.exit({problem.code}); "
            "guard what the script does with: if __name__ == '__main__':"
        ) from problem
    except Exception as problem:
        raise UsageError(f"{ref}: importing {module_name} failed: {type(problem).__name__}: {problem}") from problem
    target: Any = found
    for part in attribute.split("."):
        names = [n for n in dir(target) if not n.startswith("_")]
        if not hasattr(target, part):
            shown = ", ".join(n for n in names if callable(getattr(target, n)))[:200]
            raise UsageError(f"{ref}: {module_name} has no {part}; {did_you_mean(part, names)}it has: {shown}")
        target = getattr(target, part)
    return target


def import_target(ref: str, arguments: Mapping[str, Any]) -> tuple[nn.Module | ModelSpec, Mapping[str, Any]]:
    """What `ref` names or returns, and the arguments that are left for a ModelSpec's own `build`."""
    target = import_attribute(ref)
    if isinstance(target, ModelSpec):
        return target, arguments
    if isinstance(target, nn.Module):
        if arguments:
            raise UsageError(f"{ref} is a module already, not a callable; --config has nothing to be passed to")
        return target, {}
    if not callable(target):
        raise UsageError(f"{ref} is a {type(target).__name__}; expected a callable that returns an nn.Module")
    return build(ref, target, arguments), {}


def build(ref: str, function: Any, arguments: Mapping[str, Any]) -> nn.Module | ModelSpec:
    try:
        with captured_output():
            built = function(**arguments)
    except AttnError:
        raise
    except (Exception, SystemExit) as problem:
        shown = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
        raise UsageError(f"{ref}({shown}) failed: {type(problem).__name__}: {problem}") from problem
    if not isinstance(built, (nn.Module, ModelSpec)):
        raise UsageError(f"{ref} returned a {type(built).__name__}; expected an nn.Module")
    return built


def build_module(ref: str, function: Any, arguments: Mapping[str, Any]) -> nn.Module:
    built = build(ref, function, arguments)
    if not isinstance(built, nn.Module):
        raise UsageError(f"{ref}: its build returned a {type(built).__name__}; expected an nn.Module")
    return built
