"""The keyword spotter: its spectrum against another's, in half precision too; its attention; its spoken and stored words."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from attn_models.data.speech import espeak, splits, stored_words
from attn_models.data.speech.espeak import LABELS, PARTS, SAMPLES, SILENCE, SPEAKERS, plan
from attn_models.layers import BANDS, FLOOR, HOP, WINDOW
from attn_models.zoo.keywords import MODEL, AttentionPooling, KeywordNet, assets
from attn_runtime.bundle.manifest import check_asset
from attn_runtime.errors import UsageError


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return KeywordNet().eval()


@torch.no_grad()
def test_logits_of_waveforms_and_of_their_spectra(net):
    noise = 2 * torch.rand(7, SAMPLES, generator=torch.Generator().manual_seed(0)) - 1
    wave = noise * torch.linspace(1, 0, 7)[:, None]
    logits = net(wave)
    assert logits.shape == (len(wave), len(LABELS))
    assert logits.isfinite().all()
    torch.testing.assert_close(net(net.spectrum(wave)), logits)
    assert (logits[0] - logits[-1]).abs().max() > 1e-2


@torch.no_grad()
def test_attention_pooling_is_a_weighted_mean_of_the_values():
    torch.manual_seed(1)
    pooling = AttentionPooling(12, heads=2).double()
    x = torch.randn(3, 5, 12, dtype=torch.float64)
    got = pooling(x)
    for b in range(3):
        for head in range(2):
            part = slice(6 * head, 6 * head + 6)
            scores = pooling.key(x[b])[:, part] @ pooling.question[0, head, 0] / 6**0.5
            torch.testing.assert_close(got[b, part], scores.softmax(0) @ pooling.value(x[b])[:, part])


@pytest.mark.parametrize(
    ("config", "told"), [({"heads": 5}, "multiple of heads, 5"), ({"samples": 100}, "expected 512")]
)
def test_a_wrong_setting_is_a_usage_error(config, told):
    with pytest.raises(UsageError, match=told):
        MODEL.build(**config)


def test_assets_have_their_published_form():
    check_asset("audio", assets()["audio.json"], "here")
    check_asset("labels", assets()["labels.json"], "here")


# --- the words -----------------------------------------------------------------------------------------------------


def test_no_speaker_is_in_two_parts_and_the_plan_is_fixed():
    takes = plan()
    assert takes == plan()
    speakers = {part: {t.voice.split("+")[1] for t in takes if t.part == part} for part in PARTS}
    assert all(speakers[part] >= set(SPEAKERS[part].split()) for part in PARTS)
    assert not speakers["train"] & speakers["test"] and not speakers["validation"] & (
        speakers["train"] | speakers["test"]
    )
    unknown = {part: {t.text for t in takes if t.part == part and LABELS[t.label] == "unknown"} for part in PARTS}
    assert not unknown["train"] & unknown["test"]
    assert not set.union(*unknown.values()) & set(LABELS)
    assert all(t.text == LABELS[t.label] for t in takes if LABELS[t.label] != "unknown")


def test_the_synthesiser_speaks_and_says_the_same_in_every_process():
    try:
        espeak.find()
    except UsageError as missing:
        pytest.skip(str(missing))
    script = (
        "import hashlib, numpy as np; from attn_models.data.speech.espeak import plan, spoken\n"
        "takes = plan()[::400]\n"
        "for take, sound in zip(takes, spoken(takes)):\n"
        "    assert sound.dtype == np.float32 and 1500 < len(sound) <= 16000 and abs(abs(sound).max() - 0.5) < 1e-3, take\n"
        "    print(take.text, len(sound), hashlib.sha256(sound.tobytes()).hexdigest())"
    )
    said = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60) for _ in range(2)
    ]
    assert said[0].returncode == 0, said[0].stderr
    lines = said[0].stdout.splitlines()
    assert said[1].stdout.splitlines() == lines
    assert len({line.split()[-1] for line in lines}) == len(lines) == len(plan()[::400])


def test_a_cache_is_read_and_its_words_lie_in_the_middle(tmp_path):
    from safetensors.numpy import save_file

    words = {
        "sounds": np.array([5, 6, 7, 8, 9], np.int16),
        "lengths": np.array([2, 3]),
        "labels": np.array([0, 1]),
        "parts": np.array([0, 2]),
    }
    save_file(words, tmp_path / "w.safetensors")
    parts = espeak.load(tmp_path / "w.safetensors")
    assert {part: len(clips.labels) for part, clips in parts.items()} == {"train": 1, "validation": 0, "test": 1}
    (clip,) = parts["test"].waveforms
    np.testing.assert_array_equal(np.flatnonzero(clip), [7998, 7999, 8000])


def test_disturbing_draws_from_the_generator_alone_and_keeps_to_full_scale():
    clips = torch.zeros(64, SAMPLES, dtype=torch.int16)
    clips[:32, 6000:10000] = (12000 * torch.sin(torch.arange(4000) * 0.3)).to(torch.int16)

    def drawn(seed: int, voices: bool) -> torch.Tensor:
        return splits.disturbed(clips, torch.Generator().manual_seed(seed), voices)

    for voices in (False, True):
        got = drawn(0, voices)
        assert got.dtype == torch.float32 and got.shape == clips.shape
        assert got.abs().max() <= 1 and got.isfinite().all()
        assert torch.equal(got, drawn(0, voices)) and not torch.equal(got, drawn(1, voices))
    levels = (got[:32] - got[:32].mean(1, keepdim=True)).abs().amax(1)
    assert levels.max() / levels.min() > 5
    quiet = got[32:] - got[32:].mean(1, keepdim=True)
    silent = quiet.abs().amax(1) < 1e-6
    assert 0 < silent.sum() < 16, "some silence is nothing at all"


def test_stored_words_stand_in_where_there_is_no_synthesiser(monkeypatch):
    def missing() -> None:
        raise UsageError("no speech synthesiser")

    monkeypatch.setattr(splits, "load", missing)
    recipe = splits.recipe()
    assert stored_words.FILE.stat().st_size < 1_000_000
    batch = recipe.train[:40]
    spectra = recipe.augment(dict(batch.inputs), torch.Generator().manual_seed(0))["waveform"]
    assert spectra.shape == (40, BANDS, (SAMPLES - WINDOW) // HOP + 1)
    assert spectra.isfinite().all() and spectra.min() >= math.log(FLOOR) - 0.1
    for split in (recipe.train, recipe.validation, recipe.test):
        counts = torch.bincount(split.targets, minlength=len(LABELS))
        assert counts.min() > 0
    torch.manual_seed(0)
    net = KeywordNet()
    loss = recipe.loss(net(waveform=spectra), batch.targets)
    assert loss.isfinite()
    assert (recipe.train.targets == LABELS.index(SILENCE)).float().mean() == pytest.approx(1 / 12, abs=0.01)
