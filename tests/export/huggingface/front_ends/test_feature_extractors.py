"""The layers in front of a model against transformers' own feature extractors, on sounds of several kinds."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from attn_export.huggingface.front_ends import FrontEnd, feature_extractors, front_end
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim
from torch import nn

SECONDS, RATE = 2, 16000
#: Kind -> its extractor, and the model's input.
KINDS: dict[str, tuple[Any, str]] = {
    "ast": (lambda: transformers.ASTFeatureExtractor(num_mel_bins=64, max_length=150), "input_values"),
    "ast, as it is": (lambda: transformers.ASTFeatureExtractor(num_mel_bins=40, do_normalize=False), "input_values"),
    "lasr": (lambda: transformers.LasrFeatureExtractor(), "input_features"),
    "parakeet": (lambda: transformers.ParakeetFeatureExtractor(), "input_features"),
    "parakeet, no emphasis": (
        lambda: transformers.ParakeetFeatureExtractor(preemphasis=None, win_length=500, feature_size=40), "input_features"
    ),
    "seamless": (lambda: transformers.SeamlessM4TFeatureExtractor(), "input_features"),
    "speech to text": (lambda: transformers.Speech2TextFeatureExtractor(), "input_features"),
    "speech to text, means": (lambda: transformers.Speech2TextFeatureExtractor(normalize_vars=False), "input_features"),
    "speech to text, deviations": (lambda: transformers.Speech2TextFeatureExtractor(normalize_means=False), "input_features"),
    "speech to text, neither": (lambda: transformers.Speech2TextFeatureExtractor(do_ceptral_normalize=False), "input_features"),
    "wav2vec2": (lambda: transformers.Wav2Vec2FeatureExtractor(), "input_values"),
    "wav2vec2, as it is": (lambda: transformers.Wav2Vec2FeatureExtractor(do_normalize=False), "input_values"),
    "speecht5": (lambda: transformers.SpeechT5FeatureExtractor(do_normalize=True), "input_values"),
    "whisper": (lambda: transformers.WhisperFeatureExtractor(chunk_length=SECONDS), "input_features"),
    "whisper v3": (lambda: transformers.WhisperFeatureExtractor(chunk_length=SECONDS, feature_size=128), "input_features"),
}  # fmt: skip
#: Largest difference of each sound, in the features' own unit (their largest values are 1 to 16).
APART = {"noise": 2e-4, "speech": 2e-4, "offset": 5e-3}


def model(takes: str, **config: Any) -> nn.Module:
    made = nn.Module()
    made.main_input_name, made.config = takes, SimpleNamespace(**config)  # type: ignore[assignment]
    return made


def folder(extractor: Any, path: Path) -> SimpleNamespace:
    extractor.save_pretrained(path)
    return SimpleNamespace(folder=path, config=None, notes=[])


def sounds(samples: int) -> dict[str, np.ndarray]:
    random, time = np.random.default_rng(3), np.arange(samples) / RATE
    noise = 0.1 * random.standard_normal(samples)
    voiced = sum(np.sin(2 * np.pi * 140 * n * time) / n for n in range(1, 9)) * np.sin(2 * np.pi * 4 * time) ** 2
    speech = np.where(time < 0.6 * samples / RATE, 0.1 * voiced + 0.02 * noise, 0)
    found = {"noise": noise, "speech": speech, "offset": 0.1 * noise + 0.3, "silence": np.zeros(samples),
             "tone": np.sin(2 * np.pi * 440 * time)}  # fmt: skip
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def both(kind: str, path: Path, samples: int) -> tuple[FrontEnd, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    make, takes = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = make()
        made = front_end(folder(extractor, path), model(takes))
        assert made is not None and made.takes == takes
        found = {}
        for name, sound in sounds(samples).items():
            theirs = torch.as_tensor(np.asarray(extractor(sound, sampling_rate=RATE)[takes][0]))
            theirs = theirs[:-1] if "parakeet" in kind else theirs  # the last one is masked
            found[name] = theirs, made(torch.from_numpy(np.stack([sound, sound[::-1]])))[0]
    return made, found


@pytest.mark.parametrize("kind", KINDS)
def test_layers_answer_what_the_extractor_does(kind: str, tmp_path: Path) -> None:
    made, found = both(kind, tmp_path, SECONDS * RATE if "whisper" in kind else 20080)  # an even number of frames
    assert made.worst < 1e-4
    assert made.recipe == {"input": "waveform", "sample_rate": RATE, "pad": "end", "cut": "end"}
    for name, apart in APART.items():
        theirs, ours = found[name]
        assert ours.shape == theirs.shape and ours.dtype == torch.float32
        assert float(theirs.std()) > 0.005
        np.testing.assert_allclose(ours, theirs, atol=apart, rtol=0, err_msg=name)


@pytest.mark.parametrize("kind", ["ast", "whisper", "wav2vec2", "seamless"])
def test_silence_and_a_tone(kind: str, tmp_path: Path) -> None:
    _, found = both(kind, tmp_path, SECONDS * RATE)
    # What seamless makes of silence is its own rounding noise over next to nothing.
    np.testing.assert_allclose(found["silence"][1], found["silence"][0], atol=5e-3 if kind == "seamless" else 1e-6)
    theirs, ours = found["tone"]
    if kind == "seamless":  # bands far from a tone hold the rounding of either transform, which is then scaled up
        assert float((ours - theirs).abs().mean()) < 0.2
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_silence_is_next_to_nothing_where_transformers_divides_by_zero(tmp_path: Path) -> None:
    theirs, ours = both("speech to text", tmp_path, 20000)[1]["silence"]
    assert not bool(theirs.isfinite().all()), "transformers 5.23 and numpy 2; else this can go"
    assert float(ours.abs().max()) < 2e-3


def test_an_odd_frame_of_seamless_is_left_out(tmp_path: Path) -> None:
    theirs, ours = both("seamless", tmp_path, 400 + 160 * 16)[1]["noise"]
    assert len(theirs) == 9 and len(ours) == 8
    np.testing.assert_allclose(ours, theirs[:8], atol=1e-4)


def test_recordings_that_are_too_short_or_long_for_ast(tmp_path: Path) -> None:
    made, found = both("ast", tmp_path, 5000)
    assert [made.input.dims[1].min, made.input.dims[1].max] == [560, 400 + 149 * 160]
    theirs, ours = found["noise"]
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert float(ours[40:].std()) == 0, "behind it the filter bank is zeros, not silence"
    theirs, ours = both("ast", tmp_path, 40000)[1]["noise"]
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_models_of_other_inputs_and_folders_without_an_extractor(tmp_path: Path) -> None:
    assert front_end(folder(transformers.Wav2Vec2FeatureExtractor(), tmp_path), model("input_ids")) is None
    bare = SimpleNamespace(folder=tmp_path / "none", config=None, notes=[])
    assert front_end(bare, model("input_values")) is None
    assert bare.notes == ["the folder has no feature extractor: the graph takes input_values, and no recording"]


def test_what_has_no_layers_is_refused_by_name(tmp_path: Path) -> None:
    saved = folder(transformers.ClapFeatureExtractor(), tmp_path)
    with pytest.raises(UsageError, match="feature extractor ClapFeatureExtractor: there are no layers .*Whisper"):
        front_end(saved, model("input_features"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("{", "can't be read"),
        ('{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 10}', "sampling_rate is 10, expected 1000"),
        ('{"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 40}', "makes 40 mel bands, and Module takes 80"),
    ],
)  # fmt: skip
def test_settings_that_make_no_front_end(config: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(config)
    saved = SimpleNamespace(folder=tmp_path, config=None, notes=[])
    with pytest.raises(UsageError, match=expected):
        front_end(saved, model("input_features", num_mel_bins=80))


def test_an_extractor_that_answers_otherwise_than_its_layers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(extractor: Any) -> tuple[nn.Module, Dim]:
        return nn.Identity(), Dim("samples", 1600, 1600, 3200)

    monkeypatch.setitem(feature_extractors._KINDS, "Wav2Vec2FeatureExtractor", wrong)
    with pytest.raises(
        UsageError, match="its layers are .* apart from it, expected at most 1e-03; .*do_normalize=True"
    ):
        front_end(folder(transformers.Wav2Vec2FeatureExtractor(), tmp_path), model("input_values"))


def test_noise_that_an_extractor_adds_is_left_out_and_told(tmp_path: Path) -> None:
    saved = folder(transformers.WhisperFeatureExtractor(chunk_length=1, dither=0.1), tmp_path)
    assert front_end(saved, model("input_features")) is not None
    assert saved.notes == ["the noise that WhisperFeatureExtractor adds (dither 0.1) is left out: answers repeat"]


class Together(nn.Module):
    """Every front end on one waveform."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part(waveform) for part in self.parts)


def test_front_ends_are_exported_without_a_transform_operator(tmp_path: Path) -> None:
    import onnx
    import onnxruntime as ort

    parts: list[nn.Module] = []
    for kind in ("ast", "lasr", "parakeet", "seamless", "speech to text", "wav2vec2", "whisper"):
        make, takes = KINDS[kind]
        made = front_end(folder(make(), tmp_path), model(takes))
        assert made is not None
        parts.append(made)
    together, file = Together(parts).eval(), tmp_path / "net.onnx"
    sound = torch.from_numpy(np.stack([sounds(SECONDS * RATE)[name] for name in ("noise", "speech")]))
    torch.onnx.export(together, (sound,), file, dynamo=True, verbose=False)
    kinds = {node.op_type for node in onnx.load(file).graph.node}
    assert "Conv" in kinds and not kinds & {"STFT", "DFT", "MelWeightMatrix"}
    made_by_ort = ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"waveform": sound.numpy()})
    for ours, expected in zip(made_by_ort, together(sound), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-3)
