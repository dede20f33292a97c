"""Beam search, held against Hugging Face's on the same logits, and against all answers there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.errors import BackendError, UsageError
from attn_runtime.generate import GenerateOptions, Generator, open_generator
from attn_runtime.generate.beam import BeamSearch
from attn_runtime.generate.graphs import GenerationRules
from attn_runtime.generate.graphs.kv_cache import SPARE, moves
from attn_runtime.generate.rules import ScoreRules
from attn_runtime.generate.settings import Settings
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


class Table:
    """A model whose logits [vocabulary] are drawn from a seed for each sequence of tokens; what a search asks of `StepGraphs`."""

    def __init__(self, rows: int, beams: int, vocabulary: int, dtype: str, kind: str, seed: int) -> None:
        self.rows, self._vocabulary, self._dtype, self._kind, self._seed = rows * beams, vocabulary, dtype, kind, seed
        self.read: list[list[int]] = [[row // beams] for row in range(self.rows)]

    def logits(self, sequence: Sequence[int]) -> np.ndarray:
        rng = np.random.default_rng([self._seed, *sequence])
        found = rng.standard_normal(self._vocabulary) * 2
        if self._kind == "ties":
            found = np.round(found)
        if self._kind == "gaps":
            found[rng.random(self._vocabulary) < 0.9] = -math.inf
            found[[0, 2, 8, 10]] = 0.0
        return found.astype(self._dtype)

    def reorder(self, parents: Sequence[int], active: np.ndarray) -> None:
        ended = np.flatnonzero(~active)
        assert np.array(parents)[ended].tolist() == ended.tolist(), "rows that ended are moved for nobody"
        self.read = [list(self.read[parent]) for parent in parents]

    def advance(self, tokens: np.ndarray, active: np.ndarray) -> np.ndarray:
        for row, token in zip(self.read, tokens.tolist(), strict=True):
            row.append(token)
        found = np.stack([self.logits(row) for row in self.read])
        found[~active] = np.nan  # means nothing
        return found


def plain_search(table: Table, row: int, limit: int, settings: Settings, rules: ScoreRules | None) -> tuple[Any, ...]:
    """(score, tokens) of one row by the rules at the head of beam.py, from every sum that there is."""
    beams, never = settings.beams, -1.0e9
    running, sums, finished = [[] for _ in range(beams)], [0.0, *[never] * (beams - 1)], []  # type: ignore[var-annotated]
    for length in range(1, limit + 1):
        given = np.stack([table.logits([row, *answer]) for answer in running])
        given = given.astype(np.promote_types(given.dtype, np.float32))
        largest = given.max(1, keepdims=True)
        logits = given - (np.log(np.exp(given - largest).sum(1, np.float64)) + largest[:, 0])[:, None]
        if rules is not None:
            rules.apply(logits, row, running)
        every = (logits + np.array(sums)[:, None]).T.reshape(-1)
        best = np.argsort(-every, kind="stable")[: max(2, 1 + len(settings.stop)) * beams]
        ranked = [(float(every[at]), [*running[at % beams], int(at // beams)]) for at in best.tolist()]
        ends = [answer[-1] in settings.stop or length == limit for _, answer in ranked]
        for (value, answer), end in list(zip(ranked, ends, strict=True))[:beams]:
            if end and value > never / 2:
                finished.append((settings.score(value, length), answer))
        finished = sorted(finished, key=lambda each: -each[0])[:beams]
        on = sorted(
            [(v + never if end else v, a) for (v, a), end in zip(ranked, ends, strict=True)], key=lambda e: -e[0]
        )
        sums, running = [value for value, _ in on[:beams]], [answer for _, answer in on[:beams]]
        full = len(finished) == beams
        if full and (settings.early_stop or settings.score(sums[0], length) <= finished[-1][0]):
            break
        if sums[0] == -math.inf and finished:
            break
    return finished[0] if finished else (settings.score(sums[0], length), running[0])


RULES = {
    "none": (GenerateOptions(), {}),
    "forbids": (GenerateOptions(no_repeat_ngram=2, min_length=3), {"suppress": (5, 9), "suppress_first": (7,)}),
    "penalty": (GenerateOptions(repetition_penalty=1.3), {"suppress": (3,)}),
    "forced end": (GenerateOptions(early_stop=True), {"forced_end": (1,), "suppress": (3,)}),
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("kind", ["usual", "ties", "gaps"])
@pytest.mark.parametrize(
    ("dtype", "vocabulary"), [("float32", 300), ("float32", 11), ("float64", 70), ("float16", 300)]
)
def test_tokens_and_scores_are_those_of_a_plain_search_bit_for_bit(
    rules: str, kind: str, dtype: str, vocabulary: int
) -> None:
    limits, prompts = [9, 4, 0, 12], [[2, 4]] * 4
    for seed, beams in enumerate((2, 4, 5)):
        given, more = RULES[rules]
        of_model = GenerationRules(begin=(2, 4), **more)
        settings = replace(Settings.of(given, of_model, (1, 6), "here"), beams=beams)
        ruled = ScoreRules.of(settings, prompts, limits, "here")
        stops = np.zeros(vocabulary, bool)
        stops[[1, 6]] = True
        table = Table(len(limits), beams, vocabulary, dtype, kind, seed)
        search = BeamSearch(limits, stops, 0, settings, ruled)
        search.generate(table, np.stack([table.logits([row]) for row in range(4)]), "here", None)  # type: ignore[arg-type]
        tokens, lengths, scores, _ = search.result()
        for row, limit in enumerate(limits):
            score, answer = plain_search(table, row, limit, settings, ruled) if limit else (0.0, [])
            assert (tokens[row, : lengths[row]].tolist(), scores[row]) == (answer, score)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_logits_that_overflow_are_refused_in_a_row_that_counts() -> None:
    settings = replace(Settings.of(GenerateOptions(), GenerationRules(begin=(2,)), (1,), "here"), beams=2)
    stops = np.arange(50) == 1
    for bad in (np.nan, np.inf):
        table = Table(2, 2, 50, "float32", "usual", 0)
        logits = np.stack([table.logits([row]) for row in range(2)])
        logits[1, 7] = bad
        BeamSearch([2, 0], stops, 0, settings).generate(table, logits, "here", None)  # type: ignore[arg-type]
        table = Table(2, 2, 50, "float32", "usual", 0)
        with pytest.raises(BackendError, match=r"here: the logits of row 2 are nan at step 0: the graph overflows"):
            BeamSearch([2, 2], stops, 0, settings).generate(table, logits, "here", None)  # type: ignore[arg-type]
