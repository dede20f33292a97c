"""Every task that the source names for a child process: one of our functions, in a module that brings no torch with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import attn_export
import attn_runtime
import pytest
from attn_runtime import child_process

_LITERAL = re.compile(r'"(attn_\w+(?:\.\w+)+:\w+_here)"')
TASKS = sorted(
    {
        name
        for package in (attn_runtime, attn_export)
        for file in Path(package.__path__[0]).rglob("*.py")
        for name in _LITERAL.findall(file.read_text(encoding="utf-8"))
    }
    | {"attn_runtime.trt.builder.build_process:build_here"}
)


def test_tasks_are_found() -> None:
    assert len(TASKS) >= 9, TASKS


@pytest.mark.parametrize("task", TASKS)
def test_a_task_brings_no_torch(task: str) -> None:
    """It would cost the child seconds and hundreds of megabytes that it never uses."""
    code = (
        f"import sys; from attn_runtime import child_process; child_process.find_task({task!r});"
        " print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
    assert callable(child_process.find_task(task))
