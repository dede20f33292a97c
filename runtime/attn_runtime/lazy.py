"""What nobody pays for before it is used: names of a room, and methods of dataclasses.

The door of a room is a package whose public names come out of its modules when they are first asked for (PEP 562). So `--help`
answers without numpy, and importing one thing of a room loads no more than that thing needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any


def lazy(
    package: str, public: Sequence[str], homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for the package: `homes` says which of its modules holds which names, or "name as public".

    A name is looked up anew each time, so that what replaces it in its module is what everybody gets.
    """
    pairs = [(module, *name.partition(" as ")[::2]) for module, names in homes.items() for name in names]
    origin = {shown or name: (module, name) for module, name, shown in pairs}

    def getattribute(name: str) -> Any:
        if name not in origin:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, own_name = origin[name]
        return getattr(import_module(f"{package}.{module}"), own_name)

    return getattribute, lambda: sorted(public)


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool) -> Any:
        """As `dataclasses.dataclass(frozen=True)`, the one kind that there is here, with methods that were written once.

        That one compiles them for each class: 0.7 ms in Python 3.11, and a process that opens a session makes twenty, a tenth
        of its start. `replace`, `asdict` and `fields` of `dataclasses` take these, too.
        """
        assert frozen
        return _made

    def _made(cls: type) -> type:
        import dataclasses

        cls = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
        for name in ("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__"):
            setattr(cls, name, vars(_Methods)[name])
        return cls

    class _Methods:
        def __init__(self, *values: Any, **named: Any) -> None:
            from dataclasses import MISSING

            fields = self.__dataclass_fields__
            given = dict(zip(fields, values, strict=False))
            if len(values) > len(fields) or not named.keys() <= fields.keys() - given.keys():
                odd = [name for name in named if name not in fields or name in given] or values[len(fields) :]
                raise TypeError(f"{type(self).__name__}: got {odd} beside or beyond {', '.join(fields)}")
            given |= named
            for name, field in fields.items():
                if name in given:
                    value = given[name]
                elif field.default is not MISSING:
                    value = field.default
                elif field.default_factory is not MISSING:
                    value = field.default_factory()
                else:
                    raise TypeError(f"{type(self).__name__}: {name} is missing")
                self.__dict__[name] = value
            if hasattr(self, "__post_init__"):
                self.__post_init__()

        def __repr__(self) -> str:
            from dataclasses import fields

            shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
            return f"{type(self).__qualname__}({', '.join(shown)})"

        def __eq__(self, other: object) -> Any:
            if type(other) is not type(self):
                return NotImplemented
            return _compared(self) == _compared(other)

        def __hash__(self) -> int:
            from dataclasses import fields

            told = (f.compare if f.hash is None else f.hash for f in fields(self))
            return hash(tuple(getattr(self, f.name) for f, is_told in zip(fields(self), told, strict=True) if is_told))

        def __setattr__(self, name: str, value: object) -> None:
            raise _frozen(f"cannot assign to field {name!r}")

        def __delattr__(self, name: str) -> None:
            raise _frozen(f"cannot delete field {name!r}")

    def _frozen(text: str) -> Exception:
        from dataclasses import FrozenInstanceError

        return FrozenInstanceError(text)

    def _compared(record: Any) -> tuple[Any, ...]:
        from dataclasses import fields

        return tuple(getattr(record, f.name) for f in fields(record) if f.compare)
