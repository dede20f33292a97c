"""What a bundle answers to rows: one task each, with the columns that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....lazy import lazy

if TYPE_CHECKING:
    from .choice import TASKS, task_of
    from .columns import table_of
    from .contract import NOTES, RESERVED, Answering, Answers, Opening, Task, TaskOptions
    from .fronts import file_name

__all__ = [
    "NOTES",
    "RESERVED",
    "TASKS",
    "Answering",
    "Answers",
    "Opening",
    "Task",
    "TaskOptions",
    "file_name",
    "table_of",
    "task_of",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "choice": ["TASKS", "task_of"],
        "columns": ["table_of"],
        "contract": ["NOTES", "RESERVED", "Answering", "Answers", "Opening", "Task", "TaskOptions"],
        "fronts": ["file_name"],
    },
)
