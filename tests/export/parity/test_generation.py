"""What a model writes is part of its proof: an export whose cache is wrong in any way is refused before it is published."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export import export
from attn_export.console import Console
from attn_export.parity import generation
from attn_export.parity.generation import Written, prove, write_cases
from attn_export.source.resolve import Source, load_source
from attn_models.reference_generation import Decoded
from attn_runtime.bundle.known_hashes import sha256_of
from attn_runtime.bundle.reader import Bundle
from attn_runtime.child_process import ChildProcess
from attn_runtime.cli.app import cli as attn_run
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError, ParityError
from attn_runtime.generate.verify import replay
from attn_runtime.tasks.verification import verify
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from support.command_lines.json_answers import result_of

QUIET = Console(True)


def source(name: str, *config: str, dims: tuple[str, ...] = ()) -> Source:
    return load_source(f"support.models.small_generators:{name}", config=config, dims=dims)


def cases(loaded: Source) -> list[Written]:
    return write_cases(loaded, loaded.tolerance, 0, QUIET)


def test_what_pytorch_wrote_lies_in_the_bundle_and_the_runtime_writes_it_too(small_translator: Path) -> None:
    bundle = Bundle.open(small_translator)
    assert bundle.asset("generation")["encoder"] == "encoder"
    greedy, beams = bundle.manifest["generation"]
    assert (greedy["beams"], beams["beams"], beams["length_penalty"]) == (1, 4, 1.0)
    for case in (greedy, beams):
        stored = load_file(small_translator / case["inputs"])
        lengths = stored["source_mask"].sum(1)
        assert len(lengths) > 1 and lengths.min() < lengths.max(), "a batch that has padding"
        assert case["margin"] > 2 * case["tolerance"]
    found = replay(bundle)
    assert {r.row for r in found if r.case == "greedy"} == {None, 0, 1, 2, 3, 4, 5}
    assert all(r.same and r.decided and r.passed for r in found)


@pytest.mark.parametrize(
    ("name", "broken"),
    [(name, fault) for name in ("translator", "lm") for fault in ("position", "value", "mask")]
    + [("translator", "cross")],
)
def test_a_broken_cache_is_refused(name: str, broken: str) -> None:
    with pytest.raises(
        ParityError, match=r"generated case greedy, row \d: PyTorch with the cache .* Nothing was written"
    ):
        cases(source(name, f"broken='{broken}'"))


def test_the_runtimes_loop_refuses_it_too_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every graph is what PyTorch's view of it is; only what they write together is not what the model writes."""
    monkeypatch.setattr(generation, "_same_with_cache", lambda *_: None)
    loaded = source("lm", "layers=1", "broken='position'")
    with pytest.raises(ParityError, match="the bundle does not write what PyTorch writes without a cache .*token 1 is"):
        export(loaded, tmp_path / "lm.attn")
    assert not list(tmp_path.iterdir())


def spoil(bundle: Path, target: Path, change: str) -> Path:
    """A copy whose recorded answers differ in one thing."""
    copied = shutil.copytree(bundle, target)
    for case in ("greedy", "beams"):
        path = copied / f"golden/generation.{case}.outputs.safetensors"
        stored = load_file(path)
        value = stored[change]
        value[-1] = value[-1] + np.asarray(0.05 if change == "scores" else 1, value.dtype)
        save_file(stored, path)
    return copied


@pytest.mark.parametrize("change", ["tokens", "scores"])
def test_tokens_and_scores_are_both_held(small_translator: Path, tmp_path: Path, change: str) -> None:
    spoilt = spoil(small_translator, tmp_path / "t.attn", change)
    with ChildProcess() as isolated, pytest.raises(ParityError, match=r"cases greedy, beams"):
        prove(spoilt, isolated, QUIET)


def test_verify_replays_what_was_written(
    small_translator: Path, tmp_path: Path, attn_export: Callable[..., Any]
) -> None:
    report = verify(small_translator)
    assert len(report.generation) == 11 and report.to_json()["generation"][0]["same_tokens"]
    assert "9 of 9 generated answers PyTorch's" in attn_export("verify", small_translator).err
    assert not verify(small_translator, graph="step").generation, "one graph writes nothing"
    assert not verify(small_translator, backend="replay").generation, "it knows the golden cases alone"
    spoilt = spoil(small_translator, tmp_path / "t.attn", "tokens")
    manifest = json.loads((spoilt / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        entry["sha256"] = sha256_of(spoilt / name)
    (spoilt / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ParityError, match="every graph answers as PyTorch does .* do not write what it writes, in 4 of 11"
    ):
        verify(spoilt)


def too_close(bundle: Path) -> Path:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for case in manifest["generation"]:
        case["margin"] = case["tolerance"] / 4
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def test_a_case_that_is_too_close_is_told_and_never_passed_in_silence(
    small_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_translator, tmp_path / "same.attn")
    with ChildProcess() as isolated:
        prove(too_close(tmp_path / "same.attn"), isolated, Console())
        said = capsys.readouterr().err
        assert said.count("is undecided in the bundle") == 2 and said.count("it wrote the same tokens") == 2
        spoilt = too_close(spoil(small_translator, tmp_path / "t.attn", "tokens"))
        with pytest.raises(ParityError, match="other tokens, and PyTorch's own score"):
            prove(spoilt, isolated, Console())


def test_prompts_are_chosen_by_margin_and_padded() -> None:
    loaded = source("lm")
    greedy, beams = cases(loaded)
    assert len(beams.prompts) == 3, "as many as the graphs take, over the beams"
    assert greedy.decided and beams.decided
    in_half = 1e-2 / loaded.tolerance.rtol * greedy.logit_error
    assert 2 <= len(greedy.prompts) < 6 and greedy.answer.margin > 2 * in_half, "rows that half precision can decide"
    assert len({p["tokens"].shape[1] for p in greedy.prompts}) > 1
    assert not greedy.inputs["tokens_mask"].all()
    spec = loaded.generation
    assert spec is not None
    unchosen = [generation._decode(loaded, spec, p, 1, greedy.max_length).margin for p in spec.prompts(0)]
    assert greedy.answer.margin >= min(unchosen)


def test_rows_of_a_case_that_is_undecided_are_not_asked_alone() -> None:
    """Whatever they wrote, it would be held to nothing."""
    loaded = source("lm")
    wide = Tolerance(1e3, 1e3)
    assert all(not case.decided and case.alone == () for case in write_cases(loaded, wide, 0, QUIET))
    assert all(case.decided and len(case.alone) == len(case.prompts) for case in cases(loaded))


def test_masks_that_let_padding_through_are_found_in_pytorch_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = source("translator")
    spec = loaded.generation
    assert spec is not None

    def leaky(module: torch.nn.Module, prompt: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
        return spec.logits(module, {**prompt, "source_mask": torch.ones_like(prompt["source_mask"])}, tokens)

    monkeypatch.setattr(loaded, "generation", type(spec)(spec.asset, leaky, spec.prompts))
    with pytest.raises(ParityError, match="its masks let padding through"):
        cases(loaded)


def test_ranges_that_hold_no_row_alone_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = source("lm", dims=("batch=4",))
    assert write_cases(loaded, loaded.tolerance, 0, Console()) == []
    assert "is not proven: the graphs take 4 rows or more" in capsys.readouterr().err
    with pytest.raises(CaptureError, match="no prompt of small-lm fits its graphs"):
        cases(source("lm", dims=("prompt=12",)))


def test_answers_stay_within_what_the_cache_has_room_for() -> None:
    assert {c.max_length for c in cases(source("lm", dims=("cache=1:8:11",)))} == {12 - 8}


def test_a_case_knows_when_it_decides() -> None:
    answer = Decoded(torch.zeros(1, 3, dtype=torch.int64), torch.tensor([3]), torch.zeros(1), margin=0.5)
    assert Written("greedy", (), {}, answer, (), 1, 3, logit_error=0.2).decided
    assert not Written("greedy", (), {}, answer, (), 1, 3, logit_error=0.3).decided
    assert not Written("beams", (), {}, answer, (), 4, 3, logit_error=0.2).decided, "a score is off by twice as much"
    nothing = Decoded(answer.tokens, answer.lengths, answer.scores, math.inf)
    assert Written("greedy", (), {}, nothing, (), 1, 3, 1.0).to_json()["margin"] is None
    assert Tolerance().rtol > 0


def test_a_generator_without_generated_cases_is_told(small_translator: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(small_translator, tmp_path / "t.attn")
    manifest = json.loads((bare / "manifest.json").read_text())
    del manifest["generation"]
    (bare / "manifest.json").write_text(json.dumps(manifest))
    assert not verify(small_translator).notes
    ran = CliRunner().invoke(attn_run, ["verify", str(bare)])
    assert ran.exit_code == 0 and "what the graphs write together is not proven" in ran.stderr
    assert (
        "holds no answers of PyTorch"
        in result_of(CliRunner().invoke(attn_run, ["verify", str(bare), "--json"]).stdout)["notes"][0]
    )
