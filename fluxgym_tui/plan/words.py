"""A plan in plain words, for the command line and the app."""

from collections import Counter
from collections.abc import Sequence

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.base.text import count, human_size
from fluxgym_tui.plan.advice import list_words
from fluxgym_tui.plan.planning import TrainPlan
from fluxgym_tui.plan.steps import Round

_NAMED_ROUNDS = 4


def explain(plan: TrainPlan, *, most_of_a_kind: int = 5) -> list[str]:
    """`plan` as lines of text: its length, the files and samples to come, then its findings.

    Of findings of one kind the first `most_of_a_kind` are told, the rest counted. File names come as they are: make
    the lines safe (`base.text.terminal_safe`) before they reach a terminal.
    """
    lines = [length_words(plan)]
    if plan.trains:
        lines += [samples_words(plan), checkpoints_words(plan)]
    told: Counter[str] = Counter()
    for finding in plan.findings:
        told[finding.code] += 1
        if told[finding.code] <= most_of_a_kind:
            lines.append(finding_words(finding))
    lines += [
        f"... and {number - most_of_a_kind:,} more: {code}" for code, number in told.items() if number > most_of_a_kind
    ]
    return lines


def length_words(plan: TrainPlan) -> str:
    """`400 steps: ceil(25/1) = 25 batches an epoch; 25 x 16 epochs = 400 steps`."""
    if plan.steps.total is None:
        return "nothing would train"
    return f"{count(plan.steps.total, 'step')}: {plan.steps.formula}"


def samples_words(plan: TrainPlan) -> str:
    """`samples at steps 100, 200 ... 900: 9 rounds for each of 2 prompts, 18 pictures`."""
    if not plan.samples:
        return "no sample pictures"
    rounds, pictures = len(plan.samples), len(plan.samples) * plan.prompts
    each = "the prompt" if plan.prompts == 1 else f"each of {plan.prompts:,} prompts"
    return f"samples {_when(plan.samples)}: {count(rounds, 'round')} for {each}, {count(pictures, 'picture')}"


def checkpoints_words(plan: TrainPlan) -> str:
    """`LoRA files at the end of epochs 4, 8 and 12, and at the end: 4 files, 159 MB`."""
    size = "" if plan.disk_bytes is None else f", {human_size(plan.disk_bytes)}"
    files = len(plan.checkpoints) + 1
    before = f"{_when(plan.checkpoints)}, and " if plan.checkpoints else ""
    return f"LoRA files {before}at the end: {count(files, 'file')}{size}"


def finding_words(finding: Finding) -> str:
    """One finding on one line: `768x1024 is cropped to 768x768, 25.0% lost: top and bottom 128 px are cut; ...`."""
    more = "; ".join(part for part in (finding.detail, finding.fix) if part)
    return f"{finding.title}: {more}" if more else finding.title


def _when(rounds: Sequence[Round]) -> str:
    """`at steps 100, 200 ... 900`, or `at the end of epochs 4 and 8`; step 0 is the start."""
    groups = {
        "before the first step": [moment.step for moment in rounds if moment.step == 0],
        "at step": [moment.step for moment in rounds if moment.step and moment.epoch is None],
        "at the end of epoch": [moment.epoch for moment in rounds if moment.step and moment.epoch is not None],
    }
    return " and ".join(
        words if words.startswith("before") else f"{words}{'s' if len(numbers) > 1 else ''} {_numbers(numbers)}"
        for words, numbers in groups.items()
        if numbers
    )


def _numbers(numbers: Sequence[int]) -> str:
    words = [f"{number:,}" for number in numbers]
    if len(words) <= _NAMED_ROUNDS:
        return list_words(words)
    return f"{', '.join(words[:2])} ... {words[-1]}"
