"""Names that a terminal, a page, a server's configuration or a shell would act on, given to every command of attn-export."""

from __future__ import annotations

import io
import shlex
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from attn_export.cli.app import cli
from attn_export.console import Console
from attn_export.deploy.jetson.texts import readme, setup_script
from attn_export.precision.bisect_plot import plot_bisection
from attn_export.precision.bisect_report import Bisected
from attn_export.precision.layerwise.bisection import Bisection, Step
from attn_runtime.cli.options import run_cli
from attn_runtime.jetson import find_board, release_for
from rich.console import Console as Rich
from support.checks.foreign_names import HOSTILE, PLAIN, acted_on
from support.graphs.foreign_graphs import odd_bundle, odd_graph
from support.machines import triton_server

#: A name of a file or folder holds no slash, and 255 bytes.
FILES = [name.replace("/", ":")[:200] for name in HOSTILE]
PATHS: dict[str, list[str]] = {
    "to-onnx": ["-o", "x.attn"], "verify": [], "bench": [], "convert": ["--fp16"], "bisect": [], "to-trt": [], "inspect": [],
    "diff": ["--against", "fp16"], "report": ["-o", "x.html"],
    "deploy bundle": ["--only", "fp32", "-o", "x.attn"], "deploy jetson": ["--board", "orin-nx", "-o", "x"],
    "deploy triton": ["-o", "x"],
}  # fmt: skip


def attn_export(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: cli, "attn-export", [str(a) for a in arguments])
    out, err = capsys.readouterr()
    code = int(ended.value.code or 0)
    assert not acted_on(out + err)
    assert code == 0 or (err.startswith("error: ") and err.count("\n") == 1), err
    return code, out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """odd.onnx of hostile names, and odd.attn of those that a manifest takes; below a hostile folder."""
    folder = tmp_path_factory.mktemp("odd") / "a\x1b[2J\r\n$x$ <b>'\u202e"
    folder.mkdir()
    odd_graph(folder / "odd.onnx")
    odd_bundle(folder / "odd.attn")
    return folder


def test_every_command_of_a_path_is_looked_at() -> None:
    commands = {*cli.commands, *(f"deploy {name}" for name in cli.commands["deploy"].commands)}  # type: ignore[attr-defined]
    assert set(PATHS) == commands - {"deploy", "doctor", "models"}


@pytest.mark.parametrize("command", PATHS)
def test_a_path_that_is_not_there(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in FILES[:2] if command == "to-onnx" else FILES:
        assert attn_export(capsys, *command.split(), tmp_path / name, *PATHS[command])[0] not in (0, 1)


def test_inspect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = attn_export(capsys, "inspect", folder / "odd.attn")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3 + len(PLAIN)
    assert [line.split("  ")[0] for line in lines[2:-1]] == list(PLAIN), "no markup, and no code of an emoji"
    code, out, _ = attn_export(capsys, "inspect", folder / "odd.onnx")
    command = out.splitlines()[1].removeprefix("no engine; ").removesuffix(" builds one")
    shown = str(folder / "odd.onnx").translate(dict.fromkeys(map(ord, "\x1b\r\n\u202e"), "\ufffd"))
    assert shlex.split(command) == ["attn-export", "to-trt", shown]


def test_triton_s_configuration_is_one_of_the_same_fields(folder: Path, tmp_path: Path, capsys: Any) -> None:
    code, out, _ = attn_export(
        capsys, "deploy", "triton", folder / "odd.attn", "-o", tmp_path / "$(exit 3) b", "--name", "odd"
    )
    assert code == 0 and shlex.split(out.splitlines()[-1])[-1] == f"--model-repository={tmp_path / '$(exit 3) b'}"
    config = triton_server.read_config(tmp_path / "$(exit 3) b" / "odd")
    assert [i.name for i in config.input] == list(PLAIN) and [o.name for o in config.output] == [
        f"out {n}" for n in PLAIN
    ]
    written = (tmp_path / "$(exit 3) b" / "odd" / "config.pbtxt").read_text()
    assert written.isascii() and not acted_on(written)


def test_the_texts_of_a_board_s_folder() -> None:
    done = subprocess.run(["sh", "-n"], input=setup_script(), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    board = find_board("orin-nx")
    plain = readme("name", board, release_for(board, None), ["note"])
    for name in HOSTILE:
        written = readme(name, board, release_for(board, None), [name])
        assert not acted_on(written) and len(written.split("\n")) == len(plain.split("\n"))


def bisected(name: str) -> Bisected:
    first, last = (Step(name, name, name, name, name, 1.0, 1.0, 0.5, 0.5, 100.0, lost, name) for lost in (0, 2))
    return Bisected(name, name, name, (name,), Bisection((first, last), first, "drift", 65504.0))


def test_bisect_s_table_and_picture(tmp_path: Path) -> None:
    for name in HOSTILE:
        told = str(bisected(name))
        assert len(told.split("\n")) == 4 and not acted_on(told)
    plot_bisection(bisected(" ".join(HOSTILE[:-1])), tmp_path / "p.svg")
    drawn = (tmp_path / "p.svg").read_text()
    ElementTree.fromstring(drawn)
    assert not acted_on(drawn)


def test_diff(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = odd_bundle(tmp_path / f"{FILES[0]}.attn", PLAIN[1:])
    plot = tmp_path / "p.svg"
    code, out, err = attn_export(capsys, "diff", folder / "odd.attn", other, "--plot", plot, "-q")
    assert code == 15 and "answers: not compared, only A has input" in out and err.count("\n") == 1
    ElementTree.fromstring(plot.read_text())
    assert not acted_on(plot.read_text())


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_long_run_says(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    console = Console()
    monkeypatch.setattr(console, "_stream", said)
    # Without colours, a control character is one of the text's.
    rich = Rich(file=said, force_terminal=terminal, no_color=True, color_system=None, soft_wrap=True, highlight=False)
    monkeypatch.setattr(console, "_rich", rich)
    monkeypatch.setattr(console, "_spins", True)
    for name in HOSTILE:
        with console.about(name).stage(name) as line:
            line.done(name)
        console.about(name).note(f"{name} again")
        console.say(name)
    assert not acted_on(said.getvalue()) and len(said.getvalue().split("\n")) == 3 * len(HOSTILE) + 1
    assert all(said.getvalue().count(f"{name} again") == 1 for name in PLAIN)
    monkeypatch.setattr(console, "_spins", False)
    with console.stage("[bold]b[/bold] :key:"):
        pass
    assert ("[bold]b[/bold] :key: ..." in said.getvalue()) == terminal
