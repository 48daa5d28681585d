"""Samples as a grid: prompts by steps. Only what is seen is read, in a thread."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.worker import get_current_worker

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.pictures import draw_picture
from fluxgym_tui.ui.sample_table import SampleTable

MOST = Size(26, 14)  # a picture of 24 by 12, its label above, a free column and line
_GUTTER = 1


class SampleGrid(ScrollView, can_focus=True):
    """Shows `table`; a cursor goes from cell to cell."""

    HELP_TITLE = "The grid of samples"
    DEFAULT_CSS = """
    SampleGrid { height: 1fr; }
    SampleGrid > .grid--label { color: $foreground 70%; }
    SampleGrid > .grid--cursor { background: $primary; color: $background; text-style: bold; }
    SampleGrid > .grid--picked { color: $success; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--label", "grid--cursor", "grid--picked"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(0, -1)", "step before", show=False),
        Binding("right,l", "move(0, 1)", "next step", show=False),
        Binding("up,k", "move(-1, 0)", "prompt before", show=False),
        Binding("down,j", "move(1, 0)", "next prompt", show=False),
        Binding("home,g", "move(0, -100000)", "first step", show=False),
        Binding("end,G", "move(0, 100000)", "last step", show=False),
        Binding("enter", "zoom", "large", show=False),
    ]
    row: reactive[int] = reactive(0)
    column: reactive[int] = reactive(0)

    @dataclass
    class Moved(Message):
        """The cursor is on another cell."""

    @dataclass
    class Zoomed(Message):
        """The user wants to see the cell large."""

    @dataclass
    class Drawn(Message):
        """A thumbnail is ready; None where the file cannot be drawn."""

        path: Path
        strips: list[Strip] | None

    def __init__(self) -> None:
        super().__init__()
        self.table: SampleTable | None = None
        self.colour = True
        self.picked: Path | None = None
        self._thumbs: dict[Path, list[Strip] | None] = {}
        self._wanted: list[Path] = []
        self._cell = MOST

    def show(self, table: SampleTable) -> None:
        """Show `table`, which may have grown."""
        fresh = self.table is not table
        self.table = table
        if fresh:
            self._thumbs.clear()
            self._cell = MOST
            self.row, self.column = 0, max(0, len(table.moments) - 1)
            self.call_after_refresh(self._to_cursor)
        self._resized()

    def _resized(self) -> None:
        if self.table is not None:
            # So much that the last column and row can stand whole at the left and the top of what is seen.
            columns, rows = self._seen
            self.virtual_size = Size(
                max(0, len(self.table.moments) - columns) * self._cell.width + self.size.width,
                max(0, len(self.table.prompts) - rows) * self._cell.height + self.size.height,
            )
        self.refresh()

    @property
    def _seen(self) -> tuple[int, int]:
        """How many whole columns and rows are in sight."""
        return (
            max(1, (self.size.width - _GUTTER) // self._cell.width),
            max(1, (self.size.height + 1) // self._cell.height),
        )

    def on_resize(self) -> None:
        """Another room, other columns."""
        self._resized()
        self.call_after_refresh(self._to_cursor)

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor, if there is something to move to."""
        if self.table is None:
            return
        self.row = max(0, min(self.row + rows, len(self.table.prompts) - 1))
        self.column = max(0, min(self.column + columns, len(self.table.moments) - 1))
        self._to_cursor()
        self.refresh()
        self.post_message(self.Moved())

    def _to_cursor(self) -> None:
        """Scroll by whole cells, so that no picture is cut at the left or the top."""
        columns, rows = self._seen
        first = (round(self.scroll_x / self._cell.width), round(self.scroll_y / self._cell.height))
        column = min(self.column, max(first[0], self.column - columns + 1))
        row = min(self.row, max(first[1], self.row - rows + 1))
        self.scroll_to(column * self._cell.width, row * self._cell.height, animate=False, force=True)

    def action_zoom(self) -> None:
        """See the cell large."""
        self.post_message(self.Zoomed())

    def on_click(self, event: object) -> None:
        """Put the cursor where the click was; a second click looks closer."""
        x = int(getattr(event, "x", 0)) + self.scroll_offset.x
        y = int(getattr(event, "y", 0)) + self.scroll_offset.y
        self.row, self.column = 0, 0
        self.action_move(y // self._cell.height, x // self._cell.width)
        if getattr(event, "chain", 1) > 1:
            self.action_zoom()

    # Thumbnails

    @work(thread=True, exclusive=True, group="thumbs", exit_on_error=False)
    def _draw_wanted(self, paths: tuple[Path, ...]) -> None:
        worker = get_current_worker()
        for path in paths:
            if worker.is_cancelled:
                return
            try:
                strips: list[Strip] | None = draw_picture(path, MOST.width - 2, MOST.height - 2, colour=self.colour)
            except (OSError, ValueError):
                strips = None
            self.post_message(self.Drawn(path, strips))

    def on_sample_grid_drawn(self, message: Drawn) -> None:
        """A thumbnail came."""
        self._thumbs[message.path] = message.strips
        if message.path in self._wanted:
            self._wanted.remove(message.path)
        self._fit_cells()
        self.refresh()

    def _fit_cells(self) -> None:
        """Cells as high as the highest picture: those of wide pictures leave room for more prompts."""
        highest = max((len(strips) for strips in self._thumbs.values() if strips), default=0)
        if highest and self._cell.height != highest + 2:
            self._cell = Size(MOST.width, highest + 2)
            self._resized()
            self._to_cursor()

    def _thumb(self, path: Path) -> list[Strip] | None:
        if path not in self._thumbs and path not in self._wanted:
            self._wanted.append(path)
            self.call_after_refresh(self._ask)
        return self._thumbs.get(path)

    def _ask(self) -> None:
        if self._wanted:
            self._draw_wanted(tuple(self._wanted))

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Line `y` of what is seen."""
        width, plain = self.size.width, self.visual_style.rich_style
        left, top = self.scroll_offset
        row, line = divmod(top + y, self._cell.height)
        if self.table is None or row >= len(self.table.prompts):
            return Strip.blank(width, plain)
        first = left // self._cell.width
        last = min(len(self.table.moments), (left + width) // self._cell.width + 1)
        parts = [self._cell_line(row, column, line, plain) for column in range(first, last)]
        strip = Strip.join([Strip.blank(_GUTTER, plain), *parts])
        begin = left - first * self._cell.width
        return strip.crop_extend(begin, begin + width, plain)

    def _cell_line(self, row: int, column: int, line: int, plain: Style) -> Strip:
        assert self.table is not None
        room = self._cell.width - 1
        event = self.table.at(row, column)
        if line == 0:
            return self._label(row, column, room, plain)
        if event is None:
            words = "not drawn" if line == self._cell.height // 2 else ""
            return Strip([Segment(words.center(room), plain)]).extend_cell_length(self._cell.width, plain)
        path = self.table.path_of(event)
        strips = self._thumb(path)
        if strips is None:
            words = ("cannot be shown" if path in self._thumbs else "...") if line == self._cell.height // 2 else ""
            return Strip([Segment(words.center(room), plain)]).extend_cell_length(self._cell.width, plain)
        if line - 1 < len(strips):
            return Strip.join([strips[line - 1].apply_style(plain)]).extend_cell_length(self._cell.width, plain)
        return Strip.blank(self._cell.width, plain)

    def _label(self, row: int, column: int, room: int, plain: Style) -> Strip:
        assert self.table is not None
        picked = self.picked is not None and self.table.lora_of(column) == self.picked
        under = row == self.row and column == self.column
        text = f"{'▸' if under else ' '}{self.table.words(column)}{' ✓ picked' if picked else ''}"
        name = "grid--cursor" if under and self.has_focus else "grid--picked" if picked else "grid--label"
        style = plain + self.get_component_rich_style(name, partial=True)
        return Strip([Segment(terminal_safe(text)[:room].ljust(room), style), Segment(" ", plain)])
