"""The list of runs, drawn by line: name, true state, how far, loss, when, and why it ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from fluxgym_tui.base.text import human_time, terminal_safe
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.runs.words import PHASE_WORDS
from fluxgym_tui.ui.theme import STATE_COLOURS, STATE_GLYPHS

_STATE_CELLS = 13
_NAME_CELLS = (12, 34)
_OTHER_CELLS = 64  # all columns but the name and the reason
_WHY_CELLS = 100  # a narrower list leaves the reason to the lines below it
_REASON_CELLS = 20


class RunList(ScrollView, can_focus=True):
    """Shows `runs`; the first line is the heading and stays."""

    HELP_TITLE = "The list of runs"
    DEFAULT_CSS = "RunList { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "next run", show=False),
        Binding("up,k", "move(-1)", "run before", show=False),
        Binding("pagedown", "page(1)", "a page down", show=False),
        Binding("pageup", "page(-1)", "a page up", show=False),
        Binding("home,g", "move(-1000000)", "first run", show=False),
        Binding("end,G", "move(1000000)", "last run", show=False),
        Binding("enter", "choose", "open the run", show=False),
    ]
    cursor: reactive[int] = reactive(0)

    @dataclass
    class Chosen(Message):
        """The user opened a run."""

        path: Path

    @dataclass
    class Moved(Message):
        """Another run is under the cursor."""

        path: Path | None

    def __init__(self) -> None:
        super().__init__()
        self.runs: tuple[RunSummary, ...] = ()
        self.marked: set[Path] = set()
        self._longest_name = 0

    @property
    def current(self) -> RunSummary | None:
        """The run under the cursor."""
        return self.runs[self.cursor] if 0 <= self.cursor < len(self.runs) else None

    def show(self, runs: Sequence[RunSummary]) -> None:
        """Show `runs`; the cursor stays on its run, wherever that went."""
        before = self.current
        self.runs = tuple(runs)
        self._longest_name = max((len(terminal_safe(summary.name)) for summary in self.runs), default=0)
        paths = [summary.path for summary in self.runs]
        self.marked &= set(paths)
        if before is not None and before.path in paths:
            self.set_reactive(RunList.cursor, paths.index(before.path))
        else:
            self.set_reactive(RunList.cursor, max(0, min(self.cursor, len(paths) - 1)))
        self.virtual_size = Size(self.size.width, len(self.runs) + 1)
        self.refresh()
        after = self.current
        if (before is None) != (after is None) or (before and after and before != after):
            self.post_message(self.Moved(None if after is None else after.path))

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and go to the next."""
        if self.current is not None:
            self.marked ^= {self.current.path}
            self.action_move(1)
            self.refresh()

    def watch_cursor(self, before: int, after: int) -> None:
        """Keep the cursor in sight; where nothing scrolls, two lines are drawn anew and not all."""
        top = self.scroll_offset.y
        self.scroll_to_region(Region(0, after, 1, 2), animate=False)
        if self.scroll_offset.y == top:
            width = self.size.width
            self.refresh(Region(0, before + 1 - top, width, 1), Region(0, after + 1 - top, width, 1))
        else:
            self.refresh()
        self.post_message(self.Moved(None if self.current is None else self.current.path))

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.cursor = max(0, min(self.cursor + by, len(self.runs) - 1))

    def action_page(self, by: int) -> None:
        """Move the cursor by what is seen."""
        self.action_move(by * max(1, self.size.height - 2))

    def action_choose(self) -> None:
        """Open the run under the cursor."""
        if self.current is not None:
            self.post_message(self.Chosen(self.current.path))

    def on_click(self, event: object) -> None:
        """Put the cursor where the click was; a second click opens."""
        row = int(getattr(event, "y", 0)) + self.scroll_offset.y - 1
        if 0 <= row < len(self.runs):
            again = getattr(event, "chain", 1) > 1
            self.cursor = row
            if again:
                self.action_choose()

    def on_resize(self) -> None:
        """Rows are as wide as the list."""
        self.virtual_size = Size(self.size.width, len(self.runs) + 1)

    def render_line(self, y: int) -> Strip:
        """Line `y` of what is seen."""
        width = self.size.width
        if y == 0:
            return self._strip(self._heading(width))
        row = y - 1 + self.scroll_offset.y
        if not 0 <= row < len(self.runs):
            return Strip.blank(width, self.rich_style)
        return self._strip(self._row(self.runs[row], width, under_cursor=row == self.cursor))

    def _strip(self, content: Content) -> Strip:
        strips = Visual.to_strips(self, content, self.size.width, 1, self.visual_style)
        return strips[0] if strips else Strip.blank(self.size.width, self.rich_style)

    def _name_cells(self, width: int) -> int:
        room = width - _OTHER_CELLS - (_REASON_CELLS if width >= _WHY_CELLS else 0)
        return max(_NAME_CELLS[0], min(self._longest_name, _NAME_CELLS[1], room))

    def _heading(self, width: int) -> Content:
        name = self._name_cells(width)
        line = (
            f"    {'run':<{name}} {'state':<{_STATE_CELLS}} {'step':>13} {'loss':>7}  {'started':<12}  {'lasted':<7}"
            + (" why" if width >= _WHY_CELLS else "")
        )
        return Content(line[:width].ljust(width)).stylize("bold $foreground 60%")

    def _row(self, summary: RunSummary, width: int, *, under_cursor: bool) -> Content:
        name_cells = self._name_cells(width)
        name = Content(terminal_safe(summary.name)).truncate(name_cells, ellipsis=True, pad=True)
        state = f"{STATE_GLYPHS[summary.state]} {summary.state}".ljust(_STATE_CELLS)
        step = f"{summary.step:,}" + (f"/{summary.total:,}" if summary.total else "")
        loss = "" if summary.loss is None and summary.avg_loss is None else f"{summary.loss or summary.avg_loss:.4f}"
        started, lasted = times(summary)
        why = _why(summary) if width >= _WHY_CELLS else ""
        mark = "●" if summary.path in self.marked else " "
        pointer = "▸" if under_cursor else " "
        line = Content.assemble(
            f"{pointer} {mark} ",
            name.stylize("bold"),
            " ",
            (state, STATE_COLOURS[summary.state]),
            f" {step:>13} {loss:>7}  {started:<12}  {lasted:<7} {why}",
        ).truncate(width, ellipsis=True, pad=True)
        return line.stylize("on $primary 25%" if self.has_focus else "on $panel") if under_cursor else line


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
