"""verify writes what it found for build servers: JUnit XML and Markdown, whatever the names, and also where it fails."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attn_runtime.errors import BundleError, OutputError, ParityError, UsageError
from attn_runtime.tasks import CaseResult, VerifyReport, verify
from attn_runtime.tasks.reports.junit import junit_of
from attn_runtime.tasks.reports.markdown import markdown_of
from click.testing import CliRunner
from support.graphs.make_graphs import off_by, rewrite_answers


def test_a_case_for_each_golden_case(valid_bundle: Path, tmp_path: Path) -> None:
    report = verify(valid_bundle, device="cpu", junit=tmp_path / "r.xml", markdown=tmp_path / "r.md")
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "3", "0", "0")
    (suite,) = root
    assert {p.get("name"): p.get("value") for p in suite.iter("property")}["choice"] == report.choice
    assert [case.get("name") for case in suite.iter("testcase")] == ["min (batch=1)", "opt (batch=2)", "max (batch=4)"]
    assert all("allowed" in (case.findtext("system-out") or "") for case in suite.iter("testcase"))
    text = (tmp_path / "r.md").read_text()
    assert "matches PyTorch" in text and len(re.findall(r"^\| ok \|", text, re.MULTILINE)) == 3


def test_what_does_not_match_is_a_failure_with_its_worst_elements(valid_bundle: Path, tmp_path: Path) -> None:
    rewrite_answers(valid_bundle, "opt", off_by(0.2))
    with pytest.raises(ParityError):
        verify(valid_bundle, device="cpu", junit=tmp_path / "r.xml", markdown=tmp_path / "r.md")
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    (wrong,) = (case for case in root.iter("testcase") if case.find("failure") is not None)
    failure = wrong.find("failure")
    assert failure is not None and wrong.get("name") == "opt (batch=2)" and root.get("failures") == "1"
    assert "allowed" in failure.get("message", "") and "expected" in (failure.text or "")
    text = (tmp_path / "r.md").read_text()
    assert "does not match" in text and text.count("**FAIL**") == 1 and text.count("| ok |") == 2


def test_what_could_not_be_compared_is_an_error(valid_bundle: Path, tmp_path: Path) -> None:
    (valid_bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError) as raised:
        verify(valid_bundle, device="cpu", junit=tmp_path / "r.xml", markdown=tmp_path / "r.md")
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    error = root.find("testsuite/testcase/error")
    assert error is not None and root.get("errors") == "1" and root.get("tests") == "1"
    assert error.get("type") == "BundleError" and error.get("message") == str(raised.value)[:200] + "..." * (
        len(str(raised.value)) > 200
    )
    assert "not verified" in (tmp_path / "r.md").read_text()


def test_a_place_that_takes_no_file_is_told_before_the_work(valid_bundle: Path, tmp_path: Path) -> None:
    ran: list[object] = []
    with pytest.raises(OutputError, match="does not exist"):
        verify(valid_bundle, device="cpu", junit=tmp_path / "none" / "r.xml", on_case=ran.append)
    with pytest.raises(OutputError, match="is a folder"):
        verify(valid_bundle, device="cpu", markdown=tmp_path, on_case=ran.append)
    with pytest.raises(UsageError, match="junit"):
        verify(valid_bundle, device="cpu", junit=3)  # type: ignore[arg-type]
    assert not ran


def test_from_the_command_line(valid_bundle: Path, tmp_path: Path) -> None:
    from attn_runtime.cli.app import cli

    asked = ["verify", str(valid_bundle), "--device", "cpu", "-q", "--junit", str(tmp_path / "r.xml")]
    assert CliRunner().invoke(cli, [*asked, "--markdown", str(tmp_path / "r.md")]).exit_code == 0
    assert (tmp_path / "r.xml").exists() and (tmp_path / "r.md").exists()


def test_names_stay_text(valid_bundle: Path) -> None:
    """Of a bundle that somebody else made: no markup, no control characters, no cell that ends."""
    name = '<b>&"]]>|`*\x1b[31m\ud800\ufffe\x00.attn'
    done = verify(valid_bundle, device="cpu")
    cases = tuple(
        CaseResult(f"<i>{case.graph}|", f"{name}{case.case}", {"a|<b>": 1}, case.seconds, case.differences)
        for case in done.cases
    )
    report = VerifyReport(name, "ort", "cpu", name, done.tolerances, cases, notes=(name,))
    root = ElementTree.fromstring(junit_of(report, name))
    assert [case.get("classname", "")[-9:] for case in root.iter("testcase")] == [".<i>model|"[-9:]] * 3
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", junit_of(report, name).decode())
    lines = [line for line in markdown_of(report, name).splitlines() if line.startswith("|")]
    assert len(lines) == 5 and {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}
    assert not re.search(r"(?<!\\)<", markdown_of(report, name))
