"""A folder of a tiny classifier: made once, and a copy for who changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.huggingface.folders import tiny_folder


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BertForSequenceClassification, three classes; not to be changed."""
    return tiny_folder("bert_classifier", tmp_path_factory.mktemp("classifier") / "model")


@pytest.fixture
def own(classifier: Path, tmp_path: Path) -> Path:
    """A copy of `classifier` for one test."""
    return Path(shutil.copytree(classifier, tmp_path / "model"))
