"""A generator that is told each token before the next, against the same model in float64 without a cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from attn_export.parity import teacher_forcing
from attn_export.parity.teacher_forcing import Agreement, Likelihood, agreement, has_answers, likelihood
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.tensor_files import write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import PassError
from support.models.tiny_generators import (
    Tiny,
    asset_of,
    case_of,
    drawn_prompts,
    greedy_of,
    logits_of,
    padded,
    write_bundle,
)

LM = Tiny(encoder=False, key_heads=1, stop=())
TRANSLATOR = Tiny(stop=())
PROMPTS = {tiny: drawn_prompts(tiny, (6, 3, 5)) for tiny in (LM, TRANSLATOR)}
MOST = 20


@dataclass(frozen=True)
class Spoilt(Tiny):
    """Half as much of every value, and another sign in some."""

    def weights(self) -> dict[str, np.ndarray]:
        found = super().weights()
        found["layer0.self.v"] = found["layer0.self.v"] * np.where(
            np.arange(found["layer0.self.v"].shape[1]) % 3, 0.5, -0.5
        )
        return {name: value.astype(np.float32) for name, value in found.items()}


def spoilt(tiny: Tiny) -> Spoilt:
    return Spoilt(**vars(tiny))


@pytest.fixture(scope="module")
def isolated() -> Iterator[ChildProcess]:
    with ChildProcess(60) as child:
        yield child


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[Tiny, Path]:
    """Not to be changed. Beside the greedy case there is one with beams, whose tokens nobody asks for."""
    folder = tmp_path_factory.mktemp("tiny")
    made = {}
    for tiny in (LM, TRANSLATOR):
        case = case_of(tiny, PROMPTS[tiny], MOST)
        beams = {
            **case,
            "case": "beams",
            "beams": 2,
            "outputs": {**case["outputs"], "tokens": case["outputs"]["tokens"] * 0 + 3},
        }
        made[tiny] = write_bundle(folder / f"{tiny.encoder}.attn", tiny, [case, beams])
    for tiny in (LM, TRANSLATOR):
        write_bundle(folder / f"spoilt-{tiny.encoder}.attn", spoilt(tiny))
    return made


def spoilt_files(bundle: Path) -> dict[str, Path]:
    other = bundle.with_name(f"spoilt-{bundle.name}")
    return {name: other / f"{name}.onnx" for name in Bundle.open(bundle).graphs}


def behind_the_recorded(tiny: Tiny, recorded: Tiny) -> tuple[int, int, int]:
    """Tokens that `recorded` writes; how many `tiny` writes behind them; and how many it writes by itself at the same places."""
    tokens = own = free = 0
    for prompt in PROMPTS[recorded]:
        start = [recorded.begin] if recorded.encoder else list(prompt)
        answer = greedy_of(recorded, prompt, MOST)
        logits = logits_of(tiny, [*start, *answer[:-1]], prompt)[len(start) - 1 :]
        tokens, own = tokens + len(answer), own + int((logits.argmax(1) == answer).sum())
        free += sum(a == b for a, b in zip(greedy_of(tiny, prompt, MOST), answer, strict=False))
    return tokens, own, free


@pytest.mark.parametrize("tiny", [LM, TRANSLATOR], ids=["lm", "translator"])
def test_each_token_counts_behind_the_recorded_ones(
    tiny: Tiny, bundles: dict[Tiny, Path], isolated: ChildProcess
) -> None:
    bundle = bundles[tiny]
    tokens, own, free = behind_the_recorded(spoilt(tiny), tiny)
    assert free < own < tokens, "one early difference does not spoil all behind it"
    assert agreement(bundle, {}, isolated, "fp32") == Agreement(tokens, tokens)
    found = agreement(bundle, spoilt_files(bundle), isolated, "the spoilt graphs")
    assert found == Agreement(tokens, own)
    assert found.to_json() == {"tokens": tokens, "agreeing": own} and found.share == own / tokens


def test_only_greedy_answers_with_a_token_are_answers(bundles: dict[Tiny, Path], tmp_path: Path) -> None:
    assert has_answers(Bundle.open(bundles[LM]))
    case = case_of(LM, PROMPTS[LM], 3)
    empty = {**case, "outputs": {**case["outputs"], "lengths": case["outputs"]["lengths"] * 0}}
    for number, cases in enumerate(([], [empty], [{**case, "beams": 2}])):
        assert not has_answers(Bundle.open(write_bundle(tmp_path / f"{number}.attn", LM, cases)))


def windows(path: Path, rows: list[list[int]]) -> Path:
    write_tensors(path, {"tokens": padded(rows)[0], "lengths": np.array([len(row) for row in rows])})
    return path


ROWS = drawn_prompts(LM, (9, 40, 2, 17, 30, 12), seed=5)


def cross_entropy(tiny: Tiny, rows: list[list[int]], given: int = 1) -> float:
    """torch's, over the logits of the model in float64."""
    pairs = [(logits_of(tiny, row)[given - 1 : -1], row[given:]) for row in rows]
    logits, tokens = (
        torch.tensor(np.concatenate([a for a, _ in pairs])),
        torch.tensor(np.concatenate([b for _, b in pairs])),
    )
    return float(torch.nn.functional.cross_entropy(logits, tokens))


def test_likelihood_is_torchs_cross_entropy(bundles: dict[Tiny, Path], isolated: ChildProcess, tmp_path: Path) -> None:
    file = windows(tmp_path / "w.safetensors", ROWS)
    exact = likelihood(bundles[LM], {}, file, isolated, "fp32")
    assert (exact.tokens, exact.windows) == (sum(map(len, ROWS)) - 6, 6)
    assert exact.loss == pytest.approx(cross_entropy(LM, ROWS), rel=1e-5)
    assert exact.perplexity == pytest.approx(np.exp(cross_entropy(LM, ROWS)), rel=1e-5)
    other = likelihood(bundles[LM], spoilt_files(bundles[LM]), file, isolated, "spoilt")
    assert other.loss == pytest.approx(cross_entropy(spoilt(LM), ROWS), rel=1e-5)
    assert abs(other.loss / exact.loss - 1) > 1e-2
    first = likelihood(bundles[LM], {}, file, isolated, "fp32", most=2)
    assert (first.windows, first.tokens) == (2, 47)
    assert first.loss == pytest.approx(cross_entropy(LM, ROWS[:2]), rel=1e-5)


def test_what_the_model_writes_is_likelier(bundles: dict[Tiny, Path], isolated: ChildProcess, tmp_path: Path) -> None:
    """Its own answers, and what is spoilt finds them less likely."""
    rows = [[*prompt, *greedy_of(LM, prompt, MOST)] for prompt in PROMPTS[LM]]
    file = windows(tmp_path / "w.safetensors", rows)
    exact = likelihood(bundles[LM], {}, file, isolated, "fp32")
    assert exact.perplexity < 0.5 * likelihood(bundles[LM], spoilt_files(bundles[LM]), file, isolated, "x").perplexity


def test_the_time_ends_it_at_whole_batches(bundles: dict[Tiny, Path], tmp_path: Path) -> None:
    file = windows(tmp_path / "w.safetensors", ROWS)
    found = teacher_forcing.likelihood_here(str(bundles[LM]), {}, str(file), None, 0.0)
    assert found["windows"] == 4 and found["loss"] == pytest.approx(cross_entropy(LM, ROWS[:4]), rel=1e-5)
    found = teacher_forcing.likelihood_here(str(bundles[LM]), {}, str(file), 6, 0.0)
    assert found["windows"] == 6, "as many as were asked for, to be compared with another's"


def test_rules_of_writing_are_none_of_reading(isolated: ChildProcess, tmp_path: Path) -> None:
    rules = {"suppress": [4, 5, 6], "defaults": {"repetition_penalty": 3.0, "max_length": 4, "sample": {"top_k": 2}}}
    bundle = write_bundle(tmp_path / "t.attn", LM, generation=asset_of(LM) | rules)
    found = likelihood(bundle, {}, windows(tmp_path / "w.safetensors", ROWS), isolated, "fp32")
    assert found.loss == pytest.approx(cross_entropy(LM, ROWS), rel=1e-5)


def test_graphs_of_two_rows_and_three_tokens_at_least(isolated: ChildProcess, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "t.attn", LM)
    manifest = json.loads((bundle / "manifest.json").read_text())
    for graph in manifest["graphs"].values():
        for dim in [dim for tensor in (*graph["inputs"], *graph["outputs"]) for dim in tensor["dims"]]:
            dim |= {"batch": {"min": 2}, "prompt": {"min": 3, "opt": 3}}.get(dim["name"], {})
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    rows = [row for row in ROWS if len(row) > 3]
    found = likelihood(bundle, {}, windows(tmp_path / "w.safetensors", rows), isolated, "fp32")
    assert (found.windows, found.tokens) == (5, sum(map(len, rows)) - 15), "the fifth is alone"
    assert found.loss == pytest.approx(cross_entropy(LM, rows, 3), rel=1e-5)


def test_what_can_not_be_run_is_one_line(bundles: dict[Tiny, Path], isolated: ChildProcess, tmp_path: Path) -> None:
    model = onnx.load(bundles[LM] / "step.onnx")
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "step.onnx")
    files, file = {"step": tmp_path / "step.onnx"}, windows(tmp_path / "w.safetensors", ROWS)
    for call in (
        lambda: agreement(bundles[LM], files, isolated, "the broken graphs"),
        lambda: likelihood(bundles[LM], files, file, isolated, "the broken graphs"),
    ):
        with pytest.raises(PassError, match="^the broken graphs can't be run: .*NoSuchOperator") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_loss_beyond_a_number_is_infinite() -> None:
    assert Likelihood(1e3, 1, 1).perplexity == float("inf")
    assert Likelihood(0.0, 1, 1).perplexity == 1.0
