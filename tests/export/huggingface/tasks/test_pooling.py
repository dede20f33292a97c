"""Pooling in the graph: each mode as its formula says, and no answer that padding changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attn_export.huggingface import Weights, find_model
from attn_export.huggingface.tasks import is_sentence_transformer, load_sentence_transformer, note_scores
from attn_runtime.errors import CheckpointError, UsageError
from safetensors.torch import save_file
from support.huggingface.folders import edit_json, sentence_folder
from torch import Tensor

FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
IDS = torch.randint(0, 97, (3, 6), generator=torch.Generator().manual_seed(0))
WORDS = [6, 4, 1]
MASK = torch.arange(6)[None] < torch.tensor(WORDS)[:, None]


def pooling(*modes: str) -> tuple[str, dict[str, Any]]:
    return "Pooling", {"word_embedding_dimension": 32, **{flag: mode in modes for mode, flag in FLAGS.items()}}


def load(folder: Path) -> tuple[Weights, list[str]]:
    saved = find_model(str(folder))
    assert is_sentence_transformer(saved)
    return load_sentence_transformer(saved), saved.notes


def asked(folder: Path) -> Tensor:
    found: Tensor = load(folder)[0].model(IDS, MASK.long())["embeddings"]
    return found


def by_formula(mode: str, tokens: Tensor) -> Tensor:
    """Of the tokens [words, width] of one text, as the documentation of sentence-transformers says."""
    words = len(tokens)
    rising = torch.arange(1, words + 1)[:, None]
    return {
        "cls": tokens[0],
        "max": tokens.amax(0),
        "mean": tokens.sum(0) / words,
        "mean_sqrt_len_tokens": tokens.sum(0) / words**0.5,
        "weightedmean": (rising * tokens).sum(0) / rising.sum(),
        "lasttoken": tokens[-1],
    }[mode]


def test_each_mode_alone_and_all_in_their_order(tmp_path: Path) -> None:
    for place, modes in enumerate([*([mode] for mode in FLAGS), list(FLAGS)]):
        folder = sentence_folder(tmp_path / str(place), pooling(*modes))
        model = load(folder)[0].model
        found = model(IDS, MASK.long())["embeddings"]
        for row, words in enumerate(WORDS):  # each text alone, without padding
            tokens = model.model(input_ids=IDS[row : row + 1, :words]).last_hidden_state[0]
            wanted = torch.cat([by_formula(mode, tokens) for mode in modes])
            assert torch.allclose(found[row], wanted, atol=2e-5), modes


def test_a_text_without_tokens_answers_no_large_number(tmp_path: Path) -> None:
    model = load(sentence_folder(tmp_path / "a", pooling("max", "mean"), ("Normalize", {})))[0].model
    assert model(IDS, MASK.long() * 0)["embeddings"].abs().max() == 0


def test_what_follows_the_pooling(tmp_path: Path) -> None:
    activation = "torch.nn.modules.activation.Tanh"
    dense = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": activation}
    folder = sentence_folder(tmp_path / "a", pooling("mean"), ("Dropout", {}), ("Dense", dense), ("Normalize", {}))
    weight, bias = torch.randn(8, 32), torch.randn(8)
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "3_Dense" / "model.safetensors")
    plain = asked(sentence_folder(tmp_path / "b", pooling("mean")))
    wanted = torch.nn.functional.normalize(torch.tanh(plain @ weight.T + bias), dim=-1)
    assert torch.allclose(asked(folder), wanted, atol=1e-6)
    save_file({"linear.weight": weight[:4], "linear.bias": bias}, folder / "3_Dense" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"linear.weight is \[4, 32\]; expected \[8, 32\]"):
        load(folder)


def test_a_list_of_modes_as_newer_versions_write_it(tmp_path: Path) -> None:
    one = sentence_folder(tmp_path / "a", ("Pooling", {"embedding_dimension": 32, "pooling_mode": ["mean", "max"]}))
    other = sentence_folder(tmp_path / "b", pooling("max", "mean"))
    assert torch.allclose(asked(one), torch.cat(asked(other).split(32, -1)[::-1], -1))


def test_the_limit_of_length_and_prompts_are_told(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "a", pooling("mean"))
    edit_json(folder / "sentence_bert_config.json", max_seq_length=24, do_lower_case=True)
    edit_json(
        folder / "config_sentence_transformers.json",
        prompts={"query": "query: ", "none": ""},
        default_prompt_name="query",
    )
    weights, notes = load(folder)
    assert weights.model.max_seq_length == 24
    assert any("do_lower_case" in note for note in notes)
    assert any(
        'prompts are not added, write them in front of a text: "query" "query: " (the library' in n for n in notes
    )


def test_a_cross_encoder_has_no_pooling(tmp_path: Path) -> None:
    """sentence-transformers 6 writes a modules.json for it, with the model alone."""
    folder = sentence_folder(tmp_path / "a", model="bert_classifier")
    edit_json(folder / "config_sentence_transformers.json", activation_fn="torch.nn.modules.activation.Sigmoid")
    saved = find_model(str(folder))
    assert not is_sentence_transformer(saved)
    note_scores(saved)
    assert saved.notes == [
        'the scores are logits: sentence-transformers puts "torch.nn.modules.activation.Sigmoid" behind them'
    ]


def test_a_sparse_encoder_is_refused(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "a", pooling("mean"))
    edit_json(folder / "sentence_bert_config.json", transformer_task="fill-mask")
    with pytest.raises(UsageError, match='transformer_task "fill-mask"; expected embeddings'):
        load(folder)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((("CNN", {}),), "modules.json has Transformer, CNN; expected"),
        ((pooling("mean"), ("LSTM", {})), 'has the module "LSTM", which has no graph here'),
        ((pooling("mean"), ("evil.Module", {})), 'has "evil.Module", code that is not of sentence-transformers'),
        ((("Pooling", {"pooling_mode_median_tokens": True}),), 'pooling "pooling_mode_median_tokens"; known: cls, max'),
        ((pooling(),), "pooling of no kind"),
        ((pooling("mean"), ("Dense", {"activation_function": "os.system"})), 'Dense has the activation "os.system"'),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, steps: Any, says: str) -> None:
    folder = sentence_folder(tmp_path / "a", *steps)
    for path in folder.glob("*_Dense"):
        save_file({"linear.weight": torch.zeros(32, 32), "linear.bias": torch.zeros(32)}, path / "model.safetensors")
    with pytest.raises(UsageError) as told:
        load(folder)
    assert says in str(told.value)


def test_a_module_may_not_lie_elsewhere(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "a", pooling("mean"), ("Normalize", {}))
    modules = json.loads((folder / "modules.json").read_text())
    for path in ("../other", "/etc"):
        modules[1]["path"] = path
        (folder / "modules.json").write_text(json.dumps(modules))
        with pytest.raises(UsageError, match="expected a place inside the folder"):
            load(folder)
