"""What is exported of a folder, held against transformers' own answers; nothing is captured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from attn_export.huggingface import SavedModel, find_model, kind_of, load_weights
from attn_export.huggingface.tasks import graphs_of, inputs_of
from attn_models.spec import GraphSpec
from attn_runtime.errors import CheckpointError, UsageError
from support.huggingface.folders import KINDS, PICTURE, TEXT, redrawn, tiny_folder
from torch import Tensor, nn

IDS = torch.randint(3, 97, (2, 6), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
PICTURES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def loaded(
    folder: Path, task: str | None = None, towers: Sequence[str] = ()
) -> tuple[Any, tuple[GraphSpec, ...], list[str]]:
    saved = find_model(str(folder))
    weights = load_weights(kind_of(saved, task).architecture, saved)
    graphs = graphs_of(weights, saved, inputs_of(weights.model, saved), towers)
    return weights.model, graphs, saved.notes


def asked(graph: GraphSpec, model: Any, *given: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        answered: dict[str, Tensor] = graph.view(model).eval()(*given)
    assert list(answered) == [spec.name for spec in graph.outputs]
    return answered


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("bert", ["last_hidden_state", "pooler_output"]),
        ("bert_classifier", ["logits"]),
        ("bert_mlm", ["logits"]),
        ("roberta", ["logits"]),
    ],
)
def test_texts_with_a_boolean_mask(tmp_path: Path, kind: str, outputs: list[str]) -> None:
    model, (graph,), notes = loaded(tiny_folder(kind, tmp_path / "m"))
    own = type(model).from_pretrained(tmp_path / "m")
    answered = asked(graph, model, IDS, MASK)
    assert (list(answered), notes) == (outputs, [])
    with torch.no_grad():
        wanted = own(input_ids=IDS, attention_mask=MASK.long())
    for name in outputs:
        assert torch.allclose(answered[name], wanted[name], atol=1e-5)


def test_texts_of_a_classifier_that_reads_their_end_have_one(tmp_path: Path) -> None:
    model, (graph,), notes = loaded(tiny_folder("bart_classifier", tmp_path / "m"))
    assert [note.partition(":")[0] for note in notes] == ["it answers at the last token 2 (the end of a text)"]
    own = type(model).from_pretrained(tmp_path / "m")
    ids = torch.tensor([[2, 7, 2, 5], [4, 2, 9, 2]])
    mask = torch.tensor([[True] * 3 + [False], [True] * 4])
    with torch.no_grad():
        wanted = own(input_ids=ids, attention_mask=mask.long()).logits
    assert torch.allclose(asked(graph, model, ids, mask)["logits"], wanted, atol=1e-5)
    assert graph.fit is not None
    drawn = {"input_ids": IDS.numpy(), "attention_mask": MASK.numpy()}
    fitted = {name: torch.from_numpy(value) for name, value in graph.fit(drawn).items()}
    assert asked(graph, model, *fitted.values())["logits"].shape == (2, 3)


def test_pictures_that_are_some_of_the_tokens_are_left_out(tmp_path: Path) -> None:
    text = {**TEXT, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=PICTURE, mm_tokens_per_image=4, image_token_id=96, num_labels=3
    )
    redrawn(transformers.Gemma3ForSequenceClassification(config)).save_pretrained(tmp_path / "m")
    model, (graph,), notes = loaded(tmp_path / "m")
    assert [spec.name for spec in graph.inputs] == ["input_ids", "attention_mask"]
    assert notes[0].startswith("pictures are left out") and graph.fit is None
    assert asked(graph, model, IDS, MASK)["logits"].shape == (2, 3)


def test_boxes_reach_the_model(tmp_path: Path) -> None:
    model, (graph,), _notes = loaded(tiny_folder("layoutlm", tmp_path / "m"))
    assert graph.fit is not None
    boxes = torch.randint(0, 64, (2, 6, 4), generator=torch.Generator().manual_seed(0))
    fitted = torch.from_numpy(graph.fit({"input_ids": IDS.numpy(), "bbox": boxes.numpy()})["bbox"])
    own = type(model).from_pretrained(tmp_path / "m")
    with torch.no_grad():
        wanted = own(input_ids=IDS, attention_mask=MASK.long(), bbox=fitted).logits
    assert torch.allclose(asked(graph, model, IDS, MASK, fitted)["logits"], wanted, atol=1e-5)


def test_a_question_has_types_and_two_outputs(tmp_path: Path) -> None:
    model, (graph,), _ = loaded(tiny_folder("bert_qa", tmp_path / "m"))
    types = torch.tensor([[0, 0, 0, 1, 1, 1]] * 2)
    answered = asked(graph, model, IDS, MASK, types)
    assert list(answered) == ["start_logits", "end_logits"]
    assert not torch.allclose(answered["start_logits"], asked(graph, model, IDS, MASK, types * 0)["start_logits"])


def test_a_decoder_finds_the_end_of_a_text_by_the_mask(tmp_path: Path) -> None:
    """transformers looks for the padding token there, and anything else behind the text would change its class."""
    model, (graph,), notes = loaded(tiny_folder("qwen2_classifier", tmp_path / "m"))
    assert notes == ["the model finds the end of a text by token 0, which is put where the mask is false"]
    alone = asked(graph, model, IDS[1:, :4], MASK[1:, :4])["logits"]
    assert torch.allclose(asked(graph, model, IDS, MASK)["logits"][1:], alone, atol=1e-5)


def test_a_classifier_without_a_padding_token_takes_one_row(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=40, num_labels=3)
    redrawn(transformers.GPT2ForSequenceClassification(config)).save_pretrained(tmp_path)
    _, (graph,), notes = loaded(tmp_path)
    assert str(graph.inputs[0].dims[0]) == "batch=1"
    assert "the model takes one row alone (Cannot handle batch sizes > 1" in notes[0]


def test_a_head_that_would_be_random_is_refused(tmp_path: Path) -> None:
    tiny_folder("bert_mlm", tmp_path)
    with pytest.raises(CheckpointError) as told:
        loaded(tmp_path, "text-classification")
    assert "needs 4 weights that the folder has not (bert.pooler.dense.bias, " in str(told.value)
    assert "logits would be random; train it first" in str(told.value) and "\n" not in str(told.value)


def test_of_a_body_what_rests_on_missing_weights_is_left_out(tmp_path: Path) -> None:
    model, (graph,), notes = loaded(tiny_folder("bert_mlm", tmp_path / "m"), "feature-extraction")
    assert [spec.name for spec in graph.outputs] == ["last_hidden_state"]
    assert any("pooler_output is left out: the folder has no weights for it (pooler.dense.bias, " in n for n in notes)
    with torch.no_grad():
        wanted = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "m").bert(IDS, MASK.long())
    assert torch.allclose(asked(graph, model, IDS, MASK)["last_hidden_state"], wanted.last_hidden_state, atol=1e-5)


def test_texts_and_pictures_have_a_batch_each(tmp_path: Path) -> None:
    model, (graph,), notes = loaded(tiny_folder("clip", tmp_path / "m"))
    found = asked(graph, model, IDS, MASK, PICTURES)
    assert {name: list(value.shape) for name, value in found.items()} == {
        "logits_per_image": [3, 2],
        "logits_per_text": [2, 3],
        "text_embeds": [2, 16],
        "image_embeds": [3, 16],
    }
    assert notes == ["the model finds the end of a text by token 1, which is put where the mask is false"]


@pytest.mark.parametrize(("kind", "pads"), [("clip", True), ("siglip", False)])
def test_two_towers_answer_what_the_whole_model_does(tmp_path: Path, kind: str, pads: bool) -> None:
    folder = tiny_folder(kind, tmp_path / "m")
    model, (whole,), _ = loaded(folder)
    other, towers, notes = loaded(folder, towers=("text", "image"))
    assert [g.name for g in towers] == ["text", "image"]
    texts = (IDS, MASK) if pads else (torch.randint(3, 97, (2, 40)),)
    found = asked(whole, model, *texts, PICTURES)
    assert torch.allclose(asked(towers[0], other, *texts)["text_embeds"], found["text_embeds"], atol=1e-6)
    assert torch.allclose(asked(towers[1], other, PICTURES)["image_embeds"], found["image_embeds"], atol=1e-6)
    if not pads:  # it reads the last place, whatever lies there
        assert [str(spec) for spec in towers[0].inputs] == ["input_ids: int64[texts=1..32, length=40]"]
        assert notes[0].endswith("mask or not: a text is 40 tokens, filled up with token 1, and has no mask")


def test_towers_that_are_not_there(tmp_path: Path) -> None:
    tiny_folder("clip", tmp_path / "clip")
    with pytest.raises(
        UsageError, match=r"--graphs text,imgae: .* is a CLIPModel; did you mean image\? available: text, image"
    ):
        loaded(tmp_path / "clip", towers=("text", "imgae"))
    tiny_folder("bert", tmp_path / "bert")
    with pytest.raises(UsageError, match="available: none, it is one graph"):
        loaded(tmp_path / "bert", towers=("text",))


def test_a_front_end_is_part_of_the_graph(tmp_path: Path) -> None:
    class Louder(nn.Module):
        def forward(self, waveform: Tensor) -> Tensor:
            return 2 * waveform

    folder = tiny_folder("wav2vec2_ctc", tmp_path / "m")
    saved = find_model(str(folder))
    weights = load_weights(kind_of(saved).architecture, saved)
    (heard,) = inputs_of(weights.model, saved)
    spec = type(heard)("waveform", heard.dtype, heard.dims)
    (graph,) = graphs_of(weights, saved, (spec,), front_end=Louder())
    sound = torch.randn(2, 1600)
    with torch.no_grad():
        wanted = weights.model(2 * sound).logits
    assert torch.allclose(asked(graph, weights.model, sound)["logits"], wanted, atol=1e-6)


def test_what_does_not_answer_its_inputs_says_so(tmp_path: Path) -> None:
    model = KINDS["vit"]()
    model.config.image_size = 48  # its table of positions is for 32
    saved = SavedModel(tmp_path, None, None, model.config)
    weights = load_weights(type(model), find_model(str(tiny_folder("vit", tmp_path / "m"))))
    with pytest.raises(UsageError, match="does not answer inputs that are drawn for it: Input image size"):
        graphs_of(weights, saved, inputs_of(model, saved))


def test_nobody_asks_for_keys_and_values(tmp_path: Path) -> None:
    model, _, _ = loaded(tiny_folder("qwen2_classifier", tmp_path / "m"))
    assert model.config.use_cache is False and TEXT["vocab_size"] == model.config.vocab_size
