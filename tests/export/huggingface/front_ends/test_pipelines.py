"""Saved folders behind their front ends against transformers' own pipelines, on recordings of several lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from attn_export import export
from attn_export.pipeline import ExportOptions
from attn_runtime import classify, transcribe
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.tasks.transcription.ctc import CtcReader
from support.sound.saved_folders import RATE, Heard, ctc_folder, sound, spec, spectrogram_folder

#: Samples of a window, and of recordings: of less than one, of one, of a few and of some that ends within a frame.
WINDOW, LENGTHS = 4000, (3000, 4000, 9876, 21111)


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ctc_folder(tmp_path_factory.mktemp("folders") / "ctc")


def pipeline_texts(folder: Path) -> list[str]:
    loaded = {
        "tokenizer": transformers.AutoTokenizer.from_pretrained(folder),
        "feature_extractor": transformers.AutoFeatureExtractor.from_pretrained(folder),
    }
    model = transformers.Wav2Vec2ForCTC.from_pretrained(folder).eval()
    pipeline = transformers.pipeline("automatic-speech-recognition", model=model, **loaded)
    return [pipeline(sound(samples, samples), chunk_length_s=WINDOW / RATE)["text"] for samples in LENGTHS]


class TorchSession:
    """PyTorch in place of an engine."""

    where = "PyTorch"

    def __init__(self, module: torch.nn.Module, inputs: Any, outputs: Any, assets: Any) -> None:
        self.module, self.inputs, self.outputs, self.assets = module, inputs, outputs, assets

    def asset(self, name: str) -> Any:
        return self.assets.get(f"{name}.json")

    def run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"logits": self.module(torch.from_numpy(feed["waveform"])).numpy()}


def test_windows_of_a_ctc_head_write_what_the_pipeline_writes(ctc: Path) -> None:
    made = spec(str(ctc), 200, WINDOW)
    (graph,) = made.graphs
    assert made.assets is not None
    module = graph.view(made.build())
    assert isinstance(module, Heard)
    session: Any = TorchSession(module.eval(), graph.inputs, graph.outputs, made.assets())
    reader = CtcReader(session, session.asset("ctc"))
    texts = []
    for samples in LENGTHS:
        windows = reader.windows(samples)
        assert len(windows) == {3000: 1, 4000: 1, 9876: 4, 21111: 8}[samples]
        texts.append(reader.read(sound(samples, samples)[None], windows)[0])
    assert texts == pipeline_texts(ctc)
    assert len(set(texts[-1])) > 6, "letters that change with what is heard"


@pytest.mark.full
def test_an_exported_ctc_head_writes_what_the_pipeline_writes(ctc: Path, tmp_path: Path) -> None:
    config = [f"folder={ctc}", "least=200", f"most={WINDOW}"]
    export("support.sound.saved_folders:spec", tmp_path / "ctc.attn", options=ExportOptions(config=config))
    files = []
    for samples in LENGTHS:
        files.append(str(tmp_path / f"{samples}.wav"))
        write_wav(Path(files[-1]), sound(samples, samples), RATE)
    done = transcribe(tmp_path / "ctc.attn", files, device="cpu")
    assert [one.text for one in done.recordings] == pipeline_texts(ctc)


@pytest.mark.full
def test_an_exported_spectrogram_transformer_classifies_as_the_pipeline_does(tmp_path: Path) -> None:
    folder, rate = spectrogram_folder(tmp_path / "ast"), 16000
    options = ExportOptions(config=[f"folder={folder}"])
    export("support.sound.saved_folders:spec", tmp_path / "ast.attn", options=options)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model = transformers.ASTForAudioClassification.from_pretrained(folder).eval()
    pipeline = transformers.pipeline("audio-classification", model=model, feature_extractor=extractor)
    for samples in (1000, 5360, 9000):  # one that is filled up, one that fits, one that is cut
        write_wav(tmp_path / "x.wav", sound(samples, samples, rate), rate)
        (found,) = classify(tmp_path / "ast.attn", [str(tmp_path / "x.wav")], device="cpu", top=5).inputs
        expected = pipeline(sound(samples, samples, rate))
        assert [guess.label for guess in found.guesses] == [guess["label"] for guess in expected]
        np.testing.assert_allclose([g.probability for g in found.guesses], [g["score"] for g in expected], atol=1e-4)
