"""Sample prompts before the start: parts that will do nothing, and prompts that will never be sampled."""

import re
from collections.abc import Iterator, Sequence

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.prompts import SamplePrompt, parse_prompt, prompt_lines
from fluxgym_tui.base.text import count

# (word), (word:1.3), [word]; a backslash before a bracket is how people say that they mean the bracket itself.
_WEIGHTED = re.compile(r"(?<!\\)\([^()]*:\s*\d*\.?\d+\s*\)")
_BRACKETED = re.compile(r"(?<!\\)\([^()]+\)|(?<!\\)\[[^\[\]]+\]")
_PROBLEMS = {
    "unknown_flag": ("is no flag of sample prompts", "known are --w --h --d --s --g --l --n; leave others out"),
    "unreadable_value": (
        "cannot be read and is left out",
        "put one space and a plain number after the flag, as --w 768",
    ),
    "no_effect": ("has no effect for FLUX", "leave it out"),
    "trailing_text": ("has text after its value that is left out", "put all text before the first flag"),
}


def made_prompts(prompts: Sequence[str]) -> list[str]:
    """The prompts that samples are made of: what is left when `prompts` go through a `sample_prompts.txt`."""
    return [line for prompt in prompts for line in prompt_lines(prompt)]


def prompt_findings(
    prompts: Sequence[str],
    *,
    sample_every_n_steps: int | None = None,
    sample_every_n_epochs: int | None = None,
    sample_at_first: bool = False,
) -> list[Finding]:
    """What there is to say about the `prompts` and when they are sampled; 0 is taken as None: never."""
    findings = [finding for number, prompt in enumerate(prompts, 1) for finding in _of_prompt(number, prompt)]
    interval = bool(sample_every_n_steps or sample_every_n_epochs)
    if prompts and not interval and not sample_at_first:
        findings.append(
            _warning(
                "prompts_without_interval",
                "there are sample prompts but no interval: no samples will be made",
                "set samples.every_n_steps or samples.every_n_epochs (sd-scripts: --sample_every_n_steps or _epochs)",
            )
        )
    if interval and not prompts:
        findings.append(
            _warning(
                "interval_without_prompts",
                "samples have an interval but no prompts: no samples will be made",
                "add prompts, or set the interval to 0",
            )
        )
    if sample_every_n_steps and sample_every_n_epochs:
        findings.append(
            _warning(
                "two_intervals",
                f"samples come every {sample_every_n_epochs} epochs only: the interval of "
                f"{sample_every_n_steps} steps is not used",
                "keep one of the two",
            )
        )
    return findings


def _of_prompt(number: int, prompt: str) -> Iterator[Finding]:
    lines = prompt_lines(prompt)
    if len(prompt.strip().splitlines()) > 1:
        yield _warning(
            "prompt_line_break",
            f"prompt {number} has a line break: {count(len(lines), 'sample')} a round are made of it, one a line",
            "write it on one line, or as a prompt for each",
        )
    elif prompt.startswith("#"):
        yield _warning(
            "prompt_comment",
            f"prompt {number} begins with #, which makes it a comment: no samples are made of it",
            "begin it with another character, or take it out",
        )
    elif not lines:
        yield from _of_line(number, parse_prompt(prompt))
    for line in lines:
        yield from _of_line(number, parse_prompt(line))


def _of_line(number: int, prompt: SamplePrompt) -> Iterator[Finding]:
    where = f"prompt {number}"
    for problem in prompt.problems:
        what, fix = _PROBLEMS[problem.code]
        yield _warning(f"prompt_{problem.code}", f"{where}: {problem.part} {what}", fix)
    if prompt.negative is not None and prompt.cfg_scale == 1:
        yield _warning(
            "prompt_negative_unused",
            f"{where}: --n does nothing without --l above 1",
            "add --l 2 (each sample then takes twice the time), or leave --n out",
        )
    if not prompt.text:
        yield _warning("prompt_empty", f"{where} has no text", "write what the sample should show before the flags")
    for text in filter(None, (prompt.text, prompt.negative)):
        found = _WEIGHTED.search(text) or _BRACKETED.search(text)
        if found is not None:
            yield Finding(
                code="prompt_weighting",
                severity=Severity.WARNING if _WEIGHTED.search(text) else Severity.ADVICE,
                title=f"{where}: {found.group()} is read as plain text: FLUX has no ( ) and [ ] weighting",
                fix="say it in words instead",
            )
    if prompt.size != (prompt.width, prompt.height):
        made = f"{prompt.size[0]}x{prompt.size[1]}"
        yield Finding(
            code="prompt_size",
            severity=Severity.ADVICE,
            title=f"{where}: {prompt.width}x{prompt.height} is made as {made}",
            fix="use multiples of 16, from 64 on",
        )


def _warning(code: str, title: str, fix: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, title=title, fix=fix)
