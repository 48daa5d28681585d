"""The list of runs, drawn by line: name, true state, how far, loss, when, and why it ended."""

import time
from collections.abc import Sequence
from pathlib import Path

from textual.content import Content

from fluxgym_tui.base.text import human_time, terminal_safe
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.runs.words import PHASE_WORDS
from fluxgym_tui.ui.theme import STATE_COLOURS, STATE_GLYPHS
from fluxgym_tui.ui.widgets.line_list import LineList

_STATE_CELLS = 13
_NAME_CELLS = (12, 34)
_POINTER_CELLS = 2  # which the list itself puts before each row
_OTHER_CELLS = 64  # all columns but the name and the reason
_WHY_CELLS = 100  # a narrower list leaves the reason to the lines below it
_REASON_CELLS = 20


class RunList(LineList):
    """Shows `runs`; the first line is the heading and stays."""

    def __init__(self) -> None:
        super().__init__(help_title="The list of runs")
        self.runs: tuple[RunSummary, ...] = ()
        self.marked: set[Path] = set()
        self._longest_name = 0

    @property
    def current(self) -> RunSummary | None:
        """The run under the cursor."""
        return self.runs[self.cursor] if 0 <= self.cursor < len(self.runs) else None

    def show_runs(self, runs: Sequence[RunSummary]) -> None:
        """Show `runs`; the cursor stays on its run, wherever that went."""
        before, paths = self.current, [summary.path for summary in runs]
        same = paths == [summary.path for summary in self.runs]
        self.runs = tuple(runs)
        if same:  # the list stays where the wheel has put it
            self.refresh()
            return
        self._longest_name = max((len(terminal_safe(summary.name)) for summary in self.runs), default=0)
        self.marked &= set(paths)
        cursor = paths.index(before.path) if before is not None and before.path in paths else None
        self.show(len(self.runs), self._row, heading=self._heading_of(self.size.width), cursor=cursor)

    def on_resize(self) -> None:
        """Another width, other columns."""
        self.show(len(self.runs), self._row, heading=self._heading_of(self.size.width))

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and go to the next."""
        if self.current is not None:
            self.marked ^= {self.current.path}
            self.action_move(1)
            self.refresh()

    def _name_cells(self, width: int) -> int:
        room = width - _OTHER_CELLS - (_REASON_CELLS if width >= _WHY_CELLS else 0)
        return max(_NAME_CELLS[0], min(self._longest_name, _NAME_CELLS[1], room))

    def _heading_of(self, width: int) -> Content:
        name = self._name_cells(width)
        line = (
            f"    {'run':<{name}} {'state':<{_STATE_CELLS}} {'step':>13} {'loss':>7}  {'started':<12}  {'lasted':<7}"
            + (" why" if width >= _WHY_CELLS else "")
        )
        return Content(line)

    def _row(self, number: int, width: int) -> Content:
        summary, width = self.runs[number], width + _POINTER_CELLS
        name_cells = self._name_cells(width)
        name = Content(terminal_safe(summary.name)).truncate(name_cells, ellipsis=True, pad=True)
        state = f"{STATE_GLYPHS[summary.state]} {summary.state}".ljust(_STATE_CELLS)
        step = f"{summary.step:,}" + (f"/{summary.total:,}" if summary.total else "")
        loss = "" if summary.loss is None and summary.avg_loss is None else f"{summary.loss or summary.avg_loss:.4f}"
        started, lasted = times(summary)
        why = _why(summary) if width >= _WHY_CELLS else ""
        mark = "●" if summary.path in self.marked else " "
        return Content.assemble(
            f"{mark} ",
            name.stylize("bold"),
            " ",
            (state, STATE_COLOURS[summary.state]),
            f" {step:>13} {loss:>7}  {started:<12}  {lasted:<7} {why}".rstrip(),
        )


def _why(summary: RunSummary) -> str:
    """Why it ended, or what it does where that is not yet training."""
    if not summary.state.ended:
        phase = summary.phase
        return "" if phase in (None, "train") else PHASE_WORDS.get(phase, phase)
    return terminal_safe(summary.reason or "")


def times(summary: RunSummary) -> tuple[str, str]:
    """When the run began, in this place's time, and how long it took or takes."""
    if summary.started is None:
        return "", ""
    started = time.strftime("%d %b %H:%M", time.localtime(summary.started))
    end = summary.ended or (summary.updated if summary.state.ended else time.time()) or time.time()
    return started, human_time(max(0.0, end - summary.started))
