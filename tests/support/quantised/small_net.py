"""A small classifier to be quantised, and its weights spoilt."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from torch import Tensor, nn

from support.models import deep_nets


class Net(nn.Module):
    """Attention, a wide layer and a head, whose weights have a thousand elements each; answers of several sizes."""

    def __init__(self) -> None:
        super().__init__()
        deep_nets.torch.manual_seed(1)
        self.attention, self.head = deep_nets.SelfAttention(64, 4), nn.Linear(64, 24)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x + self.attention(x)).mean(1))


def export_small(folder: Path) -> None:
    """FOLDER/small.attn, fp32 alone, with labels."""
    from attn_export import ExportOptions, export
    from attn_export.source.resolve import load_source

    assets = folder / "assets"
    assets.mkdir()
    (assets / "labels.json").write_text(str([f"class {n}" for n in range(24)]).replace("'", '"'))
    source = load_source(
        "support.quantised.small_net:Net", inputs=["x:float32[batch,T,64]"], dims=["batch=1:2:3", "T=4:8:12"],
        asset_folder=assets,
    )  # fmt: skip
    export(source, folder / "small.attn", options=ExportOptions(sweep=0))


def spoil(bundle: Path, name: str) -> None:
    """Turn the sign of half of the largest weight, and store the file's new hash."""
    file = bundle / f"model.{name}.onnx"
    model = onnx.load(file)
    kinds = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT8E4M3FN}
    found = max(
        (t for t in model.graph.initializer if t.data_type in kinds), key=lambda t: int(np.prod(t.dims, dtype=int))
    )
    data = np.frombuffer(found.raw_data, np.uint8).copy()
    data[: len(data) // 2] ^= 0x88
    found.raw_data = data.tobytes()
    onnx.save(model, file)
    manifest = json.loads((bundle / "manifest.json").read_text())
    data = file.read_bytes()
    manifest["files"][file.name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
