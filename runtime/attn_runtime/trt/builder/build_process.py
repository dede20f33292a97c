"""Build in a child process, and wait for it: what crashes there is an error here, and what interrupts here ends there."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from ...errors import EngineError, OutputError, StageError
from ..profiles import Profile
from .build_worker import built_from_json
from .network import BuildOptions, Built
from .progress import BuildProgress, Estimate

#: Seconds that a cancelled child gets to end by itself.
_PATIENCE = 1.5
# Not `-m`: that would look for every module in the current folder first, where a json.py may lie.
_CHILD = (
    "import sys; sys.path[:] = filter(None, sys.path); from attn_runtime.trt.builder.build_worker import main; main()"
)


def build_apart(
    flavour: str,
    file: Path,
    profiles: Sequence[Profile],
    options: BuildOptions,
    folder: Path,
    on_progress: Callable[[BuildProgress], object] | None = None,
) -> Built:
    """As `network.build`, in a process of its own. `folder` holds what the two pass each other.

    `on_progress` may return False, which cancels the build: EngineError. Raises StageError when the child died, OutputError
    when the disk has no place. However this ends, also by an exception such as KeyboardInterrupt, the child is gone.
    """
    plan, old, new = folder / "plan", folder / "timing_cache", folder / "new_timing_cache"
    asked: dict[str, Any] = {**vars(options)}
    if options.timing_cache:
        try:
            old.write_bytes(options.timing_cache)
        except OSError as error:
            raise OutputError(f"can't write beside {folder.parent}: {error.strerror or error}") from error
    asked["timing_cache"] = None if options.timing_cache is None else str(old) if options.timing_cache else ""
    request = {
        "flavour": flavour, "file": str(file), "profiles": [dict(p) for p in profiles], "options": asked,
        "plan": str(plan), "new_timing_cache": str(new),
    }  # fmt: skip
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        told = _exchange(request, said, on_progress)
    return built_from_json(
        told,
        plan.read_bytes() if told["plan"] is not None else None,
        new.read_bytes() if told["timing_cache"] is not None else None,
    )


def _exchange(
    request: dict[str, Any], said: IO[str], on_progress: Callable[[BuildProgress], object] | None
) -> dict[str, Any]:
    # A session of its own: Ctrl-C on the terminal reaches this process alone, which then ends the child in order.
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    estimate, start = Estimate(), time.monotonic()
    try:
        with contextlib.suppress(BrokenPipeError):  # a child that died is told of below
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            reply = json.loads(line)
            if "built" in reply:
                built: dict[str, Any] = reply["built"]
                return built
            if "unwritten" in reply:
                raise OutputError(
                    f"the engine was built and can't be written: {reply['unwritten']}; what was there is still there"
                )
            progress = estimate.update([tuple(p) for p in reply["phases"]], time.monotonic() - start)
            if on_progress is not None and on_progress(progress) is False:
                raise EngineError(f"the build was cancelled after {progress.elapsed:.0f} s; nothing was written")
        code = process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise StageError(
            f"the build of {Path(request['file']).name} died ({how}); nothing was written. Its last words: "
            f"{_last_words(said) or 'none'}"
        )
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the child to stop, which the library's progress monitor passes on; kill it if it does not."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()  # also tells a child that is still building
    try:
        process.wait(_PATIENCE)
    except BaseException:  # too slow, or a second Ctrl-C
        process.kill()
        process.wait()
        if not isinstance(sys.exc_info()[1], subprocess.TimeoutExpired):
            raise
    finally:
        process.stdout.close()


def _last_words(said: IO[str]) -> str:
    said.seek(0)
    lines = [" ".join(line.split()) for line in said if line.strip()]
    return lines[-1][:300] if lines else ""
