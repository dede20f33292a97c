"""OpenVINO on an ONNX file, compiled for the sizes that it is asked for; started by precision_bench.py in a venv of its own.

    python openvino_peer.py MODEL.onnx THREADS PRECISION

PRECISION is what OpenVINO is told to compute in, "f32" or "bf16"; "default" tells it nothing. Asked {"inputs": FILE.npz,
"calls": 3, "answers": FILE.npy}, it answers {"seconds": [of each call], "computes": ...} and writes its first output.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import openvino
from answering import Told


def main() -> None:
    told = Told()
    path, threads, precision = sys.argv[1], sys.argv[2], sys.argv[3]
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if precision != "default":
        settings["INFERENCE_PRECISION_HINT"] = precision
    opened: dict[str, Any] = {}

    def handle(asked: dict[str, Any]) -> dict[str, Any]:
        values = dict(np.load(asked["inputs"]))
        key = str({name: value.shape for name, value in values.items()})
        if key not in opened:
            model = core.read_model(path)
            model.reshape({name: list(value.shape) for name, value in values.items()})
            compiled = core.compile_model(model, "CPU", settings)
            opened[key] = compiled, compiled.create_infer_request()
        compiled, request = opened[key]
        seconds = []
        for _ in range(asked["calls"]):
            started = time.perf_counter()
            request.infer(values)
            seconds.append(time.perf_counter() - started)
        if asked.get("answers"):
            np.save(asked["answers"], request.get_output_tensor(0).data)
        computes = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        return {"seconds": seconds, "computes": computes}

    told.serve(handle, ["openvino"])


if __name__ == "__main__":
    main()
