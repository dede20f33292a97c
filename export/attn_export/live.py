"""A bundle against the living module: fresh inputs at every corner, answered by PyTorch now and by a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attn_runtime.compare import compare_all
from attn_runtime.draw import draw_inputs
from attn_runtime.session import open_session

from .cases import corner_cases
from .check import Check, parity_error
from .reference import ask
from .signature import Signature
from .source import Source


def verify_live(
    bundle: Path,
    source: Source,
    *,
    backend: str | None = None,
    device: str = "auto",
    seed: int = 1,
    tell: Callable[[Check], None] = lambda _: None,
) -> list[Check]:
    """Checks of every output at every corner of the bundle's own ranges, all passed.

    Raises ParityError otherwise, with the same table as an export. `seed` should not be the export's: the point is to
    see inputs that the golden cases do not hold.
    """
    from attn_runtime.bundle import Bundle

    graph = Bundle.open(bundle).graph()
    tolerance = graph.precisions["fp32"].tolerance
    signature = Signature(source.module, graph.inputs, [o.name for o in graph.outputs])
    checks: list[Check] = []
    with open_session(bundle, device=device, backend=backend) as session:
        for number, case in enumerate(corner_cases(graph.inputs)):
            answer = ask(signature, case, draw_inputs(graph.inputs, case.sizes, seed + number))
            for difference in compare_all(answer.outputs, session.run(answer.inputs), tolerance):
                checks.append(Check(case, difference))
                tell(checks[-1])
    if any(not c.difference.passed for c in checks):
        raise parity_error(str(bundle), checks, tolerance)
    return checks
