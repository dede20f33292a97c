"""Rows of tokens: texts and arrays, and what is none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.precision.calibration import token_rows
from attn_export.precision.calibration.token_rows import TokenRows, is_text_folder, open_token_rows, write_windows
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import UsageError
from safetensors.numpy import load_file
from support.graphs.make_graphs import brightness_classifier
from support.models.tiny_generators import Tiny, write_bundle
from support.models.tiny_texts import WORDS, text_assets

LM, TRANSLATOR = Tiny(encoder=False), Tiny()
TEXTS = {"b.txt": "the dog ran far .", "a.txt": "\ufeff" + "the cat sat on a mat\n" * 3, "empty.txt": " \n"}


def rows_of_words(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.lstrip("\ufeff").split()]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With a tokenizer."""
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("lm") / "lm.attn", LM, **text_assets(LM)))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Without one."""
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("lm") / "bare.attn", LM))


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = write_bundle(tmp_path_factory.mktemp("t") / "t.attn", TRANSLATOR, **text_assets(TRANSLATOR))
    return Bundle.open(made)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "texts" / name).write_text(text, encoding="utf-8")
    return tmp_path / "texts"


def read(rows: TokenRows | None) -> list[list[int]]:
    assert rows is not None
    return [row.tolist() for row in rows.read()]


def test_texts_are_made_to_tokens_in_the_order_of_their_names(texts: Path, lm: Bundle) -> None:
    rows = open_token_rows(str(texts), lm)
    assert rows is not None and rows.source == "folder texts"
    expected = [rows_of_words(TEXTS["a.txt"]), rows_of_words(TEXTS["b.txt"])]
    assert read(rows) == expected == read(rows), "again from the first"


def test_a_text_longer_than_the_model_takes_is_read_whole(texts: Path, lm: Bundle) -> None:
    (texts / "a.txt").write_text("the cat " * 300)
    assert len(read(open_token_rows(str(texts), lm))[0]) == 600 > LM.max_length


def test_of_a_large_file_the_beginning_is_read(texts: Path, lm: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_rows, "_MOST_BYTES", 9)
    (texts / "a.txt").write_text("the cat sét on", encoding="utf-8")
    assert read(open_token_rows(str(texts), lm))[0] == [*rows_of_words("the cat"), 2], "cut before half of the é"
    (texts / "a.txt").write_bytes(b"the \xff\xff cat on")
    with pytest.raises(UsageError, match="a.txt: is no UTF-8 text .byte 4.; convert it"):
        read(open_token_rows(str(texts), lm))


def many() -> Iterator[dict[str, Any]]:
    yield {"tokens": np.array([[3, 4, 5], [6, 7, 8]])}
    yield {"tokens": np.arange(100)[None] % 13}


def beyond() -> list[dict[str, Any]]:
    return [{"tokens": np.array([[13]])}]


def masked() -> list[dict[str, Any]]:
    return [{"tokens": np.array([[3]]), "tokens_mask": np.array([[True]])}]


def test_arrays_of_tokens(bare: Bundle, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", tokens=np.array([[3, 4, 5], [6, 7, 8]]))
    rows = open_token_rows(str(tmp_path / "rows.npz"), bare)
    assert rows is not None and rows.source == "rows.npz" and read(rows) == [[3, 4, 5], [6, 7, 8]]
    (tmp_path / "one").mkdir()
    np.savez(tmp_path / "one" / "a.npz", tokens=np.array([[9, 8]]))
    (tmp_path / "one" / "README.txt").write_text("of samples")
    assert read(open_token_rows(str(tmp_path / "one"), bare)) == [[9, 8]]
    rows = open_token_rows(f"{__name__}:many", bare)
    assert read(rows)[:2] == [[3, 4, 5], [6, 7, 8]] and len(read(rows)[2]) == 100


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("beyond", r'input "tokens": got values 13..13, expected 0..12'),
        ("masked", "unknown input tokens_mask"),
        ("none.npz", "there is no such file or folder"),
    ],
)
def test_what_is_no_row_is_one_line(name: str, says: str, bare: Bundle) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read(open_token_rows(name if "." in name else f"{__name__}:{name}", bare))
    assert "\n" not in str(caught.value)


def test_texts_without_a_tokenizer(texts: Path, bare: Bundle) -> None:
    says = r"folder texts: .* and bundle bare.attn has no tokenizer for them .no asset text and no asset tokenizer.; give rows"
    with pytest.raises(UsageError, match=says):
        open_token_rows(str(texts), bare)


def test_a_tokenizer_with_more_words_than_the_graphs(texts: Path, tmp_path: Path) -> None:
    assets = text_assets(LM)
    assets["tokenizer"]["model"]["vocab"]["zebra"] = 13
    (texts / "c.txt").write_text("zebra")
    rows = open_token_rows(str(texts), Bundle.open(write_bundle(tmp_path / "lm.attn", LM, **assets)))
    with pytest.raises(
        UsageError, match="c.txt: the bundle's tokenizer makes token 13 of it, and the graphs have 0..12"
    ):
        read(rows)


def test_models_that_continue_none(texts: Path, translator: Bundle, tmp_path: Path) -> None:
    for bundle in (translator, Bundle.open(brightness_classifier(tmp_path / "c.attn"))):
        with pytest.raises(UsageError, match=f"continues texts, and bundle {bundle.path.name} is none; give samples"):
            open_token_rows(str(texts), bundle)
        assert open_token_rows("none.npz", bundle) is None, "whatever it is, it is not rows"


def test_inputs_of_single_graphs_are_none(texts: Path, lm: Bundle) -> None:
    (texts / "step").mkdir()
    assert open_token_rows(str(texts), lm) is None


def test_a_folder_of_texts(texts: Path, tmp_path: Path) -> None:
    assert is_text_folder(str(texts)) and not is_text_folder(str(tmp_path)) and not is_text_folder("")
    assert not is_text_folder(str(texts / "a.txt")) and not is_text_folder("package.module:texts")
    np.savez(texts / "a.npz", tokens=np.zeros((1, 1)))
    assert not is_text_folder(str(texts)), "a text beside samples says what they are"


def of(*lengths: int) -> TokenRows:
    return TokenRows("these", lambda: (np.arange(n) for n in lengths))


def test_windows_lie_one_behind_the_other() -> None:
    found = of(10, 1, 7, 4).windows(4, 2)
    assert [w.tolist() for w in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3], [4, 5, 6], [0, 1, 2, 3]]
    assert [len(w) for w in of(10, 7).windows(4, 3)] == [4, 4, 4, 3], "what is too short is left out"


def test_no_more_tokens_are_taken_and_no_more_rows_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_rows, "MOST_TOKENS", 11)

    def endless() -> Iterator[np.ndarray]:
        while True:
            yield np.arange(4)

    assert [len(w) for w in TokenRows("these", endless).windows(4, 2)] == [4, 4, 3]
    assert [len(w) for w in of(100).windows(8, 2)] == [8, 3]


@pytest.mark.parametrize("rows", [of(), of(2, 1)])
def test_nothing_to_read(rows: TokenRows) -> None:
    with pytest.raises(UsageError, match="--calibrate these: no row in it has 3 tokens or more; give longer texts"):
        rows.windows(5, 3)


def test_the_file_of_windows(tmp_path: Path) -> None:
    stored = load_file(write_windows(tmp_path / "w.safetensors", [np.array([3, 4]), np.array([5, 6, 7])]))
    assert stored["tokens"].tolist() == [[3, 4, 0], [5, 6, 7]] and stored["lengths"].tolist() == [2, 3]
    assert {array.dtype for array in stored.values()} == {np.dtype(np.int64)}
