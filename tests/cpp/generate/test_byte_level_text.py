"""A saved decoder with a byte-level BPE answers texts in C++, as transformers' own generate does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from attn_export import ExportOptions, export

transformers = pytest.importorskip("transformers")

from support.huggingface.folders import redrawn  # noqa: E402
from support.texts.multilingual_texts import multilingual_texts  # noqa: E402
from support.texts.trained_tokenizers import KINDS  # noqa: E402

TEXTS = ["The cat isn't here", "ein Bär, 3 Äpfel", "日本語 und 🙂"]
NEW = 8


def test_the_example_answers_as_transformers_does(
    tmp_path: Path, cpp_build: Path, cpp_environment: dict[str, str]
) -> None:
    folder, bundle = tmp_path / "qwen2", tmp_path / "qwen2.attn"
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=KINDS["qwen"](multilingual_texts(0)))
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, max_position_embeddings=48, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    model = redrawn(transformers.Qwen2ForCausalLM(config)).eval()
    model.generation_config = transformers.GenerationConfig(max_new_tokens=NEW)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    export(str(folder), bundle, options=ExportOptions(sweep=0.0))
    command = [cpp_build / "examples" / "translate", bundle, *TEXTS]
    done = subprocess.run(command, env=cpp_environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    wanted = []
    for text in TEXTS:
        asked = tokenizer(text, return_tensors="pt", add_special_tokens=True)
        written = model.generate(**asked, do_sample=False, max_new_tokens=NEW)[0, asked["input_ids"].shape[1] :]
        wanted.append(tokenizer.decode(written, skip_special_tokens=True))
    assert done.stdout == "".join(f"{text}\n" for text in wanted)
