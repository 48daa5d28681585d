"""What a draft comes to, in words: totals beside the form, findings, the plan's text."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import count, human_size, human_time, terminal_safe
from fluxgym_tui.ui.draft import Draft, number_words
from fluxgym_tui.ui.theme import MUTED

if TYPE_CHECKING:
    from fluxgym_tui.checks.preflight import Preflight

LOOKS = {
    Severity.ERROR: ("✗", "$error"),
    Severity.WARNING: ("!", "$warning"),
    Severity.ADVICE: ("·", "$primary"),
}
_NAMED_FILES = 3


def totals(draft: Draft) -> list[Content]:
    """The lines beside the form: what is wrong, else name, strength, steps, time, files and findings."""
    if draft.spec is None:
        return [Content.assemble(("✗ not ready  ", "bold $error"), terminal_safe(draft.problem))]
    spec = draft.spec
    training = spec.training
    lines = [
        _line("output", f"outputs/{spec.output_name}/"),
        _line(
            "strength",
            f"alpha {number_words(training.network_alpha)} / rank {training.network_dim} = "
            f"{number_words(round(training.network_alpha / training.network_dim, 6))}",
        ),
    ]
    ready = draft.ready
    if ready is None:
        told = terminal_safe(draft.ready_problem) if draft.ready_problem else "being counted"
        return [*lines, Content.assemble(("✗ " if draft.ready_problem else "· ", "$error"), told)]
    plan = ready.plan.plan
    total = plan.steps.total
    settled = draft.planned
    if total is None:
        lines.append(_line("steps", "nothing would train"))
    else:
        lines.append(_line("steps", f"{total:,}" + ("" if settled else " (being counted)")))
        lines.append(Content.styled(f"{'':<10}{steps_in_short(draft)}", MUTED))
        lines.append(_line("time", time_words(draft, total)))
        size = "" if plan.disk_bytes is None else f", {human_size(plan.disk_bytes)}"
        lines.append(_line("files", f"{count(len(plan.checkpoints) + 1, 'LoRA file')}{size}"))
        pictures = len(plan.samples) * plan.prompts
        lines.append(_line("samples", f"{count(pictures, 'picture')}" if pictures else "none"))
    lines.append(_line("trainer", f"{ready.backend.name}, recipe {ready.spec.training.vram}"))
    lines.append(_line("model", model_words(draft)))
    return [*lines, *by_hand_mark(ready), finding_counts(ready.findings)]


def totals_in_short(draft: Draft) -> list[Content]:
    """`totals` for a narrow terminal: the same in four lines."""
    ready = draft.ready
    if draft.spec is None or ready is None or ready.plan.plan.steps.total is None:
        return totals(draft)
    training, plan = draft.spec.training, ready.plan.plan
    steps = ready.plan.plan.steps.total
    strength = number_words(round(training.network_alpha / training.network_dim, 6))
    size = "" if plan.disk_bytes is None else f", {human_size(plan.disk_bytes)}"
    pictures = len(plan.samples) * plan.prompts
    rows = (
        f"outputs/{draft.spec.output_name}/ · strength alpha/rank {strength}",
        f"{count(steps, 'step')} · {steps_in_short(draft)}" + ("" if draft.planned else " · being counted"),
        f"{count(len(plan.checkpoints) + 1, 'LoRA file')}{size} · {count(pictures, 'sample')} · "
        f"{ready.backend.name}, recipe {ready.spec.training.vram}",
        f"time {time_words(draft, steps)} · model {model_words(draft)}",
    )
    return [*(Content(terminal_safe(row)) for row in rows), *by_hand_mark(ready), finding_counts(ready.findings)]


def by_hand_mark(ready: "Preflight") -> list[Content]:
    """A line where files of the run are edited by hand: what is set in their place has no effect."""
    if ready.hand is None:
        return []
    names = " and ".join(edit.name for edit in ready.hand.edits)
    return [Content.styled(f"! {names} edited by hand: 4, then c", "$warning")]


def model_words(draft: Draft) -> str:
    """Whether the base model is here, or how much is downloaded first."""
    # A twentieth of a second to import, which the first paint need not pay: who has a plan has it loaded already.
    from fluxgym_tui.hub.needs import state_words

    assert draft.ready is not None
    return state_words(draft.ready.model_state, draft.ready.to_fetch)


def steps_in_short(draft: Draft) -> str:
    """`25 steps an epoch x 16 epochs`."""
    assert draft.ready is not None
    steps = draft.ready.plan.plan.steps
    pictures = count(draft.ready.plan.pictures, "picture")
    if steps.epochs is None:
        return pictures
    return f"{pictures}: {steps.steps_per_epoch:,} an epoch, {count(steps.epochs, 'epoch')}"


def time_words(draft: Draft, total: int) -> str:
    """How long the steps take by a like run's pace; without one it is not known."""
    seconds, name = draft.pace
    if seconds is None:
        return "not known before a first run"
    return f"about {human_time(total * seconds)}, at {seconds:.2f} s/step as {terminal_safe(name)}"


def finding_counts(findings: Sequence[Finding], *, here: bool = False) -> Content:
    """`✗ 1 error  ! 2 warnings  3 shows`, or that it can start; `here` where they are shown already."""
    words = {Severity.ERROR: "error", Severity.WARNING: "warning"}
    parts: list[str | tuple[str, str]] = []
    for severity, word in words.items():
        number = sum(finding.severity is severity for finding in findings)
        if number:
            glyph, colour = LOOKS[severity]
            parts.append((f"{glyph} {count(number, word)}  ", f"bold {colour}"))
    if parts and not here:
        parts.append(("3 shows", MUTED))
    if not any(finding.severity is Severity.ERROR for finding in findings):
        parts.insert(0, ("✓ ready, ctrl+r starts  ", "bold $success"))
    return Content.assemble(*parts)


def _line(name: str, words: str) -> Content:
    return Content.assemble((f"{name:<10}", MUTED), terminal_safe(words))


def finding_rows(findings: Iterable[Finding]) -> list[Content]:
    """The findings as lines: the worst first, those that say the same of several files once."""
    groups: dict[tuple[Severity, str, str | None], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.title, finding.fix), []).append(finding)
    order = list(Severity)
    lines: list[Content] = []
    for (severity, title, fix), group in sorted(groups.items(), key=lambda item: order.index(item[0][0])):
        glyph, colour = LOOKS[severity]
        number = f" ({count(len(group), 'file')})" if len(group) > 1 else ""
        lines.append(Content.assemble((f"{glyph} {severity.value}: ", colour), f"{terminal_safe(title)}{number}"))
        for finding in group[:_NAMED_FILES]:
            facts = ": ".join(fact for fact in (finding.path, finding.detail) if fact)
            if facts:
                lines.append(Content.styled(f"    {terminal_safe(facts)}", MUTED))
        if len(group) > _NAMED_FILES:
            lines.append(Content.styled(f"    and {len(group) - _NAMED_FILES:,} more", MUTED))
        if fix:
            lines += [Content(f"    → {terminal_safe(line)}") for line in fix.splitlines()]
    return lines
