"""What PyTorch answers: the module in eval mode, at every case, recorded once and never asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from attn_runtime.draw import draw_inputs
from attn_runtime.errors import CaptureError

from .cases import Case
from .chatter import hushed
from .eager import plain_attention
from .signature import Signature, to_numpy, to_torch

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Answer:
    """One case with the inputs drawn for it and PyTorch's outputs."""

    case: Case
    inputs: Arrays
    outputs: Arrays


def ask(signature: Signature, case: Case, inputs: Arrays) -> Answer:
    """Run the module once. CaptureError, naming the shape, when it fails there."""
    try:
        with hushed(), torch.inference_mode(), plain_attention():
            outputs = to_numpy(signature(to_torch(inputs)))
    except CaptureError:
        raise
    except Exception as problem:
        if type(problem).__module__.startswith("attn_"):
            raise
        shapes = ", ".join(f"{n} {v.dtype.name}{list(v.shape)}" for n, v in inputs.items())
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:300]
        raise CaptureError(
            f'PyTorch itself fails at case "{case.name}" ({shapes}): {type(problem).__name__}: {reason}. '
            "Narrow the range with --dim, or mend the module."
        ) from problem
    return Answer(case, inputs, outputs)


def record(
    signature: Signature,
    cases: Sequence[Case],
    seed: int,
    example: Arrays | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Answer]:
    """PyTorch's answers at every case, on inputs drawn from `seed`, and on the user's example when there is one.

    Raises CaptureError when two calls on the same input differ (dropout left on, noise): nothing could be held
    against such a module.
    """
    answers = [
        ask(signature, case, draw_inputs(signature.inputs, case.sizes, seed + number))
        for number, case in enumerate(cases)
    ]
    if example is not None:
        sizes = {
            d.name: n for s in signature.inputs for d, n in zip(s.dims, example[s.name].shape, strict=True) if d.name
        }
        answers.append(ask(signature, Case("example", sizes), {s.name: example[s.name] for s in signature.inputs}))
    again = ask(signature, answers[0].case, answers[0].inputs)
    for name, value in answers[0].outputs.items():
        second = again.outputs[name]
        if value.shape != second.shape or not np.allclose(value, second, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise CaptureError(
                f'PyTorch answers differently when asked twice (output "{name}"): something random is left on in eval '
                "mode, such as functional dropout without training=self.training"
            )
    for answer in answers:
        for name, value in answer.outputs.items():
            if value.dtype.kind == "f" and value.size and (nan := int(np.isnan(value).sum())):
                if nan == value.size:
                    raise CaptureError(
                        f'PyTorch answers only NaN in output "{name}" at case "{answer.case.name}"; parity would prove nothing'
                    )
                tell(f'PyTorch answers NaN in {nan} of {value.size} values of "{name}" at case "{answer.case.name}"')
    return answers
