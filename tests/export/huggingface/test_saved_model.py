from __future__ import annotations

from pathlib import Path

import pytest
from attn_export.huggingface import SavedModel
from attn_runtime.errors import UsageError


def saved(folder: Path) -> SavedModel:
    return SavedModel(folder, None, None, None)


def test_numbers_that_no_bundle_holds_are_read(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        '{"model_max_length": 1000000000000000019884624838656, "x": Infinity}'
    )
    assert saved(tmp_path).read_json("tokenizer_config.json")["model_max_length"] > 1e29
    assert saved(tmp_path).read_json("absent.json") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [("[1]", "expected a JSON object"), ("{", "can't be read as JSON"), ('{"a": 1, "a": 2}', 'key "a" occurs twice'),
     ("[" * 100_000, "can't be read as JSON"), ('"\x1b[2J"', "can't be read as JSON")],
)  # fmt: skip
def test_what_is_no_object_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError) as told:
        saved(tmp_path).read_json("x.json")
    assert says in str(told.value) and "\x1b" not in str(told.value)


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a/../../x.json", "..\\x.json"])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "inside").mkdir()
    with pytest.raises(UsageError, match="expected a place inside the folder"):
        saved(tmp_path / "inside").read_json(name)
