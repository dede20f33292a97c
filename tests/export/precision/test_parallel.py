"""Two conversions of one bundle at the same time come one after the other, and each sees what the other wrote."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from attn_export.console import Console
from attn_export.pipeline import model_export
from attn_export.precision import conversion


def test_the_second_begins_when_the_first_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "a.attn"
    bundle.mkdir()
    events: list[str] = []
    begun, told = threading.Event(), threading.Event()
    monkeypatch.setattr(conversion, "check_options", lambda *_: None)
    monkeypatch.setattr(Console, "waits", lambda self, target, old=Console.waits: (old(self, target), told.set()))

    def work(path: Path, precision: str, **_: Any) -> list[Any]:
        events.append(f"{precision} begins")
        if not begun.is_set():
            begun.set()
            assert told.wait(30)
        events.append(f"{precision} ends")
        return []

    monkeypatch.setattr(conversion, "add_precision", work)
    first = threading.Thread(target=conversion.convert, args=(bundle, "fp16"))
    first.start()
    assert begun.wait(30)
    conversion.convert(bundle, "bf16", console=Console())
    first.join(30)
    assert events == ["fp16 begins", "fp16 ends", "bf16 begins", "bf16 ends"]
    assert "another run is changing" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path != bundle]


def test_an_export_that_converts_holds_the_bundle_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []

    def look(*_: Any) -> Any:
        held.append((tmp_path / ".a.attn.tmp-change").exists())

    from attn_export.pipeline import pipeline

    monkeypatch.setattr(model_export, "_check_precision", look)
    monkeypatch.setattr(pipeline, "export_source", look)
    monkeypatch.setattr(model_export, "_add_precision", look)
    model_export.export("attentionnet", tmp_path / "a.attn", precision="fp16")
    assert held == [False, True, True]
    assert not list(tmp_path.iterdir())
