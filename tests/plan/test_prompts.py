"""What is said about sample prompts before the start."""

import pytest

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.plan.prompts import made_prompts, prompt_findings


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        ("a cat --n blurry", "prompt_negative_unused", "--n does nothing without --l above 1"),
        ("a cat --n blurry --l 1", "prompt_negative_unused", "--l above 1"),
        ("a (red:1.3) cat", "prompt_weighting", "(red:1.3) is read as plain text"),
        ("a [red] cat", "prompt_weighting", "[red] is read as plain text"),
        ("a ((red)) cat", "prompt_weighting", "(red) is read as plain text"),
        ("a cat --n (bad) --l 3", "prompt_weighting", "(bad)"),
        ("a cat --ar 16:9", "prompt_unknown_flag", "--ar 16:9 is no flag"),
        ("a cat --ss euler", "prompt_no_effect", "--ss euler has no effect"),
        ("a cat --d -1", "prompt_unreadable_value", "--d -1 cannot be read"),
        ("a cat --s 20 in rain", "prompt_trailing_text", "in rain"),
        ("a cat --w 770 --h 20", "prompt_size", "770x20 is made as 768x64"),
        ("#", "prompt_empty", "prompt 1"),
    ],
)
def test_each_finding(line: str, code: str, word: str) -> None:
    line = "" if line == "#" else line
    findings = prompt_findings([line], sample_every_n_steps=10)
    assert [finding.code for finding in findings] == [code]
    assert word in findings[0].title
    assert findings[0].fix


@pytest.mark.parametrize(
    "line", ["a cat --n blurry --l 2", r"a \(real\) cat", "a cat --w 768 --h 512 --d 42 --s 8 --g 3"]
)
def test_good_prompts_are_left_alone(line: str) -> None:
    assert prompt_findings([line], sample_every_n_epochs=1) == []


def test_weights_are_graver_than_brackets() -> None:
    weighted, plain = prompt_findings(["a (red:1.3) cat", "a (red) cat"], sample_every_n_steps=1)
    assert (weighted.severity, plain.severity) == (Severity.WARNING, Severity.ADVICE)
    assert weighted.title.startswith("prompt 1:")
    assert plain.title.startswith("prompt 2:")


@pytest.mark.parametrize(
    ("lines", "arguments", "expected"),
    [
        ([], {}, []),
        (["a"], {}, ["prompts_without_interval"]),
        (["a"], {"sample_every_n_steps": 0, "sample_every_n_epochs": 0}, ["prompts_without_interval"]),
        (["a"], {"sample_at_first": True}, []),
        (["a"], {"sample_every_n_steps": 5}, []),
        ([], {"sample_every_n_steps": 5}, ["interval_without_prompts"]),
        (["a"], {"sample_every_n_steps": 5, "sample_every_n_epochs": 2}, ["two_intervals"]),
    ],
)
def test_intervals(lines: list[str], arguments: dict[str, int], expected: list[str]) -> None:
    findings = prompt_findings(
        lines,
        sample_every_n_steps=arguments.get("sample_every_n_steps"),
        sample_every_n_epochs=arguments.get("sample_every_n_epochs"),
        sample_at_first=bool(arguments.get("sample_at_first")),
    )
    assert [finding.code for finding in findings] == expected


def test_only_prompts_that_become_lines_of_the_file_are_counted() -> None:
    prompts = ["a cat", "# a dog", "a bird\nin a tree", ""]
    assert made_prompts(prompts) == ["a cat", "a bird", "in a tree"]
    findings = prompt_findings(prompts, sample_every_n_steps=1)
    assert [(finding.code, finding.severity) for finding in findings] == [
        ("prompt_comment", Severity.WARNING),
        ("prompt_line_break", Severity.WARNING),
        ("prompt_empty", Severity.WARNING),
    ]
    assert findings[0].title.startswith("prompt 2 begins with #")
    assert "prompt 3 has a line break: 2 samples a round" in findings[1].title
    assert [finding.code for finding in prompt_findings(["# a dog"], sample_every_n_steps=1)] == ["prompt_comment"]
