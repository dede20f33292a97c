"""Every call that opens a graph keeps it where `cache` says, and answers the same from there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attn_runtime
import numpy as np
import pytest
from attn_runtime import GenerateOptions, run_file
from attn_runtime.preprocess.wav import write_wav
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.models import small_classifiers, tiny_generators
from support.models.tiny_texts import text_assets
from support.sound.small_transcribers import RATE, speller, writer
from support.texts.small_text_models import per_token, pooled, table

LM = tiny_generators.Tiny(encoder=False, layers=1, sharpness=1.0, seed=5, stop=(1,))
QUICK: dict[str, Any] = {"warmup_s": 0.0, "measure_s": 0.0, "min_runs": 1, "batches": [1]}
ANNA = table(2, anna=(1, 0), paris=(0, 3))


@dataclass(frozen=True)
class Call:
    """make: a bundle in a folder; call: what is asked of it, which answers `told`; graphs: how many are opened."""

    make: Callable[[Path], Path]
    call: Callable[..., Any]
    told: Callable[[Any], Any]
    graphs: int = 1


def arrays(folder: Path) -> Path:
    np.savez(folder / "x.npz", x=np.linspace(-1, 1, 16, dtype=np.float32)[None])
    return folder / "x.npz"


def sound(folder: Path) -> str:
    write_wav(folder / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 500).astype(np.float32), RATE)
    return str(folder / "a.wav")


def language_model(path: Path) -> Path:
    return tiny_generators.write_bundle(path, LM, **text_assets(LM))


CALLS = {
    "run_file": Call(
        make_valid_bundle, lambda b, **o: run_file(b, arrays(b.parent), **o), lambda d: d.outputs["y"].tolist()
    ),
    "run_file apart": Call(
        make_valid_bundle,
        lambda b, **o: run_file(b, arrays(b.parent), time_limit=120, **o),
        lambda d: d.outputs["y"].tolist(),
    ),
    "bench": Call(
        make_valid_bundle, lambda b, **o: attn_runtime.bench(b, **QUICK, **o), lambda d: [r.batch for r in d.results]
    ),
    "bench of backends": Call(
        make_valid_bundle,
        lambda b, **o: attn_runtime.bench(b, backends=["ort"], **QUICK, **o),
        lambda d: [r.batch for r in d.results],
    ),
    "bench of a generator": Call(
        language_model,
        lambda b, **o: attn_runtime.bench(b, **QUICK, new_tokens=2, **o),
        lambda d: [r.batch for r in d.results],
        graphs=2,
    ),
    "generate_texts": Call(
        language_model,
        lambda b, **o: attn_runtime.generate_texts(b, ["the cat"], GenerateOptions(9), **o),
        lambda d: d.answers,
        graphs=2,
    ),
    "classify": Call(
        small_classifiers.texts, lambda b, **o: attn_runtime.classify(b, ["good bad"], **o), lambda d: d.inputs
    ),
    "embed": Call(
        lambda path: pooled(path, ANNA),
        lambda b, **o: attn_runtime.embed(b, ["anna in paris"], **o),
        lambda d: d.array.tolist(),
    ),
    "tag": Call(
        lambda path: per_token(path, {"logits": ANNA}, labels=["O", "B-place"]),
        lambda b, **o: attn_runtime.tag(b, ["anna in paris"], **o),
        lambda d: d.inputs,
    ),
    "transcribe": Call(
        speller, lambda b, **o: attn_runtime.transcribe(b, [sound(b.parent)], **o), lambda d: d.recordings
    ),
    "transcribe, written": Call(
        writer, lambda b, **o: attn_runtime.transcribe(b, [sound(b.parent)], **o), lambda d: d.recordings, graphs=3
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_keeps_what_it_opens_and_answers_the_same(name: str, tmp_path: Path) -> None:
    case = CALLS[name]
    bundle, kept = case.make(tmp_path / "a.attn"), tmp_path / "kept"
    plain = case.told(case.call(bundle, device="cpu"))
    first = case.told(case.call(bundle, device="cpu", cache=kept))
    files = {file: file.stat().st_ino for file in kept.rglob("*")}
    assert len(list((kept / "ort").iterdir())) == case.graphs
    assert plain == first == case.told(case.call(bundle, device="cpu", cache=str(kept)))
    assert {file: file.stat().st_ino for file in kept.rglob("*")} == files


def test_every_public_call_with_a_backend_has_it() -> None:
    public = {name: getattr(attn_runtime, name) for name in attn_runtime.__all__}
    opens = {
        name: set(inspect.signature(call).parameters)
        for name, call in public.items()
        if inspect.isfunction(call) and "backend" in inspect.signature(call).parameters
    }
    assert {"open_session", "open_generator", "verify", "bench", "detect", "attention_maps"} <= set(opens)
    assert [name for name, parameters in opens.items() if "cache" not in parameters] == []
