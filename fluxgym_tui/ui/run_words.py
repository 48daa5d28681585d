"""A run in words: the lines above the chart and the facts beside it. Pure: everything it needs is handed in."""

from collections.abc import Sequence
from pathlib import Path

from textual.content import Content

from fluxgym_tui.base.events import CheckpointEvent, ProblemEvent, SampleEvent
from fluxgym_tui.base.text import human_size, human_time, terminal_safe
from fluxgym_tui.machine.gpu import Gpu
from fluxgym_tui.runs.state import RunState, RunSummary
from fluxgym_tui.runs.words import PHASE_WORDS, item_words
from fluxgym_tui.ui.run_history import RunHistory
from fluxgym_tui.ui.theme import MUTED, STATE_COLOURS, STATE_GLYPHS

QUIET_S = 120.0  # so long without a word is worth a colour
_SEPARATOR = (" · ", MUTED)


def head_line(summary: RunSummary, history: RunHistory) -> Content:
    """Name, state and phase."""
    parts: list[Content | str | tuple[str, str]] = [
        (f" {STATE_GLYPHS[summary.state]} {summary.state}", f"bold {STATE_COLOURS[summary.state]}"),
        "  ",
        (terminal_safe(summary.name), "bold"),
    ]
    phase = history.phase or summary.phase
    if not summary.state.ended and phase is not None:
        parts += [_SEPARATOR, PHASE_WORDS.get(phase, phase)]
        counted = history.counted
        if counted is not None and counted.phase == phase:
            parts.append(f" {terminal_safe(item_words(counted))}")
    if summary.attempt > 1:
        parts += [_SEPARATOR, f"attempt {summary.attempt}"]
    if summary.stop_requested:
        words = "stops at the next checkpoint" if "checkpoint" in summary.stop_requested else "was asked to stop"
        parts += [_SEPARATOR, (words, "$warning")]
    return Content.assemble(*parts)


def bar_line(history: RunHistory, width: int) -> Content:
    """Steps as a bar with numbers; in other phases what is counted there."""
    done, total = 0, 0
    if history.phase in (None, "train", "sample", "save") or history.step is not None:
        done, total = (0, 0) if history.step is None else (history.step.step, history.step.total or 0)
    if history.step is None and history.counted is not None and history.counted.total:
        done, total = history.counted.done, history.counted.total
    numbers = f" {done * 100 // total:>3}%  {done:,}/{total:,}" if total else f" {done:,} steps" if done else " waiting"
    if total and history.step is None and history.counted is not None and history.counted.unit == "bytes":
        numbers = f" {done * 100 // total:>3}%  {human_size(done)} of {human_size(total)}"
    cells = max(4, width - len(numbers) - 2)
    full = round(cells * min(done / total, 1.0)) if total else 0
    return Content.assemble(" ", ("█" * full, "$primary"), ("░" * (cells - full), MUTED), (numbers, "bold"))


def numbers_line(summary: RunSummary, history: RunHistory) -> Content:
    """Epoch, loss, learning rate, pace and time left; where it ended, how."""
    parts: list[str] = []
    step = history.step
    if step is not None and step.epoch is not None:
        parts.append(f"epoch {step.epoch}" + ("" if history.epochs is None else f"/{history.epochs}"))
    if len(history.curve):
        word = "average loss" if history.averaged else "loss"
        parts.append(f"{word} {history.curve.raw[-1]:.4f}")
    if step is not None and step.lr is not None:
        parts.append(f"lr {step.lr:.3g}")
    pace = history.seconds_per_step
    if pace is not None:
        parts.append(f"{pace:.2f} s/step" if pace >= 0.095 else f"{1 / max(pace, 1e-6):.1f} steps/s")
    if step is None and history.counted is not None and history.counted.rate is not None:
        parts.append(f"{human_size(history.counted.rate)}/s")
    left = history.seconds_left
    if left is None and step is None and history.counted is not None:
        left = history.counted.left_s
    if left is not None and not summary.state.ended:
        parts.append(f"{human_time(left)} left")
    if summary.state.ended and history.begun is not None and history.heard is not None:
        parts.append(f"took {human_time(max(0.0, history.heard - history.begun))}")
    return _joined(parts)


def machine_line(
    summary: RunSummary, history: RunHistory, gpus: Sequence[Gpu], disk_free: int | None, now: float
) -> Content:
    """Card, disk and the last sign of life; only what is known."""
    parts: list[str | tuple[str, str]] = []
    for gpu in gpus:
        name = f"GPU {gpu.index} " if len(gpus) > 1 else ""
        if gpu.used_mib is not None:
            parts.append(f"{name}VRAM {gpu.used_mib / 1024:.1f}/{gpu.total_mib / 1024:.0f} GiB")
        facts = [
            "" if gpu.utilisation_percent is None else f"{gpu.utilisation_percent}% busy",
            "" if gpu.power_w is None else f"{gpu.power_w:.0f} W",
            "" if gpu.temperature_c is None else f"{gpu.temperature_c} °C",
        ]
        if any(facts):
            parts.append(" ".join(fact for fact in facts if fact))
    if not gpus:
        parts.append("no NVIDIA card")
    if disk_free is not None:
        parts.append(f"disk {human_size(disk_free)} free")
    if history.heard is not None and not summary.state.ended:
        age = max(0.0, now - history.heard)
        heard = f"alive {human_time(round(age))} ago" if age >= 1.5 else "alive now"
        parts.append((f"! no sign of life for {human_time(age)}", "$warning") if age > QUIET_S else heard)
    return _joined(parts)


def end_lines(summary: RunSummary, history: RunHistory) -> list[Content]:
    """What to say of a run that ended badly or well: reason, then what to do, then the file."""
    if not summary.state.ended:
        return []
    lines: list[Content] = []
    problem: ProblemEvent | None = history.problem if summary.state is RunState.FAILED else None
    colour = STATE_COLOURS[summary.state]
    reason = problem.title if problem is not None else summary.reason
    if reason:
        lines.append(Content.assemble(" ", (terminal_safe(reason), colour)))
    fix = (problem.fix if problem is not None else None) or summary.fix
    if fix:
        lines.append(Content.assemble((" What to do: ", "bold"), terminal_safe(fix)))
    if summary.lora is not None:
        lines.append(Content.assemble((" LoRA: ", "bold"), terminal_safe(str(summary.lora))))
    return lines


def facts(summary: RunSummary, history: RunHistory) -> Content:
    """The panel beside the chart: files, samples, warnings, and what the probe says."""
    sections: list[Content] = []
    saved = [_file_row(event) for event in reversed(history.checkpoints)]
    sections.append(_section("LoRA files by step", saved, "none saved yet"))
    samples = [f"{_when(event)}  prompt {event.prompt_index + 1}" for event in reversed(history.samples)]
    sections.append(_section("Samples by step", samples, "none drawn yet"))
    if history.probes:
        rows = [f"{when} training {loss:.4f}" for when, loss in history.probes.items()]
        sections.append(_section("Loss at fixed noise", rows, ""))
    notes = [f"{'✗' if note.kind == 'problem' else '!'} {note.title}" for note in reversed(history.notes)]
    sections.append(_section("Warnings", notes, "none"))
    sections.append(_section("Folder", [str(summary.path)], ""))
    return Content("\n").join(sections)


def _section(title: str, rows: Sequence[str], none: str, *, most: int = 6) -> Content:
    head = Content.styled(title, "bold $primary")
    if not rows:
        return Content.assemble(head, "\n", (f"  {none}", MUTED), "\n")
    more = [] if len(rows) <= most else [f"  and {len(rows) - most} more"]
    text = "\n".join([*(f"  {terminal_safe(row)}" for row in rows[:most]), *more])
    return Content.assemble(head, "\n", text, "\n")


def _file_row(event: CheckpointEvent) -> str:
    name = Path(event.path).stem
    return f"{_when(event)}  {name if len(name) <= 25 else '…' + name[-24:]}"


def _when(event: CheckpointEvent | SampleEvent) -> str:
    return (f"e{event.epoch}" if event.step is None else f"{event.step:,}").rjust(6)


def _joined(parts: Sequence[str | tuple[str, str]]) -> Content:
    pieces: list[str | tuple[str, str]] = [" "]
    for number, part in enumerate(parts):
        if number:
            pieces.append(_SEPARATOR)
        pieces.append(part)
    return Content.assemble(*pieces)
