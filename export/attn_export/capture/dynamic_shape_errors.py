"""Which line of the model fixed a dim that was asked to be dynamic, or branched on data.

torch.export says that a dim was specialised only when the whole model has been traced, and not where. `watch()`
listens to the shape environment while it decides, when the model's own frames are still on the stack; `explain()`
makes one line of what it heard and of the exception.
"""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from attn_runtime.spec import Dim, TensorSpec, named_dims
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode, ShapeEnv


@dataclass(frozen=True)
class Place:
    """A line of the model's source: `net.py:41` and its text, which is empty when the source is not at hand."""

    line: str
    code: str

    def __str__(self) -> str:
        return f'{self.line}: "{self.code}"' if self.code else self.line


@dataclass(frozen=True)
class Record:
    """One decision about declared dims: a condition that has to hold from here on.

    symbols: the condition's symbol -> the declared dim's name. place: None where no line of the model is involved.
    """

    condition: sympy.Basic
    symbols: Mapping[sympy.Symbol, str]
    place: Place | None

    @property
    def dims(self) -> set[str]:
        return set(self.symbols.values())

    def excludes(self, name: str, size: int) -> bool:
        """Whether the condition, where it is about this dim alone, is false for the size."""
        if self.dims != {name}:
            return False
        try:
            holds = self.condition.xreplace(dict.fromkeys(self.symbols, sympy.Integer(size)))
        except ArithmeticError:  # such as T % (T // 64) at a T below 64
            return False
        return bool(holds == sympy.false)


class watch:
    """Context manager around torch.export.export(..., strict=False); yields the list of Record that grows inside.

    names: dims by what torch.export calls their sizes, as in ``L['x'].size()[1]``, where they have no name of their own.

    It listens at a private method of PyTorch's ShapeEnv. Where a version of PyTorch lacks it the list stays empty,
    and `explain` names the dim without the line.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = dict(names or {})

    def __enter__(self) -> list[Record]:
        self._records: list[Record] = []
        self._outside: FrameType | None = sys._getframe(1)
        self._original = vars(ShapeEnv).get("_log_guard")
        if self._original is not None:
            setattr(ShapeEnv, self._original.__name__, self._listening(self._original))
        return self._records

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._original is not None:
            setattr(ShapeEnv, self._original.__name__, self._original)
        self._outside = None

    def _listening(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _log_guard(env: ShapeEnv, prefix: str, guard: Any, *args: Any, **kwargs: Any) -> Any:
            self._heard(env, guard)
            return original(env, prefix, guard, *args, **kwargs)

        return _log_guard

    def _heard(self, env: ShapeEnv, condition: Any) -> None:
        names = self._names | env.source_name_to_debug_name
        symbols = {
            symbol: names[source.name]
            for symbol in getattr(condition, "free_symbols", ())
            for source in env.var_to_sources.get(symbol, ())
            if source.name in names
        }
        if symbols:
            self._records.append(Record(condition, symbols, self._place()))

    def _place(self) -> Place | None:
        frame = sys._getframe(2)
        while frame is not None and frame is not self._outside:
            if is_model(frame.f_code.co_filename):
                return _place(frame.f_code.co_filename, frame.f_lineno)
            frame = frame.f_back  # type: ignore[assignment]
        return None


def explain(
    problem: BaseException,
    records: Sequence[Record],
    inputs: Sequence[TensorSpec],
    names: Mapping[str, str] | None = None,
) -> str:
    """One line on why torch.export refused: the dim or the data, where in the model, and what to do.

    problem: what torch.export.export raised inside `watch(names)`; inputs: the specs whose named dims were declared.
    PyTorch has run their least and greatest sizes before: whatever is refused is what torch.export can't do.
    """
    if is_about_data(problem):
        return _data(problem)
    dims, text = named_dims(inputs), str(problem)
    for theirs, ours in (names or {}).items():
        text = text.replace(theirs, ours)
    return "; ".join(dict.fromkeys(_violations(text, records, dims))) or _other(problem)


def fixed_dims(problem: BaseException, names: Mapping[str, str]) -> dict[str, int]:
    """The dims that torch.export made constants of, by what `problem` says, and their sizes."""
    return {names.get(name, name): int(value) for name, value in _FIXED.findall(str(problem))}


def is_about_data(problem: BaseException) -> bool:
    """Whether torch.export refused a branch on values, or a number made of them: no rule about sizes is in the way."""
    return isinstance(problem, GuardOnDataDependentSymNode) or "data-dependent" in str(problem)


def _violations(text: str, records: Sequence[Record], dims: Mapping[str, Dim]) -> Iterable[str]:
    """PyTorch's list of violated constraints, each with the line that caused it."""
    for name, value in dict.fromkeys(_FIXED.findall(text)):
        place = _first(
            [r for r in records if r.excludes(name, int(value) + 1)] + [r for r in records if name in r.dims]
        )
        yield f"{_asked(name, dims)} but torch.export fixes it to {value}{place}; {_fix(name, value, place)}"
    pairs = dict.fromkeys(re.findall(r"The values of (\w+) = \S+ and (\w+) = \S+ must always be equal", text))
    for one, other in pairs:
        place = _first([r for r in records if {one, other} <= r.dims])
        yield (
            f"dims {one} and {other} were asked to vary on their own but torch.export needs them equal{place}; "
            "give them one name in --input"
        )
    for name in dict.fromkeys(re.findall(r"Not all values of (\w+) = .*? satisfy the generated guard", text)):
        if any(name in pair for pair in pairs):
            continue  # the range is only what the other dim's range leaves over
        asked = dims.get(name)
        excluding = [r for r in records if asked and (r.excludes(name, asked.min) or r.excludes(name, asked.max))]
        place = _first(excluding + [r for r in records if name in r.dims])
        change = _change(place)
        limits = re.search(rf"^\s*{name} = Dim\('{name}', (?:min=(\d+))?(?:, )?(?:max=(\d+))?\)", text, re.MULTILINE)
        if limits and asked:
            low, high = int(limits[1] or asked.min), int(limits[2] or asked.max)
            narrowed = f"--dim {name}={low}:{min(max(asked.opt, low), high)}:{high}"
            yield f"{_asked(name, dims)} but torch.export captures {low}..{high} alone{place}; ask for {narrowed}, or {change}"
        else:
            yield (
                f"{_asked(name, dims)} but torch.export can't hold all of these sizes in one graph{place}; "
                f"{_fix(name, 'SIZE', place)}"
            )
    related = r"(?:The values of (\w+) = \S+ must always be related to .*? by|Not all values of (\w+) = .*? are valid"
    for first, second, rule in dict.fromkeys(
        re.findall(related + r" because \w+ was inferred to be equal to) (.+?)\.?$", text, re.MULTILINE)
    ):
        name = first or second
        place = _first([r for r in records if name in r.dims])
        rule = rule if "=" in rule else f"{name} = {rule}"
        yield f"{_asked(name, dims)} but torch.export needs {rule}{place}; {_fix(name, 'SIZE', place)}"


def _asked(name: str, dims: Mapping[str, Dim]) -> str:
    asked = dims.get(name)
    return f"dim {name} was asked to be {asked.min}..{asked.max}" if asked else f"dim {name} was asked to be dynamic"


def _fix(name: str, value: str, place: str) -> str:
    return f"fix it with --dim {name}={value}, or {_change(place)}"


def _change(place: str) -> str:
    known = next((way for pattern, way in _WAYS_OUT if re.search(pattern, place)), None)
    return known or ("change that line" if place else "change the model")


#: What torch.export says of a dim that became a constant.
_FIXED = re.compile(r"You marked (.+?) as dynamic .*? to be a constant \((\d+)\)")
#: What to write instead of Python that needs a number, by what stands in the line.
_WAYS_OUT = (
    (r"\brange\(|\.unbind\(|\.tolist\(", "take the whole axis at once there: a loop has as many turns as the example"),
    (r"\bfloat\(", "write torch.sym_float(...) for float(...) there"),
    (r"\bint\(", "leave int(...) out there: a size is an integer"),
)

#: Calls that are captured as a tensor of one number where they are given a size (`equivalents.python_calls`).
_NUMBER_OF_SIZE = r"\bmath\.(log|log2|log10|log1p|exp|tanh|sin|cos)\("
#: The greatest of some lengths: mostly that of the padded axis.
_LONGEST = r"\bint\(.*(\.max\(|\bmax\()"
_FIX_THE_SIZE = "fix the dim in that line with --dim NAME=SIZE, or make that number a fixed argument of the model"


def _first(records: Sequence[Record]) -> str:
    """` at net.py:41: "code"` of the first record that has a place."""
    return next((f" at {r.place}" for r in records if r.place), "")


def _data(problem: BaseException) -> str:
    place = _raised_at(problem)
    where = f" at {place}" if place else ""
    if place and re.search(_NUMBER_OF_SIZE, place.code):
        return (
            f"the model makes a Python number of a function of a size{where}, which a graph can't follow from size to "
            f"size; {_FIX_THE_SIZE}"
        )
    if "Could not extract specialized integer" in str(problem):
        length = "take the padded length there, as x.shape[1], " if place and re.search(_LONGEST, place.code) else ""
        return f"the model makes a Python number of data{where}; {length or 'keep it a tensor, '}or make it a fixed argument"
    return f"the model branches on data{where}; use torch.where or torch.cond there, or make it a fixed argument"


def _other(problem: BaseException) -> str:
    place = _raised_at(problem)
    if isinstance(problem, TypeError) and re.search(r"argument \d+ of type Sym(Int|Float)", str(problem)):
        return f"NumPy takes no size that varies{f' at {place}' if place else ''}; {_FIX_THE_SIZE}"
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    what = f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__
    return f"torch.export can't capture the model{f' at {place}' if place else ''}; PyTorch says {what}"


def _raised_at(problem: BaseException) -> Place | None:
    """The innermost line of the model in the exception's traceback."""
    frames = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(problem.__traceback__)]
    return next((_place(file, line) for file, line in reversed(frames) if is_model(file)), None)


_STDLIB = Path(sysconfig.get_path("stdlib"))
_PACKAGES = [Path(sysconfig.get_path(p)) for p in ("purelib", "platlib")]
_MACHINERY = [Path(torch.__file__).parent, Path(sympy.__file__).parent, Path(__file__).parents[1]]


def is_model(file: str) -> bool:
    """Whether a line of the file is one that the user can change: of the model or of a library, not of what captures it."""
    path = Path(file)
    if file.startswith("<") or any(path.is_relative_to(m) for m in _MACHINERY):
        return False
    return not path.is_relative_to(_STDLIB) or any(path.is_relative_to(p) for p in _PACKAGES)


def _place(file: str, line: int) -> Place:
    path = Path(file)
    for folder in (Path.cwd(), *_PACKAGES):
        if path.is_relative_to(folder):
            path = path.relative_to(folder)
            break
    code = linecache.getline(file, line).strip()
    return Place(f"{path}:{line}", code if len(code) <= 100 else f"{code[:100]}...")
