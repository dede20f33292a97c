"""What `verify` found, and as files that other programs show: JUnit XML for a build server, Markdown for a page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .report_files import ReportFiles
    from .verify_report import CaseResult, VerifyReport

__all__ = ["CaseResult", "ReportFiles", "VerifyReport"]

__getattr__, __dir__ = lazy(
    __name__, __all__, {"report_files": ["ReportFiles"], "verify_report": ["CaseResult", "VerifyReport"]}
)
