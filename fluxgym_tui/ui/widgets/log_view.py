"""A log of any length: byte offsets over the file, one line read when it is drawn."""

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
from fluxgym_tui.ui.log_index import LogIndex, is_bad

_SHOWN_CELLS = 2000
_POLL_S = 0.25
_OTHER_HIT = Style(underline=True, bold=True)


class LogView(ScrollView, can_focus=True):
    """Shows the file of `open`. Follows its end until the user scrolls up; `G` follows again."""

    HELP_TITLE = "The log"
    DEFAULT_CSS = "LogView { height: 1fr; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--bad", "log--found", "log--plain"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "by(1)", "line down", show=False),
        Binding("up,k", "by(-1)", "line up; stops following", show=False),
        Binding("pagedown", "by_page(1)", "page down", show=False),
        Binding("pageup", "by_page(-1)", "page up", show=False),
        Binding("home,g", "top", "first line", show=False),
        Binding("end,G", "follow", "last line, and follow", show=False),
        Binding("left,h", "sideways(-16)", "to the left", show=False),
        Binding("right,l", "sideways(16)", "to the right, where lines are long", show=False),
        Binding("n", "found(1)", "next hit", show=False),
        Binding("N", "found(-1)", "hit before", show=False),
    ]
    following: reactive[bool] = reactive(True)
    only_bad: reactive[bool] = reactive(False)

    @dataclass
    class Grown(Message):
        """The log, its place or its filter changed; the title line may want to say so."""

    @dataclass
    class _Indexed(Message):
        """The thread has read on."""

        index: LogIndex

    def __init__(self) -> None:
        super().__init__()
        self.index: LogIndex | None = None
        self.query_text = ""
        self.hits: list[int] = []
        self.hit: int | None = None  # the line shown as the present hit
        self._seen_lines = 0

    # The file

    def open(self, path: Path) -> None:
        """Show `path`, from its end."""
        if self.index is not None and self.index.path == path:
            return
        self.close()
        self.index = LogIndex(path)
        self.hits, self.hit, self._seen_lines = [], None, 0
        self.following = True
        self._read(self.index)

    def close(self) -> None:
        """Show nothing."""
        self.workers.cancel_group(self, "log")
        self.index = None
        self._sized()

    @work(thread=True, exclusive=True, group="log", exit_on_error=False)
    def _read(self, index: LogIndex) -> None:
        """Index the file and go on as it grows."""
        import time

        worker = get_current_worker()
        try:
            while not worker.is_cancelled:
                if index.grow():
                    self.post_message(self._Indexed(index))
                else:
                    time.sleep(_POLL_S)
        finally:
            index.close()

    def on_log_view__indexed(self, message: _Indexed) -> None:
        """Lines came."""
        if message.index is self.index:
            self._sized()

    # Which lines are shown

    @property
    def count(self) -> int:
        """How many lines there are to scroll through."""
        if self.index is None:
            return 0
        return len(self.index.bad) if self.only_bad else self.index.lines

    def number_of(self, row: int) -> int:
        """The line of the file that stands in `row`."""
        assert self.index is not None
        return self.index.bad[row] if self.only_bad else row

    @property
    def unseen(self) -> int:
        """How many lines came since the user left the end."""
        return 0 if self.following else max(0, self.count - self._seen_lines)

    def _sized(self) -> None:
        self.virtual_size = Size(_SHOWN_CELLS, self.count)
        if self.following:
            self._seen_lines = self.count
            self.call_after_refresh(self._to_end)  # how far down it goes is known once the new size is laid out
        self.refresh()
        self.post_message(self.Grown())

    def _to_end(self) -> None:
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)
            self.vertical_scrollbar.position = self.scroll_y  # a bar that is not shown yet does not hear of it

    def watch_only_bad(self) -> None:
        """Another set of lines."""
        self._sized()

    def watch_following(self, following: bool) -> None:
        """At the end again, or away from it."""
        if following:
            self._sized()
        else:
            self._seen_lines = self.count
            self.post_message(self.Grown())

    # Moving: whatever the user scrolls with, upwards ends following, and arriving at the end begins it

    def on_resize(self) -> None:
        """Another height, another end."""
        if self.following:
            self.call_after_refresh(self._to_end)

    def on_mouse_scroll_up(self) -> None:
        """The wheel."""
        self.following = False

    def on_mouse_scroll_down(self) -> None:
        """The wheel."""
        self.call_after_refresh(self._look_whether_at_end)

    def on_scroll_to(self) -> None:
        """The scroll bar was dragged."""
        self.following = False
        self.call_after_refresh(self._look_whether_at_end)

    def _look_whether_at_end(self) -> None:
        if not self.following and self.scroll_y >= self.max_scroll_y:
            self.following = True

    def action_by(self, lines: int) -> None:
        """Scroll by lines."""
        if lines < 0:
            self.following = False
        self.scroll_relative(y=lines, animate=False)
        if lines > 0:
            self.call_after_refresh(self._look_whether_at_end)

    def action_by_page(self, pages: int) -> None:
        """Scroll by what is seen."""
        self.action_by(pages * max(1, self.size.height - 1))

    def action_sideways(self, cells: int) -> None:
        """Scroll to the left or right."""
        self.scroll_relative(x=cells, animate=False)

    def action_top(self) -> None:
        """To the first line."""
        self.following = False
        self.scroll_to(y=0, animate=False)

    def action_follow(self) -> None:
        """To the last line, and stay there."""
        self.following = True
        self._sized()

    def show_offset(self, offset: int) -> None:
        """Show the line that holds byte `offset` of the file."""
        if self.index is not None:
            self.only_bad = False
            self._go_to(self.index.line_at(offset))

    def _go_to(self, number: int) -> None:
        self.following = False
        self.hit = number
        row = number
        if self.only_bad and self.index is not None:
            from bisect import bisect_left

            row = bisect_left(self.index.bad, number)
        self.scroll_to(y=max(0, row - self.size.height // 2), animate=False, force=True)
        self.refresh()

    # Search

    def search(self, query: str) -> None:
        """Find `query`; the hit nearest above the end of what is seen is shown first."""
        self.query_text = query
        self.hits, self.hit = [], None
        self.refresh()
        if query and self.index is not None:
            self._search(self.index, query)

    @work(thread=True, exclusive=True, group="search", exit_on_error=False)
    def _search(self, index: LogIndex, query: str) -> None:
        worker = get_current_worker()
        hits = []
        for number in index.find(query):
            if worker.is_cancelled:
                return
            hits.append(number)
        self.app.call_from_thread(self._searched, query, hits)

    def _searched(self, query: str, hits: list[int]) -> None:
        if query != self.query_text:
            return
        self.hits = hits
        if hits:
            self.action_found(1)
        self.post_message(self.Grown())

    def action_found(self, by: int) -> None:
        """The next hit, or the one before."""
        if not self.hits:
            return
        at = self.hit if self.hit is not None else self.number_of(min(self.scroll_offset.y, max(0, self.count - 1)))
        later = [number for number in self.hits if number > at]
        earlier = [number for number in self.hits if number < at]
        if by > 0:
            self._go_to(later[0] if later else self.hits[0])
        else:
            self._go_to(earlier[-1] if earlier else self.hits[-1])
        self.post_message(self.Grown())

    def lines_seen(self) -> list[str]:
        """The lines in sight, whole, as the terminal is shown them."""
        if self.index is None:
            return []
        top = self.scroll_offset.y
        rows = range(top, min(self.count, top + self.size.height))
        return [self._text(self.number_of(row)) for row in rows]

    def _text(self, number: int) -> str:
        assert self.index is not None
        return terminal_safe(self.index.line(number).expandtabs(8))[:_SHOWN_CELLS]

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Line `y` of what is seen."""
        width = self.size.width
        left, top = self.scroll_offset
        plain = self.visual_style.rich_style
        row = top + y
        if self.index is None or row >= self.count:
            return Strip.blank(width, plain)
        number = self.number_of(row)
        text = self._text(number)
        style = plain + self.get_component_rich_style("log--bad", partial=True) if is_bad(text) else plain
        found = self.get_component_rich_style("log--found", partial=True) if number == self.hit else _OTHER_HIT
        segments, at = [], 0
        for begin in _places(text, self.query_text) if self.query_text else ():
            segments.append(Segment(text[at:begin], style))
            at = begin + len(self.query_text)
            segments.append(Segment(text[begin:at], style + found))
        segments.append(Segment(text[at:], style))
        return Strip(segments).crop_extend(left, left + width, plain)


def _places(text: str, query: str) -> list[int]:
    places, low, wanted = [], text.casefold(), query.casefold()
    at = low.find(wanted) if len(low) == len(text) else -1
    while at >= 0 and wanted:
        places.append(at)
        at = low.find(wanted, at + len(wanted))
    return places
