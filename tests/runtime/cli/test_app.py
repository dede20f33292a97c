"""attn-run as a user calls it: real processes on real bundles, exit codes, one line per error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.cli.app import cli
from attn_runtime.cli.options import run_cli
from attn_runtime.cli.printers import print_case
from attn_runtime.compare import Difference
from attn_runtime.errors import ParityError
from attn_runtime.escape import printable
from attn_runtime.tasks import CaseResult
from click.testing import CliRunner
from PIL import Image
from support.command_lines.json_answers import answer_of, result_of
from support.graphs.make_graphs import add, brightness_classifier, embed, off_by, rewrite_answers


def attn_run(*arguments: object, cwd: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attn_runtime.cli.app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, **options)  # type: ignore[call-overload]


def invoke(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of attn-run in this process, through what the console script calls."""
    with pytest.raises(SystemExit) as finished:
        run_cli(lambda: cli, "attn-run", [str(a) for a in arguments])
    return (finished.value.code, *capsys.readouterr())


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightness_classifier(tmp_path_factory.mktemp("classifier") / "bright.attn", 3)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 10), (191, 191, 191)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


# --- info ---------------------------------------------------------------------------------------------------------


def test_info_tells_the_essence(valid_bundle: Path) -> None:
    done = attn_run("info", valid_bundle)
    assert (done.returncode, done.stderr) == (0, "")
    for told in (
        "x: float32[batch=1..4, 16]  (features, standard deviations)",
        "y: float32[batch=1..4, 10]",
        "capture  fp32       1      1e-07        7.1e-05  1",
        "golden cases: min (batch=1), opt (batch=2), max (batch=4)",
        "made 1 parameter a constant",
        "model.onnx ",
        "precision half: model.half.onnx, fp16, for tensorrt only, float16 inputs and outputs, 1 attention block",
        "kept in fp32: encoder.norm (overflow): Pow",
        "torch 2.13.0",
    ):
        assert told in done.stdout


def test_info_json_is_the_manifest(valid_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "info", valid_bundle, "--json")
    assert code == 0 and result_of(out)["manifest"] == Bundle.open(valid_bundle).manifest


def test_info_of_a_plain_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = add(tmp_path / "add.onnx")
    assert "a: float32[B=1..2147483647, T=1..2147483647]" in invoke(capsys, "info", file)[1]
    assert result_of(invoke(capsys, "info", file, "--json")[1])["outputs"][0]["name"] == "z"


def test_text_of_a_bundle_can_not_steer_the_terminal(classifier: Path) -> None:
    assert printable("a\x1b[2Jb\u202ec\nd") == "a\ufffd[2Jb\ufffdc\ufffdd"
    assert len(printable("x" * 1000)) < 210


# --- run ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_native")
def test_image_gets_its_classes(classifier: Path, photo: Path) -> None:
    done = attn_run("run", classifier, photo)
    assert (done.returncode, done.stderr) == (0, "")
    # pixel 191 -> 191/127.5 - 1 = 0.498: logits -0.498 and 0.498
    bright = 1 / (1 + np.exp(-2 * (191 / 127.5 - 1)))
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        [f"{bright:.2%}", "bright"],
        [f"{1 - bright:.2%}", "dark"],
    ]
    assert done.stdout.startswith("ort on cpu")


@pytest.mark.usefixtures("without_native")
def test_top_and_json(classifier: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "run", classifier, photo, "--top", 1, "--json")
    told = result_of(out)
    assert code == 0 and [[g["label"] for g in row] for row in told["top"]] == [["bright"]]
    assert told["outputs"]["logits"]["shape"] == [1, 2] and told["backend"] == "ort"


def test_arrays_in_and_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "in.npz", a=np.ones((2, 3), np.float32), b=np.full((2, 3), 2, np.float32))
    (tmp_path / "out.npz").write_bytes(b"old")
    code, out, _ = invoke(capsys, "run", add(tmp_path / "add.onnx"), tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert code == 0 and "z: float32 [2, 3]  min 3  mean 3  max 3" in out
    with np.load(tmp_path / "out.npz") as saved:
        np.testing.assert_array_equal(saved["z"], np.full((2, 3), 3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["add.onnx", "in.npz", "out.npz"]


def test_rows_of_a_batch_are_told_apart(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "in.npz", image=np.stack([np.full((3, 4, 4), v, np.float32) for v in (-1, 1)]))
    lines = invoke(capsys, "run", classifier, tmp_path / "in.npz", "--top", 1)[1].splitlines()[1:]
    assert [line.split()[-1] for line in lines] == ["0", "dark", "1", "bright"]


def test_not_a_number_has_no_top(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "in.npz", image=np.full((1, 3, 4, 4), np.nan, np.float32))
    code, out, _ = invoke(capsys, "run", classifier, tmp_path / "in.npz")
    assert code == 0 and "2 not finite" in out
    assert result_of(invoke(capsys, "run", classifier, tmp_path / "in.npz", "--json")[1])["top"] is None


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("a.npz", b"", 7, "can't be read as .npz"),
        ("a.npz", b"PK\x03\x04 and no more", 7, "can't be read as .npz"),
        ("a.npz", b"\x80\x04}.", 7, "can't be read as .npz"),
        ("a.png", b"hello", 7, "none of PNG"),
        ("none.png", None, 7, "no such file"),
        ("none.npz", None, 7, "no such file"),
    ],
)
def test_bad_input_file(
    name: str, content: bytes | None, code: int, says: str, classifier: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found, out, err = invoke(capsys, "run", classifier, tmp_path / name)
    assert (found, out) == (code, "") and says in err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_pickle_in_an_npz_is_not_loaded(tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", image=np.array([{"any": "object"}], object))
    code, _, err = invoke(capsys, "run", classifier, tmp_path / "a.npz")
    assert code == 7 and "pickle" in err.lower()


def test_failed_output_keeps_what_was_there(
    classifier: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(capsys, "run", classifier, photo, "-o", tmp_path / "no" / "out.npz")[0] == 11
    (tmp_path / "folder.npz").mkdir()
    assert invoke(capsys, "run", classifier, photo, "-o", tmp_path / "folder.npz")[0] == 11
    assert invoke(capsys, "run", classifier, photo, "-o", tmp_path / "out.txt")[0] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.npz", "photo.png"]


def test_image_where_the_graph_takes_none(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "run", embed(tmp_path / "e.onnx"), photo)
    assert code == 2 and "give an .npz with tokens" in err


# --- verify, bench, doctor ----------------------------------------------------------------------------------------


def test_verify(valid_bundle: Path) -> None:
    done = attn_run("verify", valid_bundle, "--device", "cpu")
    assert done.returncode == 0 and done.stderr == ""
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [["ok", c] for c in ("min", "opt", "max")]
    assert "3 golden cases match" in done.stdout


def test_verify_tells_of_many_outputs_the_one_nearest_to_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    def output(name: str, error: float, limit: float, problem: str = "") -> Difference:
        return Difference(name, error, 1.0, limit, not problem and error <= limit, problem)

    some = [output("far", 2e-6, 1e-3), output("near", 1e-6, 2e-6), output("tokens", 0.0, 0.0)]
    print_case(CaseResult("step", "min", {"batch": 1}, 0.1, tuple(some)))
    print_case(CaseResult("step", "min", {}, 0.1, (*some, output("off", 0.5, 1e-3), output("nan", 0.0, 1.0, "1 NaN"))))
    near = "3 outputs, nearest to its limit near: max |error| 1e-06, allowed 2e-06"
    assert capsys.readouterr().out.splitlines() == [
        f"ok   step min (batch=1) {near}",
        "FAIL step min off: max |error| 0.5, allowed 0.001",
        "FAIL step min nan: 1 NaN",
        f"ok   step min {near}",
    ]


def test_verify_fails_with_a_table(valid_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite_answers(valid_bundle, "opt", off_by(0.5))
    done = attn_run("verify", valid_bundle)
    assert done.returncode == ParityError.exit_code == 4
    assert "FAIL opt (batch=2) y: max |error| 0.5" in done.stdout and "match PyTorch" not in done.stdout
    first, head, worst = done.stderr.splitlines()[:3]
    assert first.startswith("error: bundle gemm.attn: 1 of 3 golden cases") and head.startswith("case")
    assert worst.startswith("opt   y       [1, 7]")
    code, out, err = invoke(capsys, "verify", valid_bundle, "--json")
    told = answer_of(out)
    assert code == told["exit_code"] == 4 and told["result"]["passed"] is False and err.startswith("error: ")


def test_bench(valid_bundle: Path, tmp_path: Path) -> None:
    quick = ["--warmup", 0, "--seconds", 0, "--min-runs", 3]
    done = attn_run("bench", valid_bundle, *quick, "--batch", "1,3", "--json", "--plot", tmp_path / "b.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert [(r["batch"], r["runs"]) for r in result_of(done.stdout)["results"]] == [(1, 3), (3, 3)]
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    table = attn_run("bench", valid_bundle, *quick).stdout.splitlines()
    assert [line.split()[0] for line in table[:4]] == ["batch", "1", "2", "4"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--batch", "1,x"], "expected whole numbers"),
        (["--dim", "T"], "expected NAME=SIZE"),
        (["--batch", "9"], "1..4"),
    ],
)
def test_bench_options(arguments: list[str], says: str, valid_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "bench", valid_bundle, *arguments)
    assert code in (2, 7) and says in err and err.count("\n") == 1


@pytest.mark.usefixtures("without_native")
def test_doctor() -> None:
    done = attn_run("doctor")
    assert done.returncode == 0 and done.stderr == "" and "device auto takes: ort on" in done.stdout
    assert [each["name"] for each in result_of(attn_run("doctor", "--json").stdout)["backends"]][1:3] == [
        "openvino",
        "ort",
    ]


def test_doctor_with_nothing_installed() -> None:
    """Made to look bare; test_imports.py has a machine that is."""
    hide = "import sys; sys.modules |= dict.fromkeys(['onnxruntime', 'PIL', 'matplotlib']);"
    hide += "import importlib.util as u; real = u.find_spec;"
    hide += "u.find_spec = lambda n, *a: None if n in ('onnxruntime', 'PIL', 'matplotlib') else real(n, *a);"
    program = hide + "sys.argv = ['attn-run', 'doctor']; from attn_runtime.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 10 and done.stderr == ""
    assert "device auto takes: nothing" in done.stdout
    assert "to run graphs: pip install onnxruntime" in done.stdout


# --- the command line itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["verfy"],
            2,
            'unknown command "verfy"; did you mean verify? available: answer, attention, bench, classify, compile, detect, ',
        ),
        (["zzz"], 2, 'unknown command "zzz"; available: answer, attention, bench'),
        (["verify", "--devise", "cpu"], 2, "--device"),
        (["verify", "x.attn", "--device", "cdua"], 8, "x.attn"),
        (["run", "x.attn"], 2, "INPUT"),
        (["info", "nothing.onnx"], 8, "does not exist"),
    ],
)
def test_misspelt(arguments: list[str], code: int, says: str, tmp_path: Path) -> None:
    done = attn_run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_unknown_device_is_told_with_the_nearest(valid_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "verify", valid_bundle, "--device", "cdua")
    assert code == 2 and "did you mean cuda?" in err


@pytest.mark.parametrize(
    "command",
    ["attention", "bench", "classify", "compile", "detect", "doctor", "generate", "info", "run", "translate", "verify"],
)
def test_help_of_every_command(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0 and "--json" in result.output


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(capsys, "--help")[0] == 0 and invoke(capsys, "--version")[:2] == (0, "attn-run, version 0.1.0\n")


def test_reader_that_goes_away(valid_bundle: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "attn_runtime.cli.app", "info", str(valid_bundle)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.wait(60) == 141 and process.stderr.read() == b""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c(valid_bundle: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "attn_runtime.cli.app", "bench", str(valid_bundle), "--seconds", "600"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        process.stdout.readline()
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and err == "error: interrupted\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [("doctor", "--json"), ("info",)])
def test_a_full_disk_behind_stdout_is_one_line(arguments: tuple[str, ...], valid_bundle: Path) -> None:
    words = [*arguments, str(valid_bundle)] if arguments == ("info",) else list(arguments)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "attn_runtime.cli.app", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 11
    assert done.stderr == "error: can't write to stdout: No space left on device\n"
