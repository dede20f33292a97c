"""What `on_text` of the C interface tells is what Python's tells, piece by piece, and adds up to the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.generate import GenerateOptions, Sample
from attn_runtime.generate.text_generation import generate_texts
from support.machines.generator_library import Generator
from support.models.tiny_generators import Tiny, write_bundle
from support.models.tiny_texts import WORDS, byte_tokenizer, texts_of, tokenizer

WRITER = Tiny(layers=1, max_length=16, batch=3, encoder=False, seed=4)
#: Behind Fuse four "a" become a "b", wherever the words that they are from end.
FUSED = {
    "type": "Sequence",
    "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "aaaa"}, "content": "b"}],
}


def of_words() -> dict[str, Any]:
    vocab = {word: n for n, word in enumerate([*WORDS[:3], *("a" * n for n in range(1, 10)), "é"])}
    return tokenizer(model={"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}, decoder=FUSED)


@pytest.mark.parametrize("kind", [of_words, byte_tokenizer])
def test_pieces_are_pythons_and_add_up(
    cpp_build: Path, cpp_environment: dict[str, str], tmp_path: Path, kind: Callable[[], dict[str, Any]]
) -> None:
    path = write_bundle(tmp_path / "writer.attn", WRITER, **texts_of(WRITER), tokenizer=kind())
    texts = ["a", "é a", "aa", "aaa é", "aaaaa"]  # two batches
    told: dict[int, list[str]] = {}
    cut = dict[int, str]()
    wanted: dict[int, list[str]] = {}
    options = GenerateOptions(sample=Sample(temperature=3.0, seed=5))
    generate_texts(
        path,
        texts,
        options,
        device="cpu",
        backend="ort",
        on_text=lambda number, text: wanted.setdefault(number, []).append(text),
    )

    def hear(row: int, piece: str) -> None:
        told.setdefault(row, []).append((told.get(row) or [""])[-1] + piece)

    def hear_once(row: int, piece: str) -> bool:
        cut[row] = cut.get(row, "") + piece
        return True

    drawn = {"sample": 1, "temperature": 3.0, "seed": 5}
    library = cpp_build / "libattn_runtime.so"
    with Generator(library, path, None, Path(cpp_environment["ATTN_ONNXRUNTIME"])) as cpp:
        rows, _ = cpp.generate_text(texts, on_text=hear, **drawn)
        ended, _ = cpp.generate_text(texts, on_text=hear_once, **drawn)
    assert told == wanted and {row: told[row][-1] for row in told} == {n: r.text for n, r in enumerate(rows) if r.text}
    assert any(len(row.tokens) > len(told.get(n, ())) for n, row in enumerate(rows))  # a token that told nothing
    assert cut == {n: r.text for n, r in enumerate(ended) if r.text} and sum(len(row.tokens) for row in ended) < 12
