"""What PyTorch answers: the module in eval mode, at every case, recorded once and never asked again."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError, UsageError

from ..quiet import captured_output
from .fills import fill_ranges
from .repeated_answers import refuse_state, state_before
from .settled_answers import chooses, settled_draw
from .shape_cases import example_name
from .signature import Signature, to_numpy, to_torch
from .value_cases import value_cases


@contextmanager
def fastpath_disabled() -> Iterator[None]:
    """Keeps PyTorch's inference shortcut for nn.TransformerEncoder and nn.MultiheadAttention off while it is open.

    In eval mode these switch to fused kernels over nested tensors, which answer zeros at padded positions, cut the output
    to the longest row, and fail on a row that is all padding. The graph follows the module's own arithmetic, and so must
    the reference.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def run_module(signature: Signature, case: Case[Arrays], inputs: Arrays) -> Case[Arrays]:
    """`case` with these inputs, and what the module answers to them. CaptureError, naming the shape, when it fails there."""
    try:
        with captured_output(), torch.inference_mode(), fastpath_disabled():
            outputs = to_numpy(signature(to_torch(inputs)))
    except CaptureError:
        raise
    except (Exception, SystemExit) as problem:
        if type(problem).__module__.startswith("attn_"):
            raise
        shapes = ", ".join(f"{n} {v.dtype.name}{list(v.shape)}" for n, v in inputs.items())
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:300]
        raise CaptureError(
            f'PyTorch itself fails at case "{case.name}" ({shapes}): {type(problem).__name__}: {reason}. '
            "Narrow the range or fix the dim with --dim, draw inputs that must fit one another with --inputs-from, or mend "
            "the module."
        ) from problem
    return replace(case, inputs=inputs, outputs=outputs)


def record_answers(
    signature: Signature,
    cases: Sequence[Case[Arrays]],
    seed: int,
    examples: Sequence[Arrays] = (),
    tell: Callable[[str], None] = lambda _: None,
    tolerance: Tolerance = Tolerance(),  # noqa: B008  (frozen)
) -> list[Case[Arrays]]:
    """PyTorch's answers at every case, on inputs drawn from `seed`, and on each of the user's examples.

    Raises CaptureError when two calls on the same input differ by more than `tolerance` (dropout left on, noise), and
    when calls change the module: nothing could be held against such a module (`repeated_answers`). UsageError for sizes
    beyond memory.
    """
    before = state_before(signature.module)

    def ask(case: Case[Arrays], inputs: Arrays) -> Case[Arrays]:
        return run_module(signature, case, inputs)

    if cases and chooses(ask, *_drawn(signature, cases[0], seed)):
        signature.draw = settled_draw(signature.draw, ask, tolerance)
    answers = [run_module(signature, *_drawn(signature, case, seed + number)) for number, case in enumerate(cases)]
    for number, example in enumerate(examples, 1):
        sizes = {
            d.name: n for s in signature.inputs for d, n in zip(s.dims, example[s.name].shape, strict=True) if d.name
        }
        inputs = {s.name: example[s.name] for s in signature.inputs}
        answers.append(run_module(signature, Case(example_name(number), sizes, {}, {}), inputs))
    # Beside a fill, nothing else would show.
    tolerance = replace(tolerance, fills=fill_ranges(answers))

    def other() -> Case[Arrays]:
        case, inputs = _drawn(signature, answers[0], seed + len(answers))
        return replace(case, inputs=inputs)

    refuse_state(
        before, answers, lambda answer: run_module(signature, answer, answer.inputs), other, tolerance, signature.took
    )
    unusual = value_cases(
        signature.inputs,
        signature.draw,
        ask,
        tolerance,
        seed + len(cases),
        sum(p.numel() * p.element_size() for p in signature.module.parameters()),  # sparse ones have no nbytes
    )
    answers.extend(unusual.answers)
    for text in unusual.left_out:
        tell(f"case {text}; it is left out")
    for answer in answers:
        for name, value in answer.outputs.items():
            if value.dtype.kind == "f" and value.size and (nan := int(np.isnan(value).sum())):
                if nan == value.size:
                    raise CaptureError(
                        f'PyTorch answers only NaN in output "{name}" at case "{answer.name}" (such as where a mask leaves '
                        "no position), so parity would prove nothing; draw inputs that it answers with --inputs-from, or "
                        "raise the least sizes with --dim"
                    )
                tell(f'PyTorch answers NaN in {nan} of {value.size} values of "{name}" at case "{answer.name}"')
    return answers


def _drawn(signature: Signature, case: Case[Arrays], seed: int) -> tuple[Case[Arrays], Arrays]:
    """The case at the sizes that were drawn, and its inputs."""
    size = sum(math.prod(s.shape(case.sizes)) * np.dtype(s.dtype).itemsize for s in signature.inputs)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 4:
        sizes = ", ".join(f"{n}={s}" for n, s in case.sizes.items())
        raise UsageError(
            f'case "{case.name}" ({sizes}) has {size / 1e9:.0f} GB of inputs, and this machine {memory / 1e9:.0f} GB of '
            "memory; narrow the range with --dim"
        )
    drawn = signature.draw(case.sizes, seed)
    return replace(case, sizes=drawn.sizes), drawn.inputs
