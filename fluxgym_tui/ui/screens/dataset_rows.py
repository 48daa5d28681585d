"""The picture list of the Dataset screen: its rows, and which of them are shown: folder, filter, words, marks."""

from typing import TYPE_CHECKING

from textual import on, work
from textual.content import Content
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from fluxgym_tui.ui.memory import keep
from fluxgym_tui.ui.picture_rows import FILTERS, PictureRow, filtered, picture_rows
from fluxgym_tui.ui.picture_words import list_line, row_heading, row_line
from fluxgym_tui.ui.screens.caption_editing import CaptionEditing
from fluxgym_tui.ui.screens.caption_work import RowsReady
from fluxgym_tui.ui.widgets.line_list import LineList

if TYPE_CHECKING:
    from fluxgym_tui.dataset.staging import StageSource


class DatasetRows(CaptionEditing):
    """A screen with the list `#pictures`, the line `#folder` above it and the field `#search`."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = FILTERS[0]
        self.source: int | None = None
        self.words = ""
        self.sources: tuple[StageSource, ...] = ()
        self._built: tuple[object, ...] = ()
        self._wanted: tuple[object, ...] = ()

    def tell_picture(self) -> None:
        """Draw what is told of the picture under the cursor."""

    # Which rows there are

    def build_rows(self) -> None:
        """Put the rows together anew, in a thread, where anything they tell has changed."""
        draft = self.draft
        sources = draft.sources
        plan = None if draft.ready is None else draft.ready.plan
        self._wanted = (sources, tuple(id(draft.scans.get(source.folder)) for source in sources), id(plan))
        if self._wanted != self._built:
            self._built = self._wanted
            self._build_rows(sources, self._wanted)

    @work(thread=True, exclusive=True, group="rows", exit_on_error=False)
    def _build_rows(self, sources: "tuple[StageSource, ...]", wanted: tuple[object, ...]) -> None:
        worker, draft = get_current_worker(), self.draft
        ready, scans = draft.ready, draft.scans
        rows = picture_rows(sources, scans, plan=ready.plan.plan if ready else None)
        if not worker.is_cancelled:
            self.post_message(RowsReady(rows, sources, wanted))

    def on_rows_ready(self, message: RowsReady) -> None:
        """Show the rows, unless newer ones are on their way."""
        if message.wanted != self._wanted:
            return
        self.rows, self.sources = message.rows, message.sources
        keep(len(self.rows))
        if self.source is not None and self.source >= len(self.sources):
            self.source = None
        self.find_convertible()
        self.marked &= {row.file for row in self.rows}
        self.refilter()

    def on_resize(self) -> None:
        """Columns and heading are as wide as the list: drawn anew once that has its new width."""
        if self.rows:
            self.call_after_refresh(self.refilter)

    # Which of them are shown

    def refilter(self) -> None:
        """Show the rows that folder, filter and words leave; the cursor stays on its picture where that is shown."""
        self.shown = filtered(self.rows, kind=self.filter, words=self.words, marked=self.marked, source=self.source)
        cursor = next((number for number, row in enumerate(self.shown) if row.file == self._current), None)
        pictures = self.query_one("#pictures", LineList)
        pictures.show(len(self.shown), self._row, heading=row_heading(pictures.size.width - 2), cursor=cursor)
        self.tell_list()
        self.tell_picture()
        self.refresh_availability()

    def _row(self, number: int, width: int) -> Content:
        row = self.shown[number]
        return row_line(row, width, marked=row.file in self.marked)

    def tell_list(self) -> None:
        """Draw the line above the list."""
        ready, folder = self.draft.ready, self.query_one("#folder", Static)
        line = list_line(
            self.rows,
            len(self.shown),
            width=self.size.width,
            by_hand=ready is not None and ready.hand is not None and ready.hand.datasets is not None,
            sources=self.sources,
            source=self.source,
            kind=self.filter,
            words=self.words,
            marked=len(self.marked),
        )
        folder.update(line)

    @property
    def current(self) -> PictureRow | None:
        """The picture under the cursor."""
        cursor = self.query_one("#pictures", LineList).cursor
        return self.shown[cursor] if 0 <= cursor < len(self.shown) else None

    def go_to(self, file: str) -> bool:
        """Put the cursor on the picture `file`, taking filters away that hide it; False where there is none."""
        if not any(row.file == file for row in self.rows):
            return False
        if not any(row.file == file for row in self.shown):
            self.filter, self.source = FILTERS[0], None
            self._leave_search()
            self.refilter()
        self.query_one("#pictures", LineList).cursor = [row.file for row in self.shown].index(file)
        return True

    def action_filter(self) -> None:
        """The next filter."""
        self.filter = FILTERS[(FILTERS.index(self.filter) + 1) % len(FILTERS)]
        self.refilter()

    def action_subset(self) -> None:
        """The next folder, and after the last all of them."""
        following = 0 if self.source is None else self.source + 1
        self.source = following if following < len(self.sources) else None
        self.refilter()

    def action_search(self) -> None:
        """Type words to look for."""
        search = self.query_one("#search", Input)
        search.display = True
        search.focus()

    @on(Input.Changed, "#search")
    def _searching(self, event: Input.Changed) -> None:
        if event.value.strip() != self.words:
            self.words = event.value.strip()
            self.refilter()

    @on(Input.Submitted, "#search")
    def _searched(self) -> None:
        self.query_one("#search").display = bool(self.words)
        self.query_one("#pictures").focus()

    def _leave_search(self) -> None:
        search = self.query_one("#search", Input)
        search.display = False
        self.words = ""
        with self.prevent(Input.Changed):
            search.value = ""

    def action_mark(self) -> None:
        """Mark the picture under the cursor, or take its mark away, and go on."""
        if self.current is not None:
            self.marked ^= {self.current.file}
            pictures = self.query_one("#pictures", LineList)
            pictures.action_move(1)
            pictures.refresh()
            self.tell_list()

    def action_mark_all(self) -> None:
        """Mark all that are shown; where all are marked already, none."""
        files = {row.file for row in self.shown}
        self.marked = self.marked - files if files <= self.marked else self.marked | files
        self.query_one("#pictures").refresh()
        self.tell_list()

    def go_back(self) -> None:
        """Leave the search, then the marks, then the one folder; then go back to the list."""
        if self.words or self.query_one("#search").display:
            self._leave_search()
            self.refilter()
        elif self.marked:
            self.marked.clear()
            self.refilter()
        elif self.source is not None:
            self.source = None
            self.refilter()
        self.query_one("#pictures").focus()
