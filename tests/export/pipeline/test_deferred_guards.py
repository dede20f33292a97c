"""Where torch.export's rules are put off, the checks decide: what is right everywhere is written and says so."""

from __future__ import annotations

import json
from pathlib import Path

import attn_export
import pytest
from attn_export import ExportOptions
from attn_runtime.errors import AttnError
from support.models.rare_nets import Sized, padded_unless_it_fits, padded_windows

INPUTS, DIMS = ["x:float32[B,T,16]"], ["B=1:2:3", "T=3:14:30"]


def test_a_right_graph_is_written_and_the_manifest_says_how_it_came_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attn_export.export(Sized(padded_windows).eval(), tmp_path / "net.attn", inputs=INPUTS, dims=DIMS)
    manifest = json.loads((tmp_path / "net.attn" / "manifest.json").read_text())
    graph = manifest["graphs"]["model"]
    (cure,) = [c["did"] for c in graph["cures"] if c["name"] == "deferred-guards"]
    assert cure.startswith(
        "traced by the example's branches, since torch.export's own rules refuse the module (dim T was "
    )
    assert "rare_nets.py" in cure
    assert "sizes that take another branch are checked too (B != 1" in cure
    sweep = graph["sweep"]
    asked = [dict(zip(sweep["dims"], sizes, strict=True)) for sizes in sweep["sizes"]]
    assert {"B": 1, "T": 3} in asked


@pytest.mark.parametrize("sweep", [0, None])
def test_a_graph_that_is_wrong_at_a_few_sizes_is_not_written(tmp_path: Path, sweep: float | None) -> None:
    """At multiples of 8 alone, which no corner is; those sizes are asked with the sweep left out, too."""
    with pytest.raises(AttnError) as refused:
        attn_export.export(
            Sized(padded_unless_it_fits).eval(),
            tmp_path / "net.attn",
            inputs=INPUTS,
            dims=DIMS,
            options=ExportOptions(sweep=sweep),
        )
    assert refused.value.exit_code in (3, 4)
    text = str(refused.value)
    assert "it was captured where (T % 8) != 0, and elsewhere it is not PyTorch's at " in text
    assert '"if x.shape[1] % 8:"' in text
    assert not (tmp_path / "net.attn").exists()
