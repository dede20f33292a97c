"""The text classifier: padding changes nothing, order and attention matter, its tokenizer and its data are what they say."""

import json

import pytest
import torch
from attn_models.data import headlines
from attn_models.zoo.textclassifier import (
    MODEL,
    PAD,
    UNKNOWN,
    VOCABULARY,
    TextClassifier,
    assets,
    encoded,
    tokenizer,
    unknown_words,
)
from attn_runtime.bundle.manifest import check_asset
from attn_runtime.errors import UsageError
from torch.nn import functional as F


@pytest.fixture(scope="module", params=["mean", "class"])
def net(request):
    torch.manual_seed(0)
    return TextClassifier(pooling=request.param).eval()


@pytest.fixture(scope="module")
def texts():
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(2, len(VOCABULARY), (4, 12), generator=generator)
    mask = torch.arange(12) < torch.tensor([12, 7, 1, 3])[:, None]
    return tokens, mask


@torch.no_grad()
def test_any_batch_and_length_gives_logits(net):
    for batch, length in ((1, 1), (3, 17), (2, 128)):
        tokens = torch.full((batch, length), 5)
        assert net(tokens, torch.ones(batch, length, dtype=torch.bool)).shape == (batch, len(headlines.CATEGORIES))


@torch.no_grad()
def test_padding_changes_no_answer_whatever_lies_there(net, texts):
    tokens, mask = texts
    answer = net(tokens, mask)
    for more in (1, 40, 116):
        padding = torch.randint(0, len(VOCABULARY), (4, more))
        longer = net(torch.cat([tokens, padding], 1), F.pad(mask, (0, more)))
        torch.testing.assert_close(longer, answer, rtol=1e-5, atol=2e-6)
    alone = torch.cat([net(tokens[i : i + 1, : mask[i].sum()], mask[i : i + 1, : mask[i].sum()]) for i in range(4)])
    torch.testing.assert_close(alone, answer, rtol=1e-5, atol=2e-6)


@torch.no_grad()
def test_a_row_without_a_word_has_finite_logits_that_nothing_moves(net):
    mask = torch.zeros(2, 5, dtype=torch.bool)
    first, second = net(torch.tensor([[2, 3, 4, 5, 6], [9, 9, 9, 9, 9]]), mask)
    assert first.isfinite().all()
    torch.testing.assert_close(first, second)


@torch.no_grad()
def test_the_order_of_words_matters(net):
    a, b, c = VOCABULARY.index("not"), VOCABULARY.index("galaxies"), VOCABULARY.index("shirts")
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert (net(torch.tensor([[a, b, c]]), mask) - net(torch.tensor([[a, c, b]]), mask)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("config", "told"),
    [({"width": 90}, "expected a multiple of twice the heads, 8"), ({"pooling": "max"}, "expected mean or class")],
)
def test_a_wrong_setting_is_a_usage_error(config, told):
    with pytest.raises(UsageError, match=told):
        MODEL.build(**config)


def test_the_tokenizer_knows_its_words_in_any_case_and_calls_others_unknown():
    made = tokenizer()
    assert made.get_vocab_size() == len(VOCABULARY) == len(set(VOCABULARY))
    found = made.encode("Not GALAXIES, but zorp: don't")
    assert [VOCABULARY[i] for i in found.ids] == [
        "not",
        "galaxies",
        ",",
        "but",
        "[UNK]",
        ":",
        "[UNK]",
        "[UNK]",
        "[UNK]",
    ]
    assert [made.token_to_id(name) for name in ("[PAD]", "[UNK]")] == [PAD, UNKNOWN]
    tokens, mask = encoded(["galaxies", "not galaxies ."], 4)
    assert tokens[0].tolist() == [VOCABULARY.index("galaxies"), PAD, PAD, PAD]
    assert mask.tolist() == [[True, False, False, False], [True, True, True, False]]


def test_assets_have_their_published_form():
    made = assets()
    check_asset("text", made["text.json"], "here")
    check_asset("labels", made["labels.json"], "here")
    assert json.loads(json.dumps(made["tokenizer.json"]))["model"]["type"] == "WordLevel"
    high = MODEL.graph.inputs[0].high
    assert max(made["tokenizer.json"]["model"]["vocab"].values()) == high - 1


def test_words_are_dropped_at_random_but_padding_is_not():
    tokens = torch.full((200, 20), 7)
    mask = torch.arange(20)[None] < torch.full((200, 1), 15)
    got = unknown_words({"tokens": tokens, "mask": mask}, torch.Generator().manual_seed(0))
    assert got["tokens"].shape == (200, 15), "what no text reaches is cut off"
    share = (got["tokens"] == UNKNOWN).float().mean()
    assert 0.03 < share < 0.07
    assert ((got["tokens"] == UNKNOWN) | (got["tokens"] == 7)).all()


# --- the data ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def splits():
    return headlines.splits()


def test_parts_share_no_text_and_have_all_categories_alike(splits):
    sets = {part: {t.text for t in texts} for part, texts in splits.items()}
    assert sum(map(len, sets.values())) == len(set.union(*sets.values())) == sum(map(len, splits.values()))
    for texts in splits.values():
        counts = [sum(t.category == c for t in texts) for c in range(8)]
        assert max(counts) == min(counts)


def test_half_of_the_test_is_of_templates_that_training_never_sees(splits):
    assert not any(t.held_out for part in ("train", "validation") for t in splits[part])
    assert 0.45 < sum(t.held_out for t in splits["test"]) / len(splits["test"]) < 0.55
    for category in headlines.CATEGORIES:
        assert not set(headlines.HELD_OUT[category]) & set(headlines.SENTENCES[category])
    held, seen = set(headlines.contrasts(True)), set(headlines.contrasts(False))
    assert held and not held & seen
    assert {no for no, _ in held} <= {no for no, _ in seen} and {yes for _, yes in held} <= {yes for _, yes in seen}


def test_the_vocabulary_is_that_of_training_and_fits(splits):
    known = set(headlines.words())
    seen = {word for t in splits["train"] for word in t.text.split()}
    assert seen <= known
    assert known - seen == set()
    assert max(len(t.text.split()) for texts in splits.values() for t in texts) <= 64


def test_the_same_texts_every_time(splits):
    assert headlines.splits()["test"][:50] == splits["test"][:50]
    assert headlines.texts(20, 1) != headlines.texts(20, 2)


def test_single_words_do_not_decide(splits):
    """Naive Bayes over the words of a text, blind to their order, stays far below what the model has to reach."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    words = CountVectorizer(token_pattern=r"\S+", binary=True)
    counts = words.fit_transform([t.text for t in splits["train"]])
    bayes = MultinomialNB().fit(counts, [t.category for t in splits["train"]])
    score = bayes.score(words.transform([t.text for t in splits["test"]]), [t.category for t in splits["test"]])
    assert 0.4 < score < 0.85
