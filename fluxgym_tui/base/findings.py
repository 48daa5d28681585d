"""A finding: one thing a check has to say about the user's pictures, settings or machine."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How much a finding matters. Only `ERROR` stops a training from starting."""

    ERROR = "error"
    WARNING = "warning"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: `code` for programs, `title` and `fix` for people.

    `path` names the file it is about, `detail` gives the facts behind the title, `fix` says what to do.
    """

    code: str
    severity: Severity
    title: str
    fix: str | None = None
    detail: str | None = None
    path: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as the `--json` outputs and the run's manifest carry it."""
        return {
            "path": self.path,
            "code": self.code,
            "severity": self.severity.value,
            "title": self.title,
            "detail": self.detail,
            "fix": self.fix,
        }


def blocking(findings: list[Finding]) -> list[Finding]:
    """Those findings that stop a training from starting, in their order."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]
