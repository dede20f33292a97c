"""The survey's script: a few real cells, its page, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from attn_runtime.trt import library
from grid import sections
from survey import Answer, document, survey

SCRIPTS = Path(__file__).parents[2] / "scripts" / "attention_survey"


@pytest.fixture(scope="module")
def rtx() -> library.Library:
    if reason := library.why_unavailable("rtx"):
        pytest.skip(reason)
    return library.load("rtx")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / "survey.py", *arguments]
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)


def test_a_few_cells_become_a_page(rtx: library.Library, tmp_path: Path) -> None:
    ran = run("--quick", "--flavour", "rtx", "-o", tmp_path / "survey.md")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""  # the library's own complaints about what it refuses are in the page
    page = (tmp_path / "survey.md").read_text()
    assert f"**tensorrt_rtx {rtx.version}**: 4 single blocks built, 1 fused, 2 unfused, 1 refused" in page
    assert "Nowhere." in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and line[2] != " "]
    assert [[c.strip() for c in row.split("|")[1:3]] for row in rows] == [
        ["float32", "unfused"],
        ["float16", "fused"],
        ["Dk 32, Dv 64", "unfused"],
        ["Attention, 1 head", "refused"],
    ]
    assert "`_gemm_mha_v2`" in rows[1]
    assert "builds, unfused, when marked decomposable" in rows[3]


def test_a_surprise_is_told_at_the_top(rtx: library.Library, tmp_path: Path) -> None:
    cell = sections(quick=True)["Types"][1]
    answer = survey(replace(cell, expected="unfused", queries=64), rtx, tmp_path)
    assert answer == Answer(answer.cell, "fused", "_gemm_mha_v2", "", answer.scratch)
    top, _, rest = document({"Types": [answer]}, rtx).partition("## Types")
    assert "- Types: float16 was unfused, and is fused" in top
    assert "| float16 | **fused** |" in rest


def test_the_committed_page_has_every_cell_of_the_grid() -> None:
    page = (SCRIPTS.parents[1] / "docs" / "attention" / "survey.md").read_text()
    for section, cells in sections().items():
        _, _, rest = page.partition(f"## {section}\n")
        rows = rest.partition("\n## ")[0].count("\n| ") - 1  # less the head
        assert rows == len(cells), section


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--quick",), 2, "name a file with -o"),
        (("--flavour", "rxt", "--quick", "-o", "x.md"), 2, "did you mean rtx?"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], code: int, says: str) -> None:
    ran = run(*arguments)
    assert ran.returncode == code
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not Path("x.md").exists()
