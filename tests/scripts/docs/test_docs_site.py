"""Docstrings on the site: rows, examples and stars as they were meant."""

from pathlib import Path
from runpy import run_path

ROOT = Path(__file__).resolve().parents[3]
as_rst = run_path(str(ROOT / "docs/site/docstrings.py"))["as_rst"]


def test_rows_become_definitions():
    rst = as_rst(["What.", "", "top_k    the likeliest", "         of all", "seed     a number", "Raises UsageError."])
    assert rst == [
        "What.", "", "", "top\\_k", "    the likeliest", "    of all", "", "seed", "    a number", "", "Raises UsageError.",
    ]  # fmt: skip


def test_an_indented_example_stays_as_it_is():
    rst = as_rst(["So:", "", "    with a*b as c:", "", "        d(c)", "", "After."])
    assert rst == ["So:", "", "", "::", "", "    with a*b as c:", "", "        d(c)", "", "", "After."]


def test_only_backticks_are_markup():
    assert as_rst(["a * b_ of `x*y`s, a|b"]) == ["a \\* b\\_ of ``x*y``\\ s, a\\|b"]
