"""Beam search, held against Hugging Face's on the same logits, and against all answers there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.errors import UsageError
from attn_runtime.generate import GenerateOptions, Generator, open_generator
from attn_runtime.generate.graphs.kv_cache import SPARE, moves
from attn_runtime.generate.topk import largest
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of, logits_of, write_bundle

# Flat enough that beams cross, with a stop token that comes up.
TRANSLATOR = Tiny(sharpness=1.0, batch=32, stop=(1, 4), seed=3)
WRITER = Tiny(encoder=False, key_heads=1, sharpness=1.0, batch=32, seed=5)
LENGTHS = [5, 3, 9, 1]


@pytest.fixture(scope="module", params=[TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return request.param


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("beam") / "tiny.attn", tiny)


@pytest.fixture(scope="module")
def generator(bundle: Path) -> Iterator[Generator]:
    with open_generator(bundle, "cpu", threads=1) as opened:
        yield opened


def hugging_face(
    tiny: Tiny, prompt: list[int], beams: int, penalty: float, early: bool, most: int
) -> tuple[list[int], float]:
    """The answer of transformers' generate, and its score, where the model is numpy without a cache."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    class Model(transformers.PreTrainedModel, transformers.GenerationMixin):
        def __init__(self) -> None:
            super().__init__(transformers.PretrainedConfig(vocab_size=tiny.vocabulary))
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def prepare_inputs_for_generation(self, input_ids: object, **_: object) -> dict[str, object]:
            return {"input_ids": input_ids}

        def forward(self, input_ids: object, return_dict: bool = True, **_: object) -> object:
            rows = [logits_of(tiny, row, prompt)[-1:] for row in input_ids.tolist()]
            logits = torch.from_numpy(np.stack(rows)).float()
            return transformers.modeling_outputs.CausalLMOutput(logits=logits)

    start = [tiny.begin] if tiny.encoder else prompt
    found = Model().generate(
        torch.tensor([start]), num_beams=beams,
        length_penalty=penalty, early_stopping=early, max_new_tokens=most, do_sample=False, use_cache=False,
        eos_token_id=list(tiny.stop), pad_token_id=0, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    tokens = found.sequences[0, len(start) :].tolist()
    ends = [n + 1 for n, token in enumerate(tokens) if token in tiny.stop]
    return tokens[: ends[0] if ends else None], float(found.sequences_scores[0])


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (4, 0.0), (5, 2.0)])
def test_a_padded_batch_answers_as_hugging_face_does(
    generator: Generator, tiny: Tiny, beams: int, penalty: float, early: bool
) -> None:
    prompts, most = drawn_prompts(tiny, LENGTHS, seed=beams), 20
    options = GenerateOptions(most, beams, penalty, early)
    found = generator.generate(inputs_of(tiny, prompts), options)
    assert found.scores is not None
    for number, prompt in enumerate(prompts):
        tokens, score = hugging_face(tiny, prompt, beams, penalty, early, most)
        assert found.row(number) == tokens
        np.testing.assert_allclose(found.scores[number], score, rtol=2e-5)
        assert found.stopped[number] == ("stop" if tokens[-1] in tiny.stop else "length")
        alone = generator.generate(inputs_of(tiny, [prompt]), options)
        assert alone.row(0) == tokens


@pytest.mark.parametrize("penalty", [0.0, 1.0, 3.0])
def test_as_many_beams_as_tokens_find_the_best_of_all_answers_of_two(tmp_path: Path, penalty: float) -> None:
    """With a beam for each beginning nothing is lost before the second token."""
    tiny = Tiny(vocabulary=5, max_length=8, sharpness=1.0, layers=1, batch=32, stop=(1,), seed=11)
    with open_generator(write_bundle(tmp_path / "tiny.attn", tiny), "cpu", threads=1) as generator:
        for prompt in drawn_prompts(tiny, [2, 4, 7, 3], seed=2):
            scores = {}
            for answer in [(1,), *itertools.product([0, 2, 3, 4], range(5))]:
                logits = logits_of(tiny, [tiny.begin, *answer[:-1]], prompt)
                logits = logits - np.log(np.exp(logits).sum(1, keepdims=True))
                scores[answer] = logits[range(len(answer)), answer].sum() / len(answer) ** penalty
            best = max(scores, key=lambda answer: scores[answer])
            found = generator.generate(inputs_of(tiny, [prompt]), GenerateOptions(2, 5, penalty))
            assert found.scores is not None and tuple(found.row(0)) == best
            np.testing.assert_allclose(found.scores[0], scores[best], rtol=1e-5)


def test_more_beams_than_tokens_are_refused(generator: Generator, tiny: Tiny) -> None:
    with pytest.raises(UsageError, match=r"beams: got 14, but the model has 13 tokens .* take 13 or fewer"):
        generator.generate(inputs_of(tiny, [[5]]), GenerateOptions(beams=14))


@pytest.mark.parametrize("length", [1, 2, 5, 7])
def test_moves_do_what_taking_all_at_once_would(length: int) -> None:
    rng = np.random.default_rng(length)
    cases = list(itertools.product(range(length), repeat=length)) if length < 6 else []
    cases += [tuple(rng.permutation(length)) for _ in range(50)]
    for parents in cases:
        rows = {SPARE: -1, **dict(enumerate(range(length)))}
        done = list(moves(parents))
        for target, source in done:
            rows[target] = rows[source]
        assert [rows[n] for n in range(length)] == list(parents)
        changed = sum(row != parent for row, parent in enumerate(parents))
        assert len(done) <= changed + changed // 2, "no more copies than rows that change, and one for each circle"


def test_the_largest_are_in_an_order_of_their_own() -> None:
    values = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0, -np.inf])
    assert largest(values, 4).tolist() == [1, 3, 2, 4]
    assert largest(values, 7).tolist() == [1, 3, 2, 4, 5, 0, 6]
    many = np.tile([0.0, 1.0], 200)  # so many that an unstable sort would mix them
    assert largest(many, 300).tolist() == [*range(1, 400, 2), *range(0, 200, 2)]
