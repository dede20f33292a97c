"""JUnit XML, as build servers read it: a suite for each graph, a case for each golden case.

There is no specification; the elements and attributes are those of Jenkins' schema (junit-10.xsd), which GitLab and Azure
read too: failure where an answer is not PyTorch's, error where nothing could be compared.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ...errors import AttnError
from ...escape import xml_line, xml_lines
from ...text_format import worst_table

if TYPE_CHECKING:
    from ...generate import Replayed
    from .verify_report import CaseResult, VerifyReport


def junit_of(found: VerifyReport | AttnError, name: str) -> bytes:
    """The document, in UTF-8."""
    root = ElementTree.Element("testsuites", name="attn-run verify")
    if isinstance(found, AttnError):
        suite = _suite(root, name)
        error = ElementTree.SubElement(_case(suite, name, "verify", 0.0), "error")
        _tell(error, type(found).__name__, str(found), found.details)
    else:
        for graph, cases in groupby(found.cases, lambda case: case.graph):
            suite = _suite(root, f"{name}.{graph}", found)
            for case in cases:
                _add_golden(suite, f"{name}.{graph}", case)
        if found.generation:
            suite = _suite(root, f"{name}.generation", found)
            for answer in found.generation:
                _add_generated(suite, f"{name}.generation", answer)
    for each in (*root, root):
        _count(each)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add_golden(suite: ElementTree.Element, where: str, case: CaseResult) -> None:
    element = _case(suite, where, case.title, case.seconds)
    lines = [
        f"{d.output}: {d.problem or f'max |error| {d.max_error:.3g}, allowed {d.limit:.3g}'}" for d in case.differences
    ]
    wrong = [d for d in case.differences if not d.passed]
    if wrong:
        failure = ElementTree.SubElement(element, "failure")
        told = [line for line, d in zip(lines, case.differences, strict=True) if not d.passed]
        _tell(failure, "ParityError", "; ".join(told), worst_table([(case.case, d) for d in wrong]))
    else:
        ElementTree.SubElement(element, "system-out").text = xml_lines("\n".join(lines))


def _add_generated(suite: ElementTree.Element, where: str, answer: Replayed) -> None:
    rows = "batch" if answer.row is None else f"row {answer.row}"
    rows += "" if answer.drafted is None else ", with lookup"
    element = _case(suite, where, f"{answer.case}, {rows}", answer.seconds)
    if not answer.passed:
        _tell(ElementTree.SubElement(element, "failure"), "ParityError", answer.problem, "")


def _suite(root: ElementTree.Element, name: str, found: VerifyReport | None = None) -> ElementTree.Element:
    suite = ElementTree.SubElement(root, "testsuite", name=xml_line(name))
    if found is not None:
        properties = ElementTree.SubElement(suite, "properties")
        for key, value in (("backend", found.backend), ("device", found.device), ("choice", found.choice)):
            ElementTree.SubElement(properties, "property", name=key, value=xml_line(value))
    return suite


def _case(suite: ElementTree.Element, where: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=xml_line(where), name=xml_line(name), time=f"{seconds:.6f}"
    )


def _tell(element: ElementTree.Element, kind: str, message: str, details: str) -> None:
    element.set("type", kind)
    element.set("message", xml_line(message))
    element.text = xml_lines(details or message)


def _count(element: ElementTree.Element) -> None:
    """The sums that readers show without opening it."""
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for kind in ("failure", "error"):
        element.set(f"{kind}s", str(sum(case.find(kind) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.6f}")
