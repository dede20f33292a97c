"""From the feature extractor of a folder to layers in front of the model, held against that extractor itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from attn_runtime.errors import UsageError
from attn_runtime.escape import printable
from attn_runtime.spec import Dim, TensorSpec, Values
from numpy.typing import NDArray
from torch import Tensor, nn

from ...quiet import captured_output
from .. import SavedModel, words_of
from .kaldi_fbank import FRAME, HOP, AudioSpectrogram, KaldiFbank, StackedFrames, UtteranceNormalization
from .log_mel import LasrLogMel, WhisperLogMel
from .nemo_log_mel import NemoLogMel
from .waveform_normalization import WaveformNormalization

#: The inputs by which models of transformers take a sound.
SOUND_INPUTS = ("input_values", "input_features")
#: The input of the graph, and the rows of it that are run at once.
WAVEFORM, BATCH = "waveform", Dim("batch", 1, 2, 8)
#: Seconds of a recording where the model leaves its length open: least, usual, most. What is longer is read in windows.
SECONDS = (0.1, 5.0, 10.0)
#: Rates that audio.json may name, in Hz, and the largest transform and filter bank that a folder may ask for.
RATES, MOST_LENGTH, MOST_BANDS = (1000, 384000), 1 << 13, 1 << 10
#: How far the layers may be from the extractor, of its largest value, on a sound of ours.
MOST_APART = 1e-3


class FrontEnd(nn.Module):
    """Waveform float32 [B, samples], full scale -1..1 -> what the model takes for its input `takes`.

    features   the layers that do so; nothing in them is trained
    takes      the model's own name of its input: input_values, input_features
    input      the spec of the waveform, to stand in place of that input's
    recipe     the bundle's audio.json
    worst      the largest difference from the folder's feature extractor on a sound of ours, as a share of its largest value
    """

    def __init__(self, features: nn.Module, takes: str, samples: Dim, rate: int, worst: float = 0.0) -> None:
        super().__init__()
        self.features, self.takes, self.worst = features, takes, worst
        self.input = TensorSpec(
            WAVEFORM,
            "float32",
            (BATCH, samples),
            meaning=f"a recording, mono, {rate} Hz, full scale -1..1",
            values=Values("normal", 0.0, 0.1, -1.0, 1.0),  # speech is about 20 dB below full scale
        )
        self.recipe = audio_recipe(rate)

    def forward(self, waveform: Tensor) -> Tensor:
        features: Tensor = self.features(waveform)
        return features


def audio_recipe(rate: int, name: str = WAVEFORM) -> dict[str, Any]:
    """audio.json of a front end whose waveform is the input `name`.

    As the extractors do: silence goes behind a recording that is too short, and one that is too long is cut there.
    """
    return {"input": name, "sample_rate": rate, "pad": "end", "cut": "end"}


def front_end(saved: SavedModel, model: nn.Module) -> FrontEnd | None:
    """The front end of `model`, as its folder's feature extractor has it.

    None where the model takes no sound, and, with a note, where the folder has no extractor; the graph then takes the model's
    own input. Raises UsageError for an extractor that this version has no layers for, by its class name, and for one that
    does not fit the model or answers otherwise than its layers.
    """
    takes = getattr(model, "main_input_name", None)
    if takes not in SOUND_INPUTS:
        return None
    extractor = feature_extractor(saved)
    if extractor is None:
        saved.notes.append(f"the folder has no feature extractor: the graph takes {takes}, and no recording")
        return None
    name = type(extractor).__name__
    if not is_known(extractor):
        raise UsageError(
            f"feature extractor {name}: there are no layers for it yet, expected one of {', '.join(_KINDS)}; load the model "
            "with a function of your own (SOURCE module.py:function) and export it with its features as the input"
        )
    _check(extractor, name, model)
    if getattr(extractor, "dither", 0.0):
        saved.notes.append(f"the noise that {name} adds (dither {extractor.dither:g}) is left out: answers repeat")
        extractor.dither = 0.0
    with captured_output():
        features, samples = _KINDS[name](extractor)
    features.eval().requires_grad_(False)
    worst = difference(features, extractor, takes, samples)
    if not worst <= MOST_APART:
        raise UsageError(
            f"feature extractor {name}: its layers are {worst:.1e} of its largest value apart from it, expected at most "
            f"{MOST_APART:.0e}; its settings have no form in the graph: {printable(_settings(extractor), 200)}"
        )
    return FrontEnd(features, takes, samples, extractor.sampling_rate, worst)


def feature_extractor(saved: SavedModel) -> Any | None:
    """The folder's own, of a class of transformers; None where it has none."""
    from transformers import AutoFeatureExtractor

    files = ("preprocessor_config.json", "processor_config.json")
    if not any((saved.folder / name).is_file() for name in files):
        return None
    try:
        with captured_output():  # it warns of mel bands that no frequency falls in, which are its own choice
            return AutoFeatureExtractor.from_pretrained(saved.folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a file that is not ours makes transformers raise
        raise UsageError(
            f"{printable(saved.folder.name)}: its feature extractor can't be read: {words_of(error, 160)}; check "
            f"{' and '.join(files)}"
        ) from error


def is_known(extractor: Any) -> bool:
    """Whether there are layers for an extractor."""
    return type(extractor).__name__ in _KINDS


def difference(features: nn.Module, extractor: Any, takes: str, samples: Dim) -> float:
    """The largest difference between both on a sound of ours, as a share of the largest value."""
    sound = test_sound(samples.min if samples.dynamic else samples.max, extractor.sampling_rate)
    told = extractor(sound, sampling_rate=extractor.sampling_rate)
    expected = torch.as_tensor(np.asarray(told[takes][0]))
    mask = np.asarray(told["attention_mask"][0], bool) if "attention_mask" in told else None
    if mask is not None and len(mask) == len(expected):
        expected = expected[torch.from_numpy(mask)]  # frames that it made and does not count
    with torch.no_grad():
        made = features(torch.from_numpy(sound)[None])[0]
    if made.shape != expected.shape:
        raise UsageError(
            f"feature extractor {type(extractor).__name__}: makes {list(expected.shape)} of {len(sound)} samples, its layers "
            f"{list(made.shape)}; its settings have no form in the graph: {printable(_settings(extractor), 200)}"
        )
    return float((made - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def test_sound(samples: int, rate: int) -> NDArray[np.float32]:
    """A tone that comes and goes in noise, float32 [samples]; the same for the same arguments."""
    time = np.arange(samples) / rate
    tone = 0.3 * np.sin(2 * np.pi * 0.05 * rate * time) * np.sin(2 * np.pi * 3 * time) ** 2
    return np.asarray(tone + 0.05 * np.random.default_rng(0).standard_normal(samples), np.float32)


def _settings(extractor: Any) -> str:
    values: Mapping[str, Any] = extractor.to_dict()
    return ", ".join(f"{key}={value}" for key, value in values.items() if isinstance(value, int | float | str))


def _check(extractor: Any, name: str, model: nn.Module) -> None:
    """UsageError for numbers that make no front end, or not one of this model."""
    limits = {"sampling_rate": RATES, "n_fft": (8, MOST_LENGTH), "hop_length": (1, MOST_LENGTH), "stride": (1, 16)}
    limits["win_length"] = (8, getattr(extractor, "n_fft", MOST_LENGTH))
    for key, (low, high) in (limits | {"num_mel_bins": (1, MOST_BANDS), "max_length": (1, 1 << 16)}).items():
        value = getattr(extractor, key, low)
        if not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"feature extractor {name}: {key} is {printable(str(value), 40)}, expected {low}..{high}")
    config: Any = model.config
    made = getattr(extractor, "num_mel_bins", extractor.feature_size)
    wanted = getattr(config, "num_mel_bins", None) or getattr(config, "input_feat_per_channel", None)
    if name != "SeamlessM4TFeatureExtractor" and wanted is not None and made not in (1, wanted):
        raise UsageError(f"feature extractor {name}: makes {made} mel bands, and {type(model).__name__} takes {wanted}")


# --- what each class means ----------------------------------------------------------------------------------------

Made = tuple[nn.Module, Dim]


def _open_length(rate: int, least: int = 0) -> Dim:
    low, usual, high = (round(seconds * rate) for seconds in SECONDS)
    return Dim("samples", max(low, least), max(usual, least), max(high, least))


def _whisper(extractor: Any) -> Made:
    made = WhisperLogMel(extractor.mel_filters, extractor.n_fft, extractor.hop_length)
    return made, Dim.fixed(extractor.n_samples)


def _waveform(extractor: Any) -> Made:
    return WaveformNormalization() if extractor.do_normalize else nn.Identity(), _open_length(extractor.sampling_rate)


def _ast(extractor: Any) -> Made:
    fbank = KaldiFbank(extractor.sampling_rate, extractor.num_mel_bins, "hann")
    scale = (extractor.mean, extractor.std) if extractor.do_normalize else (None, None)
    # From two frames (torch.export takes a size of one for fixed) to as many as the model sees.
    most = FRAME + HOP * max(1, extractor.max_length - 1)
    return AudioSpectrogram(fbank, extractor.max_length, *scale), Dim("samples", FRAME + HOP, most, most)


def _speech_to_text(extractor: Any) -> Made:
    fbank = KaldiFbank(extractor.sampling_rate, extractor.num_mel_bins, "povey", 32768.0)
    samples = _open_length(extractor.sampling_rate, FRAME + 15 * HOP)
    if not extractor.do_ceptral_normalize:
        return fbank, samples
    return UtteranceNormalization(fbank, extractor.normalize_means, extractor.normalize_vars), samples


def _lasr(extractor: Any) -> Made:
    made = LasrLogMel(extractor.mel_filters, extractor.win_length, extractor.n_fft, extractor.hop_length)
    return made, _open_length(extractor.sampling_rate, extractor.win_length + 15 * extractor.hop_length)


def _parakeet(extractor: Any) -> Made:
    sizes = (extractor.win_length, extractor.n_fft, extractor.hop_length)
    made = NemoLogMel(extractor.mel_filters, *sizes, extractor.preemphasis)
    return made, _open_length(extractor.sampling_rate, extractor.win_length + 15 * extractor.hop_length)


def _seamless(extractor: Any) -> Made:
    fbank = KaldiFbank(extractor.sampling_rate, extractor.num_mel_bins, "povey", 32768.0)
    return StackedFrames(fbank, extractor.stride), _open_length(extractor.sampling_rate, FRAME + 15 * HOP)


_KINDS: dict[str, Callable[[Any], Made]] = {
    "ASTFeatureExtractor": _ast,
    "LasrFeatureExtractor": _lasr,
    "ParakeetFeatureExtractor": _parakeet,
    "SeamlessM4TFeatureExtractor": _seamless,
    "Speech2TextFeatureExtractor": _speech_to_text,
    "SpeechT5FeatureExtractor": _waveform,
    "Wav2Vec2FeatureExtractor": _waveform,
    "WhisperFeatureExtractor": _whisper,
}
