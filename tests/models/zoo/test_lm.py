"""The language model: its parts against their definitions, its cache against no cache, and the stories it is trained on."""

import json
import re

import pytest
import torch
from attn_models import reference_generation
from attn_models.data import stories
from attn_models.zoo.lm import MODEL, First, LanguageModel, RMSNorm, Step, answered, of_size, rotary_tables, rotate
from attn_runtime.errors import UsageError
from tokenizers import Tokenizer
from torch import nn

SMALL = {"width": 32, "layers": 2, "heads": 4, "kv_heads": 2, "feed_forward": 48, "max_length": 64}
SPEC = of_size(**SMALL)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SPEC.build().double().eval()


@pytest.fixture(scope="module")
def rows():
    """Tokens [3, 20] of which 20, 7 and 1 count, and their mask."""
    random = torch.Generator().manual_seed(1)
    return stories.padded([torch.randint(3, 90, (n,), generator=random).tolist() for n in (20, 7, 1)])


# Parts


def test_rms_norm_is_pytorchs():
    ours, theirs = RMSNorm(24).double(), nn.RMSNorm(24, eps=1e-5).double()
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        theirs.weight.copy_(ours.weight)
    for scale in (1e-3, 1.0, 1e3):
        x = scale * torch.randn(2, 5, 24, dtype=torch.float64)
        torch.testing.assert_close(ours(x), theirs(x))


def test_rms_norm_does_not_overflow_in_float16_where_a_plain_square_does():
    x = torch.full((1, 8), 2000.0, dtype=torch.float16)
    assert torch.isinf(x.pow(2)).all()
    torch.testing.assert_close(RMSNorm(8).half()(x), torch.ones_like(x))


def test_rotation_depends_on_distance_alone():
    cos, sin = rotary_tables(8, 40)
    torch.manual_seed(0)
    query, key = torch.randn(8), torch.randn(8)

    def score(i, j):
        return rotate(query, cos[i], sin[i]) @ rotate(key, cos[j], sin[j])

    torch.testing.assert_close(score(9, 4), score(35, 30))
    torch.testing.assert_close(score(0, 0), query @ key)
    assert abs(score(9, 4) - score(9, 5)) > 1e-3


def test_rotation_is_that_of_a_plane():
    cos, sin = rotary_tables(4, 3, base=100.0)
    angle = torch.tensor([2.0, 0.2])  # position 2, features (0, 2) and (1, 3)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    a, b = x[:2], x[2:]
    expected = torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()])
    torch.testing.assert_close(rotate(x, cos[2], sin[2]), expected)


@torch.no_grad()
def test_all_positions_shifted_alike_change_nothing(net):
    """As if the text stood later in a row: the tables are read from another place on."""
    later = SPEC.build().double().eval()
    later.load_state_dict(net.state_dict())
    later.cos_TD, later.sin_TD = net.cos_TD[11:], net.sin_TD[11:]
    tokens = torch.randint(3, 90, (2, 15))
    torch.testing.assert_close(later(tokens), net(tokens), rtol=1e-4, atol=1e-5)  # the tables are float32


@torch.no_grad()
def test_shared_keys_are_repeated_keys(net):
    """The same model with a key-value head for each query head, every shared one written out as often as it is used."""
    full = of_size(**{**SMALL, "kv_heads": 4}).build().double().eval()
    weights = dict(net.state_dict())
    for name, weight in weights.items():
        if name.endswith("project.weight"):
            query, key, value = weight.split([4 * 8, 2 * 8, 2 * 8])
            parts = [part.unflatten(0, (2, 8)).repeat_interleave(2, dim=0).flatten(0, 1) for part in (key, value)]
            weights[name] = torch.cat([query, *parts])
    full.load_state_dict(weights)
    tokens = torch.randint(3, 90, (2, 15))
    torch.testing.assert_close(full(tokens), net(tokens))


@torch.no_grad()
def test_a_token_sees_none_behind_it(net, rows):
    tokens = rows[0].clone()
    before = net(tokens)
    tokens[:, 10:] = 50
    torch.testing.assert_close(net(tokens)[:, :10], before[:, :10])
    assert (net(tokens)[:, 10:] - before[:, 10:]).abs().max() > 0.01


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"kv_heads": 3}, {"width": 36, "heads": 4, "kv_heads": 4}])
def test_sizes_that_do_not_fit_are_told(wrong):
    with pytest.raises(UsageError, match="expected"):
        LanguageModel(**{**SMALL, **wrong})


def test_the_head_may_have_weights_of_its_own():
    tied, untied = LanguageModel(**SMALL), LanguageModel(**SMALL, tied=False)
    assert tied.head.weight is tied.embedding.weight
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == (
        len(stories.lexicon()) * 32
    )


# The cache


@torch.no_grad()
def read_by_steps(net, tokens, mask, first, capacity, step=Step, spoil=None):
    """Logits [rows, n] behind tokens `first` and later of rows that all have them, read one by one with a cache."""
    lengths = mask[:, :first].sum(1)
    logits, *new = First(net)(tokens[:, :first], mask[:, :first])
    cache = [torch.full((len(tokens), *entry.shape[1:2], capacity, entry.shape[3]), 7.0).double() for entry in new]
    for entry, part in zip(cache, new, strict=True):
        entry[:, :, :first] = part
    answers = [logits]
    for place in range(first, tokens.shape[1]):
        position = lengths + place - first
        if spoil:
            spoil(cache, place)
        filled = torch.arange(capacity) < position[:, None]
        logits, *new = step(net)(tokens[:, place : place + 1], position[:, None], filled, *cache)
        answers.append(logits)
        for entry, part in zip(cache, new, strict=True):
            entry[torch.arange(len(tokens)), :, position] = part[:, :, 0]
    return torch.stack(answers, dim=1)


@torch.no_grad()
@pytest.mark.parametrize(("first", "capacity"), [(1, 32), (5, 20), (20, 20)])
def test_with_a_cache_it_answers_as_without(net, rows, first, capacity):
    tokens, _ = rows
    answers = read_by_steps(net, tokens, torch.ones_like(tokens, dtype=torch.bool), first, capacity)
    torch.testing.assert_close(answers, net(tokens)[:, first - 1 :])


@torch.no_grad()
def test_prompts_of_different_lengths_go_on_as_each_alone(net, rows):
    tokens, mask = rows
    more = torch.randint(3, 90, (3, 4), generator=torch.Generator().manual_seed(2))
    whole = torch.cat([mask, torch.ones_like(more, dtype=torch.bool)], dim=1)
    together = read_by_steps(net, torch.cat([tokens, more], dim=1), whole, first=20, capacity=32)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = net(torch.cat([tokens[row, :length], more[row]])[None])
        torch.testing.assert_close(together[row], alone[0, length - 1 :])


class KeysNotTurned(Step):
    """What a cache of keys before their rotation would look like to the step: as if all stood at position 0."""

    def forward(self, token, position, *rest):
        return super().forward(token, torch.zeros_like(position), *rest)


def forget(cache, place):
    cache[0][:, :, place - 1] = 0


def swap_layers(cache, place):
    cache[0], cache[2] = cache[2], cache[0]


@pytest.mark.parametrize("broken", [{"step": KeysNotTurned}, {"spoil": forget}, {"spoil": swap_layers}])
def test_a_broken_cache_is_noticed(net, rows, broken):
    tokens, _ = rows
    everything = torch.ones_like(tokens, dtype=torch.bool)
    answers = read_by_steps(net, tokens, everything, first=5, capacity=32, **broken)
    with torch.no_grad():
        assert (answers[:, 1:] - net(tokens)[:, 5:]).abs().max() > 1e-2


def test_greedy_with_and_without_a_cache_write_the_same():
    torch.manual_seed(0)
    module = SPEC.build().eval()
    prompt = reference_generation.together(SPEC.generation.prompts(0), stories.PAD)
    slow = reference_generation.greedy(module, SPEC.generation, prompt, 12)
    quick = reference_generation.cached(module, SPEC, prompt, 12)
    assert slow.tokens.tolist() == quick.tokens.tolist()


@torch.no_grad()
@pytest.mark.parametrize("graph", SPEC.graphs, ids=lambda g: g.name)
def test_declared_tensors_are_the_graphs(graph):
    module = graph.view(SPEC.build())
    sizes = {"batch": 3, "prompt": 5, "cache": 16}
    inputs = [torch.ones(i.shape(sizes), dtype=getattr(torch, i.dtype)) for i in graph.inputs]
    outputs = module(*inputs)
    assert [tuple(o.shape) for o in outputs] == [spec.shape(sizes) for spec in graph.outputs]


# The stories


@pytest.fixture(scope="module")
def told():
    return stories.draw_stories(5, 150, held_out=True)


def facts(text):
    """(owner, place and colour of each thing, home of each person) as a reader takes them from the words alone."""
    owner, place, colour, home = {}, {}, {}, {}
    last = ""
    for sentence in re.split(r" [.?] ?", re.sub(r"[^.]*\? [^.]*\.", "", text)):
        if found := re.fullmatch(r" ?(\w+) lives (.*)", sentence):
            home[found[1]] = found[2]
        elif found := re.fullmatch(r" ?(?:On \w+ )?(\w+) (?:has|finds) (?:a|two) (\w+) (\w+)", sentence):
            last, colour[found[3]], owner[found[3]] = found[1], found[2], found[1]
        elif found := re.fullmatch(r" ?(\w+) gives the (\w+) to (\w+)", sentence):
            owner[found[2]] = found[3]
            assert found[1] == ("She" if last in stories.WOMEN else "He")
        elif found := re.fullmatch(r" ?\w+ hides the (\w+) (.*)", sentence):
            place[found[1]] = found[2]
    return owner, place, colour, home


def test_answers_are_what_a_reader_of_the_story_finds(told):
    kinds = {"Who": 0, "Where": 0, "What": 0}
    for story in told:
        for start, end in story.answers:
            owner, place, colour, home = facts(" ".join(story.words[:start]))
            question = " ".join(story.words[:start]).replace("?", ".").split(" . ")[-1].removesuffix(" .")
            answer = " ".join(story.words[start:end])
            about = question.split()[-2 if question.endswith("live") else -1]
            plural = about in stories.PLURAL
            kinds[question.split()[0]] += 1
            if question.startswith("Who"):
                assert answer == f"{owner[about]} has {'them' if plural else 'it'} ."
            elif question.endswith("live"):
                assert answer == f"{about} lives {home[about]} ."
            else:
                what = colour[about] if question.startswith("What") else place[about]
                assert answer == f"The {about} {'are' if plural else 'is'} {what} ."
    assert min(kinds.values()) > 20


def test_a_held_out_story_has_a_pair_that_no_training_story_has(told):
    trained = {pair for story in stories.draw_stories(0, 600, held_out=False) for pair in story.pairs}
    assert all(story.pairs - trained for story in told)
    people, things = ({pair[n] for pair in trained} for n in (0, 1))
    assert people == set(stories.PEOPLE) and things == set(stories.THINGS), "every word is seen in training"


def test_stories_are_drawn_from_the_seed_and_differ(told):
    texts = [str(story) for story in told]
    assert texts == [str(story) for story in stories.draw_stories(5, 150, held_out=True)]
    assert len(set(texts)) == 150
    assert max(len(story.words) for story in told) <= stories.LONGEST


def test_the_tokenizer_of_the_bundle_reads_and_writes_as_training_did(told):
    assets = MODEL.assets()
    tokenizer = Tokenizer.from_str(json.dumps(assets["tokenizer.json"]))
    for story in told[:20]:
        assert tokenizer.encode(str(story).replace(" .", ".").replace(" ?", "?")).ids == stories.encode(str(story))
    assert tokenizer.decode([*stories.encode("Who has the lamp ? Ben has it ."), stories.END]) == (
        "Who has the lamp? Ben has it."
    )
    assert tokenizer.encode("Zoe has").ids[0] == assets["text.json"]["unknown"] == stories.UNKNOWN
    assert tokenizer.token_to_id("[PAD]") == assets["text.json"]["pad"] == stories.PAD


def test_a_question_counts_as_answered_when_every_word_is_right():
    text = torch.tensor(
        [stories.encode("Ben has it . Who has it ? Ben has it . Where is it ? The cup is on the hill .")]
    )
    guess = text.clone()
    assert answered(guess, text).tolist() == [1.0]
    guess[0, :4] = 0  # not an answer
    assert answered(guess, text).tolist() == [1.0]
    guess[0, -2] += 1
    assert answered(guess, text).tolist() == [0.5]
    guess[0, 8] += 1
    assert answered(guess, text).tolist() == [0.0]


def test_fresh_keys_are_the_first_queries_of_their_group():
    for block in SPEC.build().blocks:
        heads = block.attention.project.weight.unflatten(0, (8, 8))
        assert torch.equal(heads[4], heads[0]) and torch.equal(heads[5], heads[2])
        assert not torch.equal(heads[0], heads[1]) and not torch.equal(heads[6], heads[0])
