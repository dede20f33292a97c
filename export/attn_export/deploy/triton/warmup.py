"""Warm-up requests from the golden inputs: what the server runs before it says that it is ready.

Triton takes the raw bytes of one item of a batch, and repeats it to the batch that is asked for; where it does not batch,
those of the whole request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from attn_runtime.bundle import Arrays, Case

from .config import Message, Signature, data_type
from .text_proto import Map

#: The server reads all of them whenever it loads the model.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class WarmUp:
    """`messages` is the field model_warmup, `files` file name -> content, for the folder `warmup`."""

    messages: tuple[Message, ...]
    files: dict[str, bytes]


def warm_up(cases: Iterable[Case[Arrays]], signature: Signature) -> WarmUp:
    """One request for each golden case whose inputs hold something; those that would make the files huge are left out."""
    messages: list[Message] = []
    files: dict[str, bytes] = {}
    room = _MOST_BYTES
    for number, case in enumerate(cases):
        rows = next(iter(case.inputs.values())).shape[0] if signature.most else 1
        if rows > signature.most > 0:
            continue  # an engine may take fewer than the graph
        # Names of cases and tensors are free text, those of files are not.
        made: dict[str, bytes] = {}
        inputs = Map()
        for place, spec in enumerate(signature.inputs):
            array = case.inputs[spec.name]
            item = np.ascontiguousarray(array[0] if signature.most else array)
            file = f"{number}.{place}.bin"
            inputs[spec.name] = {
                "data_type": data_type(spec.dtype),
                "dims": list(item.shape) or [1],
                "input_data_file": file,
            }
            made[file] = item.tobytes()
        size = sum(map(len, made.values()))
        if size > room or not all(made.values()):
            continue
        room -= size
        files |= made
        messages.append({"name": case.name, "batch_size": rows, "inputs": inputs})
    return WarmUp(tuple(messages), files)
