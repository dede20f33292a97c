"""Which library runs both, and what they are when it can't."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_export import diff
from attn_export.difference import answers
from attn_runtime import open_session
from attn_runtime.errors import BackendError
from support.bundles.compared_bundles import write_bundle


def test_one_library_runs_both_and_each_its_own_where_it_can_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def opened(*given: object, **options: object) -> object:
        backend = given[2]
        asked.append(backend)  # type: ignore[arg-type]
        if backend == "ort" and len(asked) == refused:
            raise BackendError("no kernel")
        return open_session(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(answers, "open_session", opened)
    bundle = write_bundle(tmp_path / "a.attn")
    refused = 0
    assert diff(bundle, bundle).graphs[0].answers.ran_by == "ort" and asked == ["ort", "ort"]
    asked.clear()
    refused = 2
    assert diff(bundle, bundle).graphs[0].answers.agree and asked == ["ort", "ort", None, None]


def test_what_nothing_can_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> object:
        raise BackendError("it needs a GPU")

    monkeypatch.setattr(answers, "open_session", refuses)
    bundle = write_bundle(tmp_path / "a.attn")
    found = diff(bundle, bundle)
    assert found.graphs[0].answers.why_not == "it needs a GPU" and not found.agree
    assert "answers: not compared, it needs a GPU" in str(found)


def test_an_output_that_one_has_not_is_no_agreement(tmp_path: Path) -> None:
    bundles = write_bundle(tmp_path / "a.attn"), write_bundle(tmp_path / "b.attn", output="scores")
    assert diff(*bundles).graphs[0].answers.why_not == "they have no output of one name"
