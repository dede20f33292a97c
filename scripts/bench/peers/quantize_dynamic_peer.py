"""ONNX Runtime's own quantize_dynamic; started by precision_bench.py in a venv of its own.

    python quantize_dynamic_peer.py MODEL.onnx THREADS TARGET.onnx

Quantises into TARGET, weights in int8 per channel, where it is not there. Asked and answering as openvino_peer.py.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from answering import Told
from onnxruntime.quantization import QuantType, quantize_dynamic


def main() -> None:
    told = Told()
    source, threads, target = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial.onnx")
        model = onnx.load(source)
        # It transposes the weights of some Gemm, and then refuses what the graph says of their old shapes.
        del model.graph.value_info[:]
        quantize_dynamic(model, partial, weight_type=QuantType.QInt8, per_channel=True)
        partial.replace(target)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(target, options, providers=["CPUExecutionProvider"])

    def handle(asked: dict[str, Any]) -> dict[str, Any]:
        values = dict(np.load(asked["inputs"]))
        binding = session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
        first = session.get_outputs()[0].name
        binding.bind_output(first, "cpu")
        seconds = []
        for _ in range(asked["calls"]):
            started = time.perf_counter()
            session.run_with_iobinding(binding)
            seconds.append(time.perf_counter() - started)
        if asked.get("answers"):
            np.save(asked["answers"], binding.copy_outputs_to_cpu()[0])
        return {"seconds": seconds, "computes": "int8, dynamic"}

    told.serve(handle, ["onnxruntime", "onnx"])


if __name__ == "__main__":
    main()
