"""The parity of AttentionNet is worth something only if its attention takes part; here it is taken out on purpose."""

from pathlib import Path

import pytest
import torch
from attn_export import export
from attn_export.parity.against_module import verify_against
from attn_export.source.resolve import load_source
from attn_models.zoo import attentionnet
from attn_runtime.errors import ParityError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("attention") / "net.attn"
    export(load_source("attentionnet"), target)
    return target


def test_with_its_attention_the_bundle_matches(bundle: Path) -> None:
    assert all(c.difference.passed for c in verify_against(bundle, "attentionnet"))


def test_without_the_attention_branch_parity_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attentionnet.SelfAttention, "forward", lambda self, x: x)
    with pytest.raises(ParityError):
        verify_against(bundle, "attentionnet")


def test_with_another_softmax_axis_parity_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda self, dim: real(self, 1))
    with pytest.raises(ParityError):
        verify_against(bundle, "attentionnet")


def test_asleep_it_would_have_passed_without_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why wake exists: with gamma at 0 the branch can be removed and nobody sees it."""
    source = load_source("attentionnet")
    with torch.no_grad():
        source.module.attention.gamma.zero_()
    weights = tmp_path / "asleep.pt"
    torch.save(source.module.state_dict(), weights)
    export(load_source("attentionnet", checkpoint=weights), tmp_path / "asleep.attn")
    monkeypatch.setattr(attentionnet.SelfAttention, "forward", lambda self, x: x)
    assert verify_against(tmp_path / "asleep.attn", "attentionnet", checkpoint=weights)
