"""What PyTorch generates: the definition of greedy and beam search, against brute force and against Hugging Face."""

import itertools
import math

import pytest
import torch
from attn_models import reference_generation
from attn_models.spec import GenerationSpec
from attn_runtime.errors import InputError, UsageError
from torch import nn

VOCABULARY, STOP, PAD = 5, 0, 4
ASSET = {
    "encoder": None,
    "first": "first",
    "step": "step",
    "cache": ["key_0"],
    "begin": None,
    "stop": [STOP],
    "pad": PAD,
}


class Table(nn.Module):
    """Logits of the next token, drawn for every pair of last tokens: [tokens, tokens, vocabulary]."""

    def __init__(self, seed: int, flat: bool = False) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.table = torch.zeros(VOCABULARY, VOCABULARY, VOCABULARY)
        if not flat:
            self.table = torch.randn(VOCABULARY, VOCABULARY, VOCABULARY, generator=random) * 1.5

    def forward(self, tokens):
        before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
        return self.table[before, tokens]


def table_spec(max_length=12):
    return GenerationSpec(
        asset={**ASSET, "max_length": max_length},
        logits=lambda module, prompt, tokens: module(tokens),
        prompts=lambda seed: [{"tokens": torch.tensor([[1]])}],
    )


def prompt(*rows):
    return reference_generation.together([{"tokens": torch.tensor([row])} for row in rows], PAD)


def every_answer(module, start, limit):
    """All answers of one row with their summed log probability, by brute force."""
    found = {}
    for length in range(1, limit + 1):
        for answer in itertools.product(range(VOCABULARY), repeat=length):
            if STOP in answer[:-1] or (length < limit and answer[-1] != STOP):
                continue
            log_probs = module(torch.tensor([[*start, *answer]])).double().log_softmax(-1)[0]
            found[answer] = sum(float(log_probs[len(start) - 1 + n, token]) for n, token in enumerate(answer))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
def test_with_beams_enough_for_everything_the_best_of_all_answers_is_found(seed, length_penalty):
    module = Table(seed)
    answers = every_answer(module, [1, 2], limit=4)
    scores = {answer: total / len(answer) ** length_penalty for answer, total in answers.items()}
    best = max(scores, key=scores.get)
    found = reference_generation.beam(
        module, table_spec(), prompt([1, 2]), beams=700, length_penalty=length_penalty, max_length=4
    )
    assert tuple(found.tokens[0].tolist()) == best
    assert found.lengths.tolist() == [len(best)]
    assert found.scores[0] == pytest.approx(scores[best], abs=1e-5)
    runner_up = sorted(scores.values())[-2]
    assert found.margin <= scores[best] - runner_up + 1e-9


def test_one_beam_is_greedy():
    for seed in range(8):
        module, rows = Table(seed), prompt([1], [2, 3, 1], [3, 3])
        greedy = reference_generation.greedy(module, table_spec(), rows, 8)
        one = reference_generation.beam(module, table_spec(), rows, beams=1, length_penalty=1.0, max_length=8)
        assert torch.equal(greedy.tokens, one.tokens) and torch.equal(greedy.lengths, one.lengths)
        assert torch.allclose(greedy.scores, one.scores, atol=1e-6)


def test_greedy_by_hand():
    module = Table(0, flat=True)
    # after (start, 1): 2, runner-up 3; after (1, 2): 3; after (2, 3): stop
    module.table[0, 1, 2], module.table[0, 1, 3] = 4.0, 1.5
    module.table[1, 2, 3] = 2.0
    module.table[2, 3, STOP] = 5.0
    found = reference_generation.greedy(module, table_spec(), prompt([1]), 10, length_penalty=2.0)
    assert found.tokens.tolist() == [[2, 3, STOP]]
    assert found.lengths.tolist() == [3]
    first = 4.0 - math.log(math.exp(4.0) + math.exp(1.5) + 3)
    second = 2.0 - math.log(math.exp(2.0) + 4)
    third = 5.0 - math.log(math.exp(5.0) + 4)
    assert found.scores[0] == pytest.approx((first + second + third) / 9, abs=1e-6)
    assert found.margin == pytest.approx(2.0)  # of 2.5, 2.0 and 5.0


def test_of_equal_tokens_the_lowest_is_taken():
    module = Table(0, flat=True)
    module.table[..., STOP] = -9.0
    found = reference_generation.greedy(module, table_spec(), prompt([3]), 2)
    assert found.tokens.tolist() == [[1, 1]] and found.margin == 0.0
    found = reference_generation.beam(module, table_spec(), prompt([3]), 2, 1.0, 2)
    assert found.tokens.tolist() == [[1, 1]] and found.margin == 0.0


@pytest.mark.parametrize("way", ["greedy", "beam"])
def test_a_row_of_a_padded_batch_is_answered_as_if_alone(way):
    rows = [[1], [2, 3, 1, 2], [3, 3], [1, 1, 1]]
    for seed in range(5):
        module = Table(seed)

        def answer(batch, module=module):
            if way == "greedy":
                return reference_generation.greedy(module, table_spec(), batch, 7)
            return reference_generation.beam(module, table_spec(), batch, 3, 1.0, 7)

        together = answer(prompt(*rows))
        alone = [answer(prompt(row)) for row in rows]
        for n, one in enumerate(alone):
            length = int(one.lengths[0])
            assert together.tokens[n, :length].tolist() == one.tokens[0, :length].tolist()
            assert together.tokens[n, length:].eq(PAD).all()
        assert together.lengths.tolist() == [int(one.lengths[0]) for one in alone]
        assert torch.allclose(together.scores, torch.cat([one.scores for one in alone]))
        assert together.margin == pytest.approx(min(one.margin for one in alone))


def test_the_margin_is_how_far_logits_may_move_without_changing_an_answer():
    changed = 0
    for seed in range(30):
        module = Table(seed)
        before = reference_generation.greedy(module, table_spec(), prompt([1], [2]), 6)
        noise = torch.rand(module.table.shape, generator=torch.Generator().manual_seed(seed)) - 0.5  # -0.5..0.5
        moved = Table(seed)
        moved.table = module.table + noise * before.margin * 0.99
        assert torch.equal(reference_generation.greedy(moved, table_spec(), prompt([1], [2]), 6).tokens, before.tokens)
        moved.table = module.table + noise * before.margin * 20
        after = reference_generation.greedy(moved, table_spec(), prompt([1], [2]), 6).tokens
        changed += not torch.equal(after, before.tokens)
    assert changed > 3, "a noise well beyond the margin should show"


def test_the_margin_of_beams_knows_how_near_a_stop_token_was_to_being_left_out():
    module = Table(0, flat=True)
    # After the prompt: 1, then the stop token, which is among the first two by a hair, then 2; all others far away.
    module.table[0, 3] = torch.tensor([0.0, 1.0, -0.01, -9.0, -9.0])
    module.table[3, 1] = torch.tensor([-9.0, 1.0, -8.0, -9.0, -9.0])
    module.table[3, 2] = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])
    found = reference_generation.beam(module, table_spec(), prompt([3]), beams=2, length_penalty=0.0, max_length=2)
    assert found.margin == pytest.approx(0.01, abs=1e-6)


def test_a_row_ends_at_the_models_own_limit_too():
    module = Table(0, flat=True)
    module.table[..., STOP] = -9.0
    rows = prompt([1], [1, 2, 3], [1, 2, 3, 2])
    for found in (
        reference_generation.greedy(module, table_spec(max_length=4), rows, 8),
        reference_generation.beam(module, table_spec(max_length=4), rows, 2, 1.0, 8),
    ):
        assert found.lengths.tolist() == [3, 1, 0]
        assert found.tokens.shape == (3, 3)
        assert found.scores[2] == 0


def test_nothing_asked_for_is_nothing_made():
    for found in (
        reference_generation.greedy(Table(0), table_spec(), prompt([1]), 0),
        reference_generation.beam(Table(0), table_spec(), prompt([1]), 2, 1.0, 0),
    ):
        assert found.tokens.shape == (1, 0) and found.lengths.tolist() == [0] and found.margin == math.inf


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        (
            {"tokens": torch.ones(1, 13, dtype=torch.int64)},
            InputError,
            "got 13 tokens; the model's rows have at most 12",
        ),
        (
            {"tokens": torch.ones(1, 2, dtype=torch.int64), "tokens_mask": torch.tensor([[False, True]])},
            InputError,
            "true behind false",
        ),
        (
            {"tokens": torch.ones(1, 2, dtype=torch.int64), "tokens_mask": torch.tensor([[False, False]])},
            InputError,
            "a row without tokens",
        ),
    ],
)
def test_prompts_that_cant_be_continued(rows, error, said):
    with pytest.raises(error, match=said):
        reference_generation.greedy(Table(0), table_spec(), rows, 3)


def test_a_length_or_number_of_beams_that_makes_no_sense():
    with pytest.raises(UsageError, match="max_length: got -1"):
        reference_generation.greedy(Table(0), table_spec(), prompt([1]), -1)
    with pytest.raises(UsageError, match="beams: got 0"):
        reference_generation.beam(Table(0), table_spec(), prompt([1]), 0, 1.0, 3)


@pytest.fixture(scope="module")
def small_gpt():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=9, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=0, pad_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0)  # answers of an untrained model are otherwise all alike
    return model


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("early_stop", [False, True])
def test_beams_find_what_hugging_face_finds(small_gpt, length_penalty, early_stop):
    spec = GenerationSpec(
        asset={**ASSET, "pad": 0, "max_length": 32},
        logits=lambda module, prompt, tokens: module(tokens).logits,
        prompts=lambda seed: [],
    )
    random = torch.Generator().manual_seed(7)
    ended = 0
    for beams in (2, 3, 5):
        tokens = torch.randint(1, 9, (12, 4), generator=random)
        theirs = small_gpt.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            num_beams=beams,
            do_sample=False,
            length_penalty=length_penalty,
            early_stopping=early_stop,
            max_new_tokens=9,
            output_scores=True,
            return_dict_in_generate=True,
        )
        ours = reference_generation.beam(small_gpt, spec, {"tokens": tokens}, beams, length_penalty, 9, early_stop)
        assert ours.margin > 1e-6
        assert torch.equal(ours.tokens, theirs.sequences[:, 4:])
        assert torch.allclose(ours.scores, theirs.sequences_scores, atol=1e-4)
        ended += int((ours.lengths < 9).sum())
    assert ended > 3, "some answers should stop before the limit, or stopping is not tested"
