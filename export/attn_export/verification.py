"""`attn_export.verify`: a bundle against its golden cases, and against the living module on inputs that they do not hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn_runtime.errors import CheckpointError, UsageError
from attn_runtime.files import irregular, is_file, is_folder

from .console import Console

if TYPE_CHECKING:
    from attn_runtime.tasks import VerifyReport

    from .mutation import MutationReport
    from .parity import Check
    from .source import UserDraw


@dataclass(frozen=True)
class Verified:
    """Everything passed. `replay` is of the golden cases, `live` of PyTorch's answers now, `mutation` of what the golden cases
    notice; None where it was not looked at."""

    replay: VerifyReport | None
    live: tuple[Check, ...] | None
    mutation: MutationReport | None = None

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {} if self.replay is None else {"replay": self.replay.to_json()}
        if self.live is not None:
            result["live"] = [check.to_json() for check in self.live]
        return result if self.mutation is None else result | {"mutation": self.mutation.to_json()}


def verify(
    path: str | os.PathLike[str],
    source: str | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_key: str | None = None,
    config: Sequence[str] = (),
    task: str | None = None,
    revision: str | None = None,
    download: bool = False,
    inputs_from: str | UserDraw | None = None,
    backend: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    graph: str | None = None,
    seed: int = 0,
    mutate: int | None = None,
    time_limit: float | None = None,
    console: Console | None = None,
) -> Verified:
    """Replay the golden cases of the bundle at `path`; with `source`, compare with PyTorch on fresh inputs as well.

    A plain .onnx has no golden cases, and needs a `source`, as `export` takes it by name, with the `checkpoint`,
    `checkpoint_key`, `config` and `revision` that it was exported with, and with `inputs_from` where the export had one;
    `task` is the recorded one where none is given; `download` lets it be fetched. `seed` is the export's; the fresh inputs are
    drawn with another. `mutate` changes the graphs in that many ways, drawn from `seed`, and counts how many the golden cases
    notice; what comes of it is told and fails nothing. `time_limit` is in seconds, of the replay, which then runs in a process
    of its own; what is compared with PyTorch runs in this one. Raises ParityError, with a table of the worst elements, where an
    answer differs; UsageError, BundleError, StageError when the time is over, and what `attn_runtime.open_session` raises.
    """
    path, console = Path(path), console or Console(quiet=True)
    if source is None and (checkpoint or checkpoint_key or config or inputs_from or task or revision or download):
        raise UsageError(
            "--checkpoint, --checkpoint-key, --config, --inputs-from, --task, --revision and --download belong to a SOURCE; "
            "name it after the path"
        )
    # The replay may take minutes, and what is named wrong is named wrong before it as well.
    if source is not None and source.endswith(".pt2") and not is_file(source):
        raise CheckpointError(f"program {source}: {irregular(source) or 'no such file'}")
    if checkpoint is not None and not is_file(checkpoint) and not is_folder(checkpoint):
        raise CheckpointError(f"checkpoint {Path(checkpoint)}: {irregular(checkpoint) or 'no such file'}")
    if mutate is not None:
        _check_mutate(mutate, path)
    if time_limit is not None and path.is_file():
        raise UsageError(
            f"--time-limit: {path.name} is a plain ONNX file, without golden cases to replay; name a bundle"
        )
    options: dict[str, Any] = {"backend": backend, "device": device, "precision": precision, "graph": graph}
    whole = source is None or is_folder(path)
    replay = _replay(path, options | {"time_limit": time_limit}, console) if whole else None
    weights = None if checkpoint is None else Path(checkpoint)
    given: dict[str, Any] = {
        "checkpoint": weights,
        "checkpoint_key": checkpoint_key,
        "config": config,
        "inputs_from": inputs_from,
    }
    given |= {"task": task, "revision": revision, "download": download}
    live = None if source is None else _live(path, source, seed, given | options, console)
    if mutate is None:
        return Verified(replay, live)
    from .mutation import measure_power

    mutation = measure_power(path, mutate, precision=precision, graph=graph, seed=seed, console=console)
    return Verified(replay, live, mutation)


def _check_mutate(mutate: int, path: Path) -> None:
    if mutate < 1:
        raise UsageError(f"--mutate {mutate}: expected 1 mutant or more")
    if is_file(path):
        raise UsageError(
            f"--mutate: {path.name} is a plain ONNX file, without golden cases to notice a change; name a bundle"
        )


def _live(path: Path, source: str, seed: int, options: dict[str, Any], console: Console) -> tuple[Check, ...]:
    with console.stage("live") as line:
        from .parity import verify_against

        checks = verify_against(path, source, seed=seed + 1, **options)
        worst = max(c.difference.relative_error for c in checks)
        line.done(f"{len(checks)} comparisons with PyTorch, worst error {worst:.1e} of max|reference|")
    return tuple(checks)


def _replay(path: Path, options: dict[str, Any], console: Console) -> VerifyReport:
    from attn_runtime import verify as replay_golden_cases

    with console.stage("replay") as line:
        report = replay_golden_cases(path, **options)
        worst = max(d.relative_error for c in report.cases for d in c.differences)
        rows = [r for r in report.generation if r.row is not None]
        written = f", {sum(r.same for r in rows)} of {len(rows)} generated answers PyTorch's" if rows else ""
        line.done(
            f"{len(report.cases)} golden cases, worst error {worst:.1e} of max|reference|{written}; {report.choice}"
        )
    return report
