"""What is drawn, how often, and that a row's draws are its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_runtime.errors import UsageError
from attn_runtime.generate import GenerateOptions, Sample, open_generator
from attn_runtime.generate.sampling import Sampler, distribution
from support.models.tiny_generators import Tiny, drawn_prompts, inputs_of, write_bundle

LOGITS = np.log(np.array([0.4, 0.05, 0.25, 0.05, 0.15, 0.1]))
DRAWS = 4000


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def only(kept: list[int], temperature: float = 1.0) -> np.ndarray:
    """Probabilities of all tokens where only these are left."""
    found = np.zeros(len(LOGITS))
    found[kept] = softmax(LOGITS[kept] / temperature)
    return found


CASES = [
    (Sample(), only([0, 1, 2, 3, 4, 5])),
    (Sample(temperature=0.5), only([0, 1, 2, 3, 4, 5], 0.5)),
    (Sample(temperature=2.0, top_k=3), only([0, 2, 4], 2.0)),
    (Sample(top_k=5), only([0, 1, 2, 4, 5])),  # 1 and 3 are as likely: the lower one stays
    (Sample(top_k=99), only([0, 1, 2, 3, 4, 5])),
    (Sample(top_p=0.65), only([0, 2])),
    (Sample(top_p=0.66), only([0, 2, 4])),
    (Sample(top_p=0.1), only([0])),
    (Sample(top_p=1.0), only([0, 1, 2, 3, 4, 5])),
    (Sample(top_k=3, top_p=0.8), only([0, 2])),  # of the three, 0.4 + 0.25 of 0.8 is 0.8125
]


@pytest.mark.parametrize(("sample", "wanted"), CASES)
def test_what_is_left_of_the_distribution(sample: Sample, wanted: np.ndarray) -> None:
    tokens, weights = distribution(LOGITS.astype(np.float32), sample)
    found = np.zeros(len(LOGITS))
    found[tokens] = weights
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def frequencies(sample: Sample) -> np.ndarray:
    sampler = Sampler(sample, 1)
    drawn = [int(sampler(LOGITS[None].astype(np.float32), np.array([True]))[0]) for _ in range(DRAWS)]
    return np.bincount(drawn, minlength=len(LOGITS)) / DRAWS


def is_of(found: np.ndarray, probabilities: np.ndarray) -> bool:
    """Within 4.5 standard deviations for each token, which chance leaves once in a hundred thousand times."""
    allowed = 4.5 * np.sqrt(probabilities * (1 - probabilities) / DRAWS)
    return bool((abs(found - probabilities) <= allowed + 1e-9).all())


@pytest.mark.parametrize("number", range(5))
def test_tokens_come_as_often_as_they_should(number: int) -> None:
    """And not as often as any of the other four would have it: the bound can fail."""
    found = frequencies(CASES[number][0])
    assert [is_of(found, wanted) for _, wanted in CASES[:4]] == [n == number for n in range(4)] or number == 4
    if number == 4:
        assert is_of(found, CASES[4][1]) and not is_of(found, CASES[1][1])


def test_a_seed_gives_the_same_again_and_another_one_something_else() -> None:
    np.testing.assert_array_equal(frequencies(Sample(seed=3)), frequencies(Sample(seed=3)))
    assert (frequencies(Sample(seed=3)) != frequencies(Sample(seed=4))).any()


@pytest.mark.parametrize("encoder", [True, False])
def test_a_rows_draws_do_not_depend_on_the_rows_beside_it(tmp_path: Path, encoder: bool) -> None:
    tiny = Tiny(encoder=encoder, sharpness=0.5, layers=1)
    prompts = drawn_prompts(tiny, [5, 3, 9, 4])
    with open_generator(write_bundle(tmp_path / "tiny.attn", tiny), "cpu", threads=1) as generator:
        together = generator.generate(inputs_of(tiny, prompts), GenerateOptions(20, sample=Sample(seed=7)))
        for row, prompt in enumerate(prompts):
            alone = generator.generate(inputs_of(tiny, [prompt]), GenerateOptions(20, sample=Sample(seed=7 + row)))
            assert alone.row(0) == together.row(row)
        backwards = generator.generate(
            inputs_of(tiny, prompts[::-1]), GenerateOptions(20, sample=Sample(seed=[10, 9, 8, 7]))
        )
        assert [backwards.row(3 - row) for row in range(4)] == [together.row(row) for row in range(4)]
        same = generator.generate(inputs_of(tiny, [prompts[0]] * 4), GenerateOptions(20, sample=Sample(seed=7)))
        assert len({tuple(same.row(row)) for row in range(4)}) > 1, "rows of one prompt draw differently"
        with pytest.raises(UsageError, match="got 3 seeds for 4 rows"):
            generator.generate(inputs_of(tiny, prompts), GenerateOptions(sample=Sample(seed=[1, 2, 3])))


@pytest.mark.parametrize("temperature", [1e-320, 5e-324])
def test_a_temperature_next_to_nothing_takes_the_likeliest(temperature: float) -> None:
    tokens, weights = distribution(LOGITS, Sample(temperature=temperature))
    assert dict(zip(tokens, weights, strict=True))[0] == 1.0 and np.isfinite(weights).all()


def test_a_seed_of_numpy_is_a_seed() -> None:
    assert Sample(seed=np.int64(3)).seeds(2) == [3, 4]  # type: ignore[arg-type]
