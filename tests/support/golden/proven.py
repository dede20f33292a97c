"""Golden cases for a bundle whose graph was made by hand: what ONNX Runtime answers, as if it were PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.bundle.known_hashes import sha256_of
from attn_runtime.bundle.tensor_files import write_tensors
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.session import open_session


def proven(bundle: Path, wrong: float = 0.0) -> Path:
    """The bundle with a case for each of its graphs, at the usual sizes. Recorded answers are `wrong` by so much."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "golden").mkdir(exist_ok=True)
    for name, graph in manifest["graphs"].items():
        with open_session(bundle, graph=name) as session:
            sizes = {d.name: d.opt for spec in session.inputs for d in spec.dims if d.name is not None}
            inputs = draw_inputs(session.inputs, sizes, 0)
            outputs = {name: value + wrong for name, value in session.run(inputs).items()}
        files = {side: f"golden/{name}.one.{side}.safetensors" for side in ("inputs", "outputs")}
        for side, arrays in (("inputs", inputs), ("outputs", outputs)):
            file = bundle / files[side]
            write_tensors(file, {n: np.ascontiguousarray(a, np.asarray(a).dtype) for n, a in arrays.items()})
            manifest["files"][files[side]] = {"sha256": sha256_of(file), "size": file.stat().st_size}
        case: dict[str, Any] = {"case": "one", "sizes": sizes, "checked_sizes": sizes, "seed": 0, **files}
        graph["golden"] = [case]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle
