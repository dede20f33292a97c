"""What PyTorch generated is generated again; here numpy stands for PyTorch."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle, Case
from attn_runtime.errors import BundleError, InputError
from attn_runtime.generate import open_generator
from attn_runtime.generate.recorded_cases import generated_cases
from attn_runtime.generate.verify import logit_error, replay
from support.graphs.make_hostile_bundles import rehash
from support.models.tiny_generators import Tiny, case_of, drawn_prompts, write_bundle

TINY = Tiny(layers=1, max_length=24, seed=2)
PROMPTS = drawn_prompts(TINY, [4, 2, 7])


def bundle(tmp_path: Path, **changed: Any) -> Path:
    """With one case, of which some values are others than they should be."""
    case = case_of(TINY, PROMPTS, 20)
    for name, value in changed.items():
        place = case["outputs"] if name in case["outputs"] else case
        place[name] = value(place[name])
    return write_bundle(tmp_path / "tiny.attn", TINY, [case])


@pytest.mark.parametrize("tiny", [TINY, Tiny(encoder=False, key_heads=1)], ids=["encoder-decoder", "decoder-only"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_right_record_passes_in_a_batch_and_alone(tmp_path: Path, tiny: Tiny, precision: str) -> None:
    path = write_bundle(tmp_path / "tiny.attn", tiny, [case_of(tiny, drawn_prompts(tiny, [4, 2, 7]), 20)])
    told: list[object] = []
    results = replay(path, "cpu", precision=precision, threads=1, on_result=told.append)
    assert [result.row for result in results] == [None, 0, 1, 2] and told == results
    for result in results:
        assert result.passed and result.same, result.problem
        assert result.score_error is not None and result.score_error <= result.allowed_error
    assert (precision == "fp32") <= all(result.decided for result in results)


GUESSING = Tiny(encoder=False, extend=True, vocabulary=7, key_heads=1, layers=1, seed=4, sharpness=1.5, stop=())
ROUND = [[3, 4, 5, 3, 4, 5, 3], [6, 5, 6, 5]]


def test_greedy_answers_are_written_with_guesses_too(tmp_path: Path) -> None:
    case = case_of(GUESSING, ROUND, 30)
    searched = case | {"case": "searched", "beams": 2, "margin": 1e-6, "tolerance": 1e6}
    results = replay(write_bundle(tmp_path / "tiny.attn", GUESSING, [case, searched]), "cpu", threads=1)
    assert [(r.case, r.row, r.drafted is not None) for r in results] == [
        *[("padded", row, guesses) for guesses in (False, True) for row in (None, 0, 1)],
        *[("searched", row, False) for row in (None, 0, 1)],
    ]
    assert all(r.passed and r.same and r.drafted != 0 for r in results[:6])
    assert results[3].to_json()["drafted"] == results[3].drafted


def test_a_wrong_graph_of_several_tokens_fails_with_guesses_alone(tmp_path: Path) -> None:
    """The graphs of two models in one bundle."""
    path = write_bundle(tmp_path / "tiny.attn", GUESSING, [case_of(GUESSING, ROUND, 30)])
    other = write_bundle(tmp_path / "other.attn", dataclasses.replace(GUESSING, seed=5))
    shutil.copy(other / "extend.onnx", path / "extend.onnx")
    rehash(path)
    results = replay(path, "cpu", threads=1)
    assert [r.passed for r in results] == [r.drafted is None for r in results]
    assert results[3].problem.startswith("row 0 of the batch, with guesses: token ")
    assert results[5].problem.startswith("row 1 alone, with guesses: token ")


def test_rows_that_stand_at_one_place_are_written_with_guesses_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bundle(tmp_path / "tiny.attn", GUESSING, [case_of(GUESSING, [ROUND[0]] * 2, 12)])
    with open_generator(path, "cpu", threads=1) as generator:
        monkeypatch.setattr(generator, "wiring", dataclasses.replace(generator.wiring, one_place=True))
        results = replay(path, generator=generator)
    assert [(r.row, r.drafted is not None) for r in results] == [
        *[(row, False) for row in (None, 0, 1)],
        *[(row, True) for row in (0, 1)],
    ]


def other_token(tokens: np.ndarray) -> np.ndarray:
    tokens[1, 0] = 12 if tokens[1, 0] != 12 else 11
    return tokens


def test_another_token_fails_where_it_was_decided(tmp_path: Path) -> None:
    results = replay(bundle(tmp_path, tokens=other_token), "cpu", threads=1)
    assert [result.passed for result in results] == [False, True, False, True]
    assert results[0].problem.startswith("row 1 of the batch: token 0 is ")
    assert results[2].problem.startswith("row 1 alone: token 0 is ") and "PyTorch's is 1" in results[2].problem


def test_a_worse_token_fails_where_the_case_decides_nothing(tmp_path: Path) -> None:
    results = replay(bundle(tmp_path, tokens=other_token, margin=lambda _: 1e-6), "cpu", threads=1)
    assert not any(result.decided for result in results)
    assert [result.passed for result in results] == [False, True, False, True]
    assert results[2].problem.startswith("row 1 alone: other tokens, and PyTorch's own score ")


def test_a_worse_token_fails_whatever_its_score(tmp_path: Path) -> None:
    loose = {"margin": lambda _: 1e-6, "tolerance": lambda _: 1e6}
    results = replay(bundle(tmp_path, tokens=other_token, **loose), "cpu", threads=1)
    assert [result.passed for result in results] == [False, True, False, True]
    assert "behind the likeliest, allowed" in results[2].problem


@dataclass(frozen=True)
class Twins(Tiny):
    """Tokens 11 and 12 are one in all but their number."""

    def weights(self) -> dict[str, np.ndarray]:
        found = super().weights()
        found["head"][:, 12], found["embed"][12] = found["head"][:, 11], found["embed"][11]
        return found


def test_another_token_is_told_where_both_are_right(tmp_path: Path) -> None:
    twins = Twins(layers=1, max_length=24, seed=2)
    case = case_of(twins, PROMPTS, 20)
    tokens = case["outputs"]["tokens"]
    assert (tokens == 11).any()
    case["outputs"]["tokens"] = np.where(tokens == 11, 12, tokens)
    results = replay(write_bundle(tmp_path / "twins.attn", twins, [case]), "cpu", threads=1)
    assert [result.decided for result in results] == [False] * 4
    assert all(result.passed for result in results) and not results[0].same


def test_a_token_that_is_none_of_the_models_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        replay(bundle(tmp_path, tokens=lambda t: t + 99, margin=lambda _: 0), "cpu", threads=1)
    assert "each of 0..12" in str(raised.value)


@pytest.mark.parametrize("never", [-np.inf, -1e9])
def test_tokens_that_are_never_written_leave_the_others_decided(tmp_path: Path, never: float) -> None:
    path = bundle(tmp_path)
    if np.isfinite(never):
        manifest = json.loads((path / "manifest.json").read_text())
        for graph in manifest["graphs"].values():
            if "logits" in [output["name"] for output in graph["outputs"]]:
                graph["precisions"]["fp32"]["tolerance"]["fills"] = {"logits": [[never, never]]}
        (path / "manifest.json").write_text(json.dumps(manifest))
    logits = np.array([[3.0, never, -4.0]], np.float32)
    case = Case("min", {}, {}, {"logits": logits})
    opened = Bundle.open(path)
    for name, graph in opened.graphs.items():
        opened.graphs[name] = dataclasses.replace(graph)
        object.__setattr__(opened.graphs[name], "cases", lambda type: iter([case]))
    with open_generator(opened, "cpu", threads=1) as generator:
        assert logit_error(opened, generator) == pytest.approx(1e-5 + 4 * 2e-5)


def test_a_graph_without_the_precision_of_another_has_its_own(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    precisions = manifest["graphs"]["step"]["precisions"]
    precisions["other"] = precisions.pop("fp32")
    del precisions["fp16"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert all(result.passed for result in replay(path, "cpu", threads=1))


def test_another_score_fails(tmp_path: Path) -> None:
    results = replay(bundle(tmp_path, scores=lambda scores: scores + np.float32(2e-4)), "cpu", threads=1)
    assert not any(result.passed for result in results)
    assert "scores are off by 0.0002, allowed 0.0001" in results[0].problem


def test_a_shorter_record_fails(tmp_path: Path) -> None:
    results = replay(bundle(tmp_path, lengths=lambda n: n - (n > 1)), "cpu", threads=1)
    assert not results[0].passed and "PyTorch's is the end" in results[0].problem


def test_a_bundle_without_cases_has_nothing_to_replay(tmp_path: Path) -> None:
    assert replay(write_bundle(tmp_path / "tiny.attn", TINY), "cpu") == []


def test_a_margin_without_a_number_is_infinite(tmp_path: Path) -> None:
    (case,) = generated_cases(Bundle.open(bundle(tmp_path, margin=lambda _: None)))
    assert case.margin == np.inf


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lengths": lambda n: n + 30}, "and tokens has"),
        ({"scores": lambda s: s[:2]}, "have [2, 3] rows"),
        ({"scores": lambda s: s.astype(np.float64)}, "expected float32"),
    ],
)
def test_a_record_that_does_not_fit_itself_is_refused(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BundleError) as raised:
        list(generated_cases(Bundle.open(bundle(tmp_path, **changed))))
    assert says in str(raised.value)
