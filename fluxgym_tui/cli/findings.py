"""Findings as lines for people: what stops a training first, the same said once."""

from collections.abc import Iterable, Sequence

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import count, one_line

_NAMED = 3  # files of one and the same finding that are named


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """The findings by severity; those that say the same of several files are one, with the first files named."""
    groups: dict[tuple[Severity, str, str, str | None], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.code, finding.title, finding.fix), []).append(finding)
    order = list(Severity)
    lines: list[str] = []
    for (severity, _, title, fix), group in sorted(groups.items(), key=lambda item: order.index(item[0][0])):
        lines.append(f"{severity}: {one_line(title)}" + (f" ({count(len(group), 'file')})" if len(group) > 1 else ""))
        lines += [f"  {line}" for line in _facts(group)]
        if fix:
            lines += [f"  -> {line}" if number == 0 else f"     {line}" for number, line in enumerate(fix.split("\n"))]
    return lines


def summary_line(findings: Sequence[Finding]) -> str:
    """`1 error, 2 warnings, 3 pieces of advice`, or that there is nothing."""
    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.ADVICE: "piece of advice"}
    plurals = {Severity.ADVICE: "pieces of advice"}
    numbers = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    said = [
        count(numbers[severity], words[severity], plurals.get(severity)) for severity in Severity if numbers[severity]
    ]
    return ", ".join(said) or "nothing found"


def _facts(group: Sequence[Finding]) -> list[str]:
    """Where, and what exactly."""
    lines: list[str] = []
    for finding in group[:_NAMED]:
        facts = [one_line(fact) for fact in (finding.path, finding.detail) if fact]
        lines += [": ".join(facts)] if facts else []
    more = len(group) - _NAMED
    return [*lines, f"... and {more:,} more"] if more > 0 and lines else lines
