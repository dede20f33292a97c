"""A small classifier to be quantised, and fronts that are timed for an instant."""

from __future__ import annotations

from pathlib import Path

import pytest
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


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each point of a front is timed for its least number of calls."""
    monkeypatch.setattr("attn_export.precision.quantised.speed.SECONDS", 0.0)
