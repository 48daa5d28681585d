"""Findings for people."""

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.cli.findings import finding_lines, summary_line


def _finding(severity: Severity, title: str, *, fix: str | None = None, **more: str) -> Finding:
    return Finding(
        code=title, severity=severity, title=title, fix=fix, path=more.get("path"), detail=more.get("detail")
    )


def test_errors_come_first_and_the_same_of_many_files_is_said_once() -> None:
    findings = [
        *(_finding(Severity.ADVICE, "no caption", fix="Write one.", path=f"{number}.png") for number in range(5)),
        _finding(Severity.ERROR, "no bucket", fix="use steps\nof 64", path="a.png", detail="height 0"),
        _finding(Severity.WARNING, "lonely"),
    ]
    assert finding_lines(findings) == [
        "error: no bucket",
        "  a.png: height 0",
        "  -> use steps",
        "     of 64",
        "warning: lonely",
        "advice: no caption (5 files)",
        "  0.png",
        "  1.png",
        "  2.png",
        "  ... and 2 more",
        "  -> Write one.",
    ]
    assert summary_line(findings) == "1 error, 1 warning, 5 pieces of advice"


def test_nothing_found_is_said() -> None:
    assert finding_lines([]) == []
    assert summary_line([]) == "nothing found"


def test_a_line_break_in_a_name_or_in_a_fact_begins_no_line() -> None:
    (title, facts) = finding_lines(
        [_finding(Severity.WARNING, "odd\nerror: a", path="x\u0085error: b\u2028y", detail="d\rerror: c")]
    )
    assert title == "warning: odd\\x0aerror: a"
    assert facts == "  x\\x85error: b\\u2028y: d\\x0derror: c"
