"""What is printed where: the answer on stdout, with --quiet it alone; --verbose adds what was passed over, on stderr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attn_runtime
import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.cli.options import run_cli
from attn_runtime.cli.printers import print_run
from attn_runtime.generate import TextAnswers
from attn_runtime.tasks import RunResult
from attn_runtime.tasks.file_run import Guess
from support.command_lines.json_answers import answer_of, result_of
from support.graphs.make_graphs import brightness_classifier, off_by, rewrite_answers

pytestmark = pytest.mark.usefixtures("without_native")
Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as finished:
            run_cli(lambda: cli, "attn-run", [str(a) for a in arguments])
        return (int(finished.value.code or 0), *capsys.readouterr())

    return run


def test_verify_in_silence_is_its_exit_code(valid_bundle: Path, invoke: Invoke) -> None:
    assert invoke("verify", valid_bundle, "--quiet") == (0, "", "")
    rewrite_answers(valid_bundle, "opt", off_by(0.5))
    code, out, err = invoke("verify", valid_bundle, "-q")
    assert (code, out) == (4, "") and err.startswith("error: bundle gemm.attn: 1 of 3 golden cases")


def test_a_report_that_failed_is_one_document(valid_bundle: Path, invoke: Invoke) -> None:
    rewrite_answers(valid_bundle, "opt", off_by(0.5))
    code, out, _ = invoke("verify", valid_bundle, "--json")
    told = answer_of(out)
    assert (
        code == told["error"]["code"] == 4 and told["result"]["passed"] is False and len(told["result"]["cases"]) == 3
    )
    assert told["error"]["kind"] == "ParityError" and "[1, 7]" in told["error"]["details"]


def test_what_was_passed_over_is_told_when_it_is_asked_for(valid_bundle: Path, invoke: Invoke) -> None:
    code, out, err = invoke("verify", valid_bundle, "--device", "cpu")
    assert (code, err) == (0, "") and "passed over" not in out and "ort on cpu, fp32\n" in out
    code, same, err = invoke("verify", valid_bundle, "--device", "cpu", "--verbose")
    assert same == out and "passed over: native on cpu (" in err and "(only when asked for by name)\n" in err
    assert invoke("verify", valid_bundle, "--device", "cpu", "--backend", "ort", "-vq")[2] == "passed over: none\n"
    told = result_of(invoke("verify", valid_bundle, "--device", "cpu", "--json", "-v")[1])
    assert told["choice"] == "ort on cpu, fp32" and any("native on cpu" in reason for reason in told["passed_over"])


def test_run_and_bench_in_silence_are_their_answers(tmp_path: Path, invoke: Invoke) -> None:
    bundle = brightness_classifier(tmp_path / "bright.attn", 3)
    np.savez(tmp_path / "in.npz", image=np.ones((1, 3, 4, 4), np.float32))
    loud = invoke("run", bundle, tmp_path / "in.npz", "--device", "cpu", "-v")
    code, out, err = invoke("run", bundle, tmp_path / "in.npz", "--device", "cpu", "-q")
    assert (code, err) == (0, "") and [line.split()[-1] for line in out.splitlines()] == ["bright", "dark"]
    assert loud[1].startswith("ort on cpu, fp32; ") and loud[1].endswith(out) and "passed over: native" in loud[2]
    quick = ["--warmup", 0, "--seconds", 0, "--min-runs", 1, "--batch", 1]
    assert len(invoke("bench", bundle, *quick, "-q")[1].splitlines()) == 2
    assert "call, ort on " in invoke("bench", bundle, *quick)[1]


def test_what_was_done_to_a_file_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    result = RunResult({}, ((Guess(0, "yes", 1.0),),), "ort", "cpu", "ort on cpu", 0.001, ("resampled",))
    print_run(result, quiet=False)
    assert capsys.readouterr() == ("ort on cpu; 1.00 ms\n100.00%  yes\n", "note: resampled\n")
    print_run(result, quiet=True)
    assert capsys.readouterr() == ("100.00%  yes\n", "")


def test_a_generator_notes_the_gpu_it_could_not_use(monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    def generate(path: str, texts: tuple[str, ...], *, on_unknown: Any, **_: Any) -> TextAnswers:
        if on_unknown is not None:
            on_unknown(texts[0], ["Leo"])
        return TextAnswers(
            (), 1, 0.1, "ort", "cpu", "ort on cpu, fp32", ("ort on cuda (no)",), ("runs on the CPU: ...",)
        )

    monkeypatch.setattr(attn_runtime, "generate_texts", generate)
    unknown = 'note: words that the model does not know: "Leo" (in "Leo")\n'
    assert invoke("generate", "x.attn", "--prompt", "Leo") == (0, "", f"{unknown}note: runs on the CPU: ...\n")
    assert invoke("generate", "x.attn", "--prompt", "Leo", "-q") == (0, "", "")
    assert invoke("generate", "x.attn", "--prompt", "Leo", "-q", "-v") == (0, "", "passed over: ort on cuda (no)\n")
    told = result_of(invoke("generate", "x.attn", "--prompt", "Leo", "--json", "-q")[1])
    assert (told["passed_over"], told["notes"]) == (["ort on cuda (no)"], ["runs on the CPU: ..."])


def test_doctor_in_silence_is_its_exit_code(invoke: Invoke) -> None:
    assert invoke("doctor", "--quiet") == (0, "", "")
