"""Names that a terminal, a plot or a shell would act on, given to every command of attn-run: none of them reaches it."""

from __future__ import annotations

import io
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from attn_runtime.cli.app import cli
from attn_runtime.cli.compile import BuildPrinter
from attn_runtime.cli.options import clean, run_cli, say, say_as_it_is
from attn_runtime.compare import Difference
from attn_runtime.errors import AttnError
from attn_runtime.text_format import columns, worst_table
from PIL import Image
from support.checks.foreign_names import HARMLESS, HOSTILE, PLAIN, acted_on
from support.command_lines.json_answers import result_of
from support.graphs.foreign_graphs import odd_bundle, odd_classifier, odd_graph, odd_inputs, odd_operator

pytestmark = pytest.mark.usefixtures("without_native")
#: A name of a file or folder holds no slash, and 255 bytes.
FILES = [name.replace("/", ":")[:200] for name in HOSTILE]
PATHS = {
    "info": [], "run": ["in.npz"], "verify": [], "bench": [], "compile": [], "classify": ["text"], "detect": ["a.png"],
    "generate": ["--prompt", "a"],
    "translate": ["text"], "transcribe": ["x.wav"], "attention": ["in.npz"], "setup": [],
    "embed": ["text"], "tag": ["text"], "fill": ["text"], "answer": ["text", "text"], "map": ["a.jsonl", "-o", "out"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """odd.onnx and in.npz of hostile names; odd.attn and labels.attn of those that a manifest takes; below a hostile folder."""
    folder = tmp_path_factory.mktemp("odd") / "a\x1b[2J\r\n$x$ <b>'\u202e"
    folder.mkdir()
    odd_graph(folder / "odd.onnx")
    odd_inputs(folder / "in.npz")
    odd_bundle(folder / "odd.attn")
    odd_classifier(folder / "labels.attn", PLAIN[:2])
    Image.new("L", (4, 4), 191).save(folder / "grey.png")
    return folder


def attn_run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: cli, "attn-run", [str(a) for a in arguments])
    out, err = capsys.readouterr()
    code = int(ended.value.code or 0)
    assert not acted_on(out + err)
    assert code == 0 or (err.startswith("error: ") and err.count("\n") == 1), err
    return code, out, err


def test_every_command_of_a_path_is_looked_at() -> None:
    assert set(PATHS) == set(cli.commands) - {"doctor"}


@pytest.mark.parametrize("command", PATHS)
def test_a_path_that_is_not_there(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in FILES:
        assert attn_run(capsys, command, tmp_path / name, *PATHS[command])[0] not in (0, 1)


def test_a_command_and_an_option_that_are_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in HOSTILE:
        assert attn_run(capsys, name, "x")[0] == 2
        assert attn_run(capsys, "info", f"--{name}", "x")[0] == 2
        for option in ("--precision", "--graph", "--backend", "--device"):
            assert attn_run(capsys, "verify", folder / "odd.attn", option, name)[0] not in (0, 1)


def test_tensors_dims_and_nodes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = attn_run(capsys, "info", folder / "odd.onnx")
    assert code == 0 and len(out.splitlines()) == 1 + 2 * len(HOSTILE)
    assert all(name in out for name in PLAIN)
    code, out, _ = attn_run(capsys, "run", folder / "odd.onnx", folder / "in.npz")
    assert code == 0 and len(out.splitlines()) == 1 + len(HOSTILE)
    code, out, _ = attn_run(capsys, "info", folder / "odd.onnx", "--json")
    assert out.isascii() and [i["name"] for i in result_of(out)["inputs"]] == list(HOSTILE)


def test_an_operator_that_nobody_knows(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in HOSTILE:
        file = odd_operator(tmp_path / "odd.onnx", name, name)
        assert attn_run(capsys, "run", file, folder / "in.npz")[0] not in (0, 1)


def test_what_a_manifest_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = attn_run(capsys, "info", folder / "odd.attn")
    assert code == 0 and all(f"cure frozen-parameters: {name}" in out for name in PLAIN)
    code, out, _ = attn_run(capsys, "verify", folder / "odd.attn")
    assert code == 0 and f"min ({PLAIN[0]}=1)" in out
    code, out, _ = attn_run(capsys, "run", folder / "labels.attn", folder / "grey.png")
    assert code == 0 and all(name in out for name in PLAIN[:2])


def test_a_manifest_of_names_that_it_may_not_hold(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "odd.attn" / "manifest.json"
    manifest.parent.mkdir()
    text = (folder / "odd.attn" / "manifest.json").read_text()
    for name in HOSTILE:
        told = json.loads(text)
        told["graphs"]["model"]["golden"][0]["case"] = told[name] = name
        manifest.write_text(json.dumps(told))
        assert attn_run(capsys, "info", manifest.parent)[0] == 8


def test_a_picture(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("--seconds", 0, "--warmup", 0, "--min-runs", 1, "--plot", tmp_path / "p.svg")
    assert attn_run(capsys, "bench", folder / "odd.attn", "--batch", "1", *quick)[0] == 0
    drawn = (tmp_path / "p.svg").read_text()
    ElementTree.fromstring(drawn)
    assert not acted_on(drawn) and f"<!-- {PLAIN[0]} -->" in drawn, "the letters of the dim, and no formula"


def test_tables_keep_their_rows() -> None:
    for name in HOSTILE:
        difference = Difference(name, False, 1.0, 1.0, 0.5, problem=f"{name} is wrong")
        for table in (columns([("a", "b"), (name, name)]), worst_table([(name, difference)])):
            assert len(table.split("\n")) == 2 and not acted_on(table)


def test_progress_in_its_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with BuildPrinter(quiet=False, as_json=False) as printer:
        for name in HOSTILE:
            printer.progress(name)  # type: ignore[arg-type]
    lines = capsys.readouterr().err.split("\r")
    assert len(lines) == len(HOSTILE) + 3 and not acted_on("".join(lines))


def test_an_error_says_its_message_in_one_line_wherever_it_is_printed() -> None:
    for name in HOSTILE:
        told = str(AttnError(f"file {name}: \n  a library said\t{name}"))
        assert "\n" not in told and not acted_on(told)
    assert str(AttnError("a  b")) == "a  b" and all(name in str(AttnError(name)) for name in (*PLAIN, *HARMLESS))


def test_an_answer_is_itself_and_on_a_terminal_without_what_that_acts_on(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (*HOSTILE, *HARMLESS):
        assert clean(text) == text
        say_as_it_is(text)
        assert capfdbinary.readouterr().out == f"{text}\n".encode()
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert clean("a\n\tb\x1b[2J\x9b\u202ec\r") == "a\n\tb\ufffd[2J\ufffd\ufffdc\ufffd"
    assert all(clean(text) == text for text in HARMLESS)


def test_what_is_said_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    say(*HOSTILE)
    out = capsys.readouterr().out
    assert len(out.split("\n")) == len(HOSTILE) + 1 and not acted_on(out)
