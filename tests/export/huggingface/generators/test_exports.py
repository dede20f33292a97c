"""Whole exports: a saved model's tokens are proven in a bundle, and its step builds as a TensorRT engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_export import ExportOptions, export, to_trt
from attn_export.source import load_source
from attn_runtime.bundle import Bundle
from attn_runtime.tasks import verify
from attn_runtime.trt import library

RTX = library.why_unavailable("rtx")


def exported(folder: Path, kind: str, **config: int) -> Path:
    arguments = [f"kind={kind}", *(f"{name}={value}" for name, value in config.items())]
    source = load_source("support.huggingface.tiny_pretrained:spec", config=arguments, dims=["batch=1:2:8"])
    return export(source, folder / f"{kind}.attn", options=ExportOptions(sweep=0)).path


def hold(bundle: Path) -> None:
    assert verify(bundle).passed
    opened = Bundle.open(bundle)
    greedy = opened.manifest["generation"][0]
    assert greedy["case"] == "greedy" and greedy["margin"] > 2 * greedy["tolerance"], "what is written is decided"


def test_a_decoder_of_grouped_queries(tmp_path: Path) -> None:
    bundle = exported(tmp_path, "llama", layers=1)
    hold(bundle)


@pytest.mark.full
def test_an_encoder_and_a_decoder_whose_step_builds(tmp_path: Path) -> None:
    bundle = exported(tmp_path, "marian")
    hold(bundle)
    if RTX is not None:
        pytest.skip(RTX)
    to_trt(bundle, graph="step").require()
