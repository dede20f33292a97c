"""scripts/bench/precision_bench.py: tiny models without peers, and its parts: turns, peers, memory, heads, verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers.venv import peer_python
from precision import memory, models, report, rows, runners, turns
from support.models.tiny_generators import Tiny, drawn_prompts, greedy_of, write_bundle

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "precision_bench.py"


class Sleeper(runners.Runner):
    """Takes `seconds` for a call and answers `answer`; `fails` makes it a peer that breaks."""

    def __init__(self, name: str, seconds: float, answer: float, fails: bool = False) -> None:
        self.name, self.seconds, self.answer, self.fails = name, seconds, answer, fails
        self.asked = 0

    def run(self, work: runners.Work, calls: int) -> runners.Made:
        self.asked += 1
        if self.fails:
            raise RuntimeError("no such kernel")
        return runners.Made([self.seconds] * calls, np.array([[self.answer, 1.0]]))


@pytest.mark.full
def test_the_language_model_is_measured_and_its_answers_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "GENERATOR", {"int8-weights": ()})
    monkeypatch.setattr(turns, "SETTLE_S", 0.0)
    asked = rows.Asked("tiny", 1, 1, tmp_path, tmp_path, peers=False)
    (tmp_path / "tiny").mkdir()
    found = rows.ROWS["lm"](asked)
    assert found["missing"] == {}
    told = {(row["work"], row["runner"]): row for row in found["rows"]}
    assert {name for name, _ in told} == {"1 row, greedy, 8 new", "8 rows, greedy, 8 new"}
    fp32, int8 = (told["8 rows, greedy, 8 new", f"attn-runtime {p}"] for p in ("fp32", "int8-weights"))
    assert fp32["agreement"] == 1 and fp32["ratio"] == 1
    assert 0.3 < int8["agreement"] <= 1
    assert int8["tokens_per_second"] == pytest.approx(64 / int8["seconds"])
    conversion = json.loads((tmp_path / "tiny" / "conversions.json").read_text())["lm int8-weights"]
    assert conversion["seconds"] > 0 and conversion["peak_bytes"] > 50e6
    size = {row["runner"]: row["ratio"] for row in rows.ROWS["disk"](asked)["rows"]}
    assert size["fp32"] == 1 and 0.2 < size["int8-weights"] < 0.8


def test_a_runner_that_fails_is_told_and_the_others_go_on() -> None:
    fast, slow, broken = Sleeper("fast", 0.01, 1.0), Sleeper("slow", 0.04, 0.5), Sleeper("broken", 0.0, 0.0, fails=True)
    work = runners.Work("batch 1", {"x": np.zeros(1)})
    found = turns.measure([fast, broken, slow], [work], 3, rows._error)
    told = {row["runner"]: row for row in found}
    assert told["slow"]["ratio"] == pytest.approx(4) and told["slow"]["error"] == 0.5
    assert told["broken"]["problem"] == "RuntimeError: no such kernel" and broken.asked == 1
    assert "seconds" not in told["broken"] and fast.asked == slow.asked == 4


def test_a_generator_of_ours_writes_what_the_model_would(tmp_path: Path) -> None:
    tiny = Tiny(encoder=False, stop=())
    prompts = drawn_prompts(tiny, [4, 4])
    ours = runners.OurGenerator(write_bundle(tmp_path / "lm.attn", tiny), "fp32", 1)
    try:
        made = ours.run(runners.Work("w", tokens=np.array(prompts), new=5), 2)
    finally:
        ours.close()
    assert made.answers.tolist() == [greedy_of(tiny, prompt, 5) for prompt in prompts] and len(made.seconds) == 2
    assert rows._agreement(runners.Work("w"), made.answers, made.answers) == {"agreement": 1.0}
    with pytest.raises(RuntimeError, match=r"wrote \(2, 4\) tokens"):
        rows._agreement(runners.Work("w"), made.answers, made.answers[:, :4])


PEER = """
import sys, time
import numpy as np
from answering import Told
told = Told()
print("what a library prints is no answer")
def handle(asked):
    if asked.get("new") == 0:
        raise SystemExit("no tokens asked for")
    if "tokens" in asked:
        return {"seconds": 0.5, "tokens": [row[::-1] for row in asked["tokens"]], "computes": sys.argv[1]}
    np.save(asked["answers"], np.load(asked["inputs"])["x"] + 1)
    return {"seconds": [0.25] * asked["calls"], "computes": sys.argv[1]}
told.serve(handle, ["numpy"])
"""


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runners.Peer:
    (tmp_path / "echo_peer.py").write_text(PEER)
    (tmp_path / "answering.py").write_text((SCRIPT.parent / "peers" / "answering.py").read_text())
    monkeypatch.setattr(runners, "PEERS", tmp_path)
    monkeypatch.setitem(runners.PACKAGES, "echo", ())
    monkeypatch.setattr(runners, "peer_python", lambda venv, packages: Path(sys.executable))
    return runners.Peer("echo", "echo", ["bf16"], tmp_path, tmp_path / "logs" / "echo.log")


def test_a_peer_answers_in_a_process_of_its_own(peer: runners.Peer, tmp_path: Path) -> None:
    assert peer.versions == {"numpy": np.__version__}
    made = peer.run(runners.Work("w", tokens=np.array([[1, 2, 3]]), new=3), 2)
    assert made.seconds == [0.5, 0.5] and made.answers.tolist() == [[3, 2, 1]] and made.computes == "bf16"
    np.savez(tmp_path / "in.npz", x=np.arange(3.0))
    made = peer.run(runners.Work("w", {"x": np.arange(3.0)}, tmp_path / "in.npz"), 2)
    assert made.seconds == [0.25, 0.25] and made.answers.tolist() == [1, 2, 3]
    peer.close()
    assert peer._process.returncode == 0


def test_a_peer_that_ends_says_why(peer: runners.Peer) -> None:
    with pytest.raises(RuntimeError, match="ended with code 1: no tokens asked for"):
        peer.run(runners.Work("w", tokens=np.array([[1]]), new=0), 1)


def test_a_venv_that_can_not_be_made_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "venv").write_text("a file, no folder")
    with pytest.raises(RuntimeError, match="-m venv"):
        peer_python(tmp_path / "venv", ["numpy"])


def test_memory_counts_what_a_process_starts() -> None:
    """A child of the child holds 200 MiB; the child itself hardly any."""
    holds = "import time; held = bytearray(b'x') * (200 << 20); time.sleep(1)"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {holds!r}]); print('bad', file=sys.stderr)"
    code, peak, said = memory.peak_of([sys.executable, "-c", f"{starts}; sys.exit(3)"])
    assert code == 3 and said == "bad\n"
    assert 200 << 20 < peak.own < peak.pages < 300 << 20


def test_pages_that_processes_share_count_once(tmp_path: Path) -> None:
    """Three processes hold the same 200 MiB: one allocated them, and two came of it by a fork, which share its pages; and all
    three map the same file of as many."""
    file = tmp_path / "weights"
    file.write_bytes(bytes(200 << 20))
    code = f"""if True:
        import mmap, os, time
        held = bytearray(b"x") * (200 << 20)
        file = mmap.mmap(os.open({str(file)!r}, os.O_RDONLY), 0, prot=mmap.PROT_READ)
        for _ in range(2):
            if not os.fork():
                break
        sum(file[:: mmap.PAGESIZE])
        time.sleep(1)
    """
    code_of_it, peak, said = memory.peak_of([sys.executable, "-c", code])
    assert code_of_it == 0, said
    assert 200 << 20 < peak.own < 300 << 20 and 400 << 20 < peak.pages < 550 << 20


def test_a_head_is_fitted_to_the_classes() -> None:
    draw = np.random.default_rng(0)
    centres, labels = draw.standard_normal((models.CLASSES, 40)), draw.integers(0, models.CLASSES, 600)
    features = (5 + centres[labels] + 0.5 * draw.standard_normal((600, 40))).astype(np.float32)
    weight, bias = models.fitted(features[:400], labels[:400])
    right = (features[400:] @ weight.T + bias).argmax(1) == labels[400:]
    assert weight.dtype == bias.dtype == np.float32 and right.mean() > 0.95


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_classes_of_the_model_are_right_for_what_it_was_not_fitted_to(tmp_path: Path, name: str) -> None:
    import torch
    import transformers

    model = models.model_of(name, "tiny")
    network = getattr(transformers, model.kind).from_pretrained(models.saved(model, tmp_path)).eval()
    inputs, labels = models.samples(model, network.config.to_dict(), 200, seed=1)
    with torch.no_grad():
        logits = network(**{name: torch.from_numpy(value) for name, value in inputs.items()}).logits.numpy()
    assert (logits.argmax(1) == labels).mean() > 0.95


def test_samples_of_a_class_share_what_makes_it() -> None:
    text = models.model_of("bert", "tiny")
    inputs, labels = models.samples(text, {"vocab_size": 500}, 40, seed=3)
    again, _ = models.samples(text, {"vocab_size": 500}, 40, seed=3)
    assert (inputs["input_ids"] == again["input_ids"]).all() and inputs["input_ids"].shape == (40, models.LENGTH)
    for label in set(labels.tolist()):
        assert (inputs["input_ids"][:, 0] == models.FIRST).all()
        counts = np.bincount(inputs["input_ids"][labels == label, 1:].ravel(), minlength=500)
        share = np.sort(counts)[-models.OWN_WORDS :].sum() / counts.sum()  # in half of the places
        assert 0.45 < share < 0.65
    picture = models.model_of("vit", "tiny")
    inputs, labels = models.samples(picture, {"image_size": 32}, 60, seed=4)
    means = np.stack([inputs["pixel_values"][labels == c].mean(0).ravel() for c in range(models.CLASSES)])
    near = np.linalg.norm(inputs["pixel_values"].reshape(60, 1, -1) - means, axis=2).argmin(1)
    assert (near == labels).all()


def _row(runner: str, seconds: float, **values: Any) -> dict[str, Any]:
    return {"work": "batch 1", "runner": runner, "seconds": seconds, "ratio": seconds / 0.1, **values}


def test_the_verdict_takes_the_fastest_that_agrees() -> None:
    fp32 = _row("attn-runtime fp32, ort", 0.1, error=0.0, agreement=1.0)
    wrong, right = (
        _row(f"attn-runtime {name}", seconds, error=0.1, agreement=agreement)
        for name, seconds, agreement in (("int4", 0.02, 0.9), ("int8", 0.04, 0.995))
    )
    peer = _row("OpenVINO default", 0.05, error=0.01, agreement=1.0)
    lines = report.verdicts([fp32, wrong, right, peer, {"work": "batch 1", "runner": "x", "problem": "none"}])
    assert lines == [
        "batch 1: attn-runtime int8 takes 0.40 of our fp32 (agreement 99.5%); time of peers over it: OpenVINO default 1.25 "
        "(agreement 100.0%)"
    ]
    assert report.verdicts([fp32, wrong, peer]) == []


def test_the_table_tells_what_failed_and_what_is_missing() -> None:
    found = {
        "rows": [_row("a", 0.1, computes="bf16"), {"work": "batch 1", "runner": "b", "problem": "no\nkernel"}],
        "missing": {"c": "not installed"},
    }
    lines = report.table(found)
    assert lines[2:] == [
        "| batch 1 | a (bf16) | 100.0 | 1.00 |",
        "| batch 1 | b | failed: no kernel |  |",
        "| not measured | c | not installed |",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--rows", "bert,gpt"], 'unknown row "gpt"; available: bert'), (["--rounds", "0"], "expected 1 or more")],
)
def test_what_is_not_there_is_refused_before_anything_is_made(tmp_path: Path, words: list[str], message: str) -> None:
    command = [sys.executable, str(SCRIPT), *words, "--folder", str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "f").exists()
