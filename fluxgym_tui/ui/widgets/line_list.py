"""A list drawn by line, however long: a heading that stays, a cursor, and marks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

RowDrawer = Callable[[int, int], Content]
"""The content of row number `n` in so many cells; only rows in sight are asked for."""


class LineList(ScrollView, can_focus=True):
    """Shows `count` rows as `draw` gives them."""

    HELP_TITLE = "The list"
    DEFAULT_CSS = "LineList { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "next row", show=False),
        Binding("up,k", "move(-1)", "row before", show=False),
        Binding("pagedown", "page(1)", "a page down", show=False),
        Binding("pageup", "page(-1)", "a page up", show=False),
        Binding("home,g", "move(-1000000)", "first row", show=False),
        Binding("end,G", "move(1000000)", "last row", show=False),
        Binding("enter", "choose", "open the row", show=False),
    ]
    cursor: reactive[int] = reactive(0)

    @dataclass
    class Moved(Message):
        """Another row of `list` is under the cursor."""

        list: "LineList"
        row: int

        @property
        def control(self) -> "LineList":
            """The list, for `@on` with a selector."""
            return self.list

    @dataclass
    class Chosen(Message):
        """The user opened a row of `list`."""

        list: "LineList"
        row: int

        @property
        def control(self) -> "LineList":
            """The list, for `@on` with a selector."""
            return self.list

    def __init__(self, *, id: str | None = None, help_title: str = "The list") -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.HELP_TITLE = help_title
        self.count = 0
        self._heading: Content | None = None
        self._draw: RowDrawer | None = None

    def show(self, count: int, draw: RowDrawer, *, heading: Content | None = None, cursor: int | None = None) -> None:
        """Show `count` rows; the cursor goes to row `cursor`, else it stays where it is."""
        self.count, self._draw, self._heading = count, draw, heading
        wanted = self.cursor if cursor is None else cursor
        self.set_reactive(LineList.cursor, max(0, min(wanted, count - 1)))
        self._sized()
        self.call_after_refresh(self._to_cursor)
        self.refresh()

    @property
    def _top(self) -> int:
        return 0 if self._heading is None else 1

    def _sized(self) -> None:
        self.virtual_size = Size(self.size.width, self.count + self._top)

    def _to_cursor(self) -> None:
        self.scroll_to_region(Region(0, self.cursor, 1, 1 + self._top), animate=False)

    def watch_cursor(self, before: int, now: int) -> None:
        """Keep the cursor in sight; where nothing scrolls, only its two rows are drawn anew."""
        self._to_cursor()
        for row in (before, now):
            y = row + self._top - self.scroll_offset.y
            if self._top <= y < self.size.height:
                self.refresh(Region(0, y, self.size.width, 1))
        if self.count:
            self.post_message(self.Moved(self, self.cursor))

    def on_resize(self) -> None:
        """Rows are as wide as the list."""
        self._sized()

    def on_focus(self) -> None:
        """The cursor is seen better in the list that has the focus."""
        self.refresh()

    def on_blur(self) -> None:
        """As `on_focus`."""
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.cursor = max(0, min(self.cursor + by, self.count - 1))

    def action_page(self, by: int) -> None:
        """Move the cursor by what is seen."""
        self.action_move(by * max(1, self.size.height - 1 - self._top))

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self.count:
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the click was; a second click opens."""
        row = event.y - self._top + self.scroll_offset.y
        if 0 <= row < self.count and event.y >= self._top:
            self.cursor = row
            if event.chain > 1:
                self.action_choose()

    def render_line(self, y: int) -> Strip:
        """Line `y` of what is seen."""
        width = self.size.width
        if self._heading is not None and y == 0:
            return self._strip(self._heading.stylize("bold $foreground 60%").truncate(width, ellipsis=True, pad=True))
        row = y - self._top + self.scroll_offset.y
        if self._draw is None or not 0 <= row < self.count:
            return Strip.blank(width, self.visual_style.rich_style)
        under_cursor = row == self.cursor
        line = Content.assemble("▸ " if under_cursor else "  ", self._draw(row, width - 2))
        line = line.truncate(width, ellipsis=True, pad=True)
        if under_cursor:
            line = line.stylize("on $primary 25%" if self.has_focus else "on $panel")
        return self._strip(line)

    def _strip(self, content: Content) -> Strip:
        strips = Visual.to_strips(self, content, self.size.width, 1, self.visual_style)
        return strips[0] if strips else Strip.blank(self.size.width, self.visual_style.rich_style)
